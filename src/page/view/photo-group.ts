import type { Photo } from '../results/photo.ts';
import { arrange, create, createButton, setText } from './dom.ts';
import { count, number } from './numbers.ts';
import type { Thumbnails } from './thumbnails.ts';

export interface GroupContent {
  /** Unique within the page: the kind of group, and the number of its category after a hyphen. */
  readonly key: string;
  readonly heading: string;
  /** A sentence below the heading. */
  readonly hint?: string;
  readonly photos: readonly Photo[];
  /** How many photos are shown at first. */
  readonly first: number;
  readonly tile: (photo: Photo) => TileContent;
}

/** A heading with photos. Only some of many photos are on the page; a button shows more. */
export interface PhotoGroupView {
  readonly element: HTMLElement;
  show(content: GroupContent): void;
  release(): void;
}

const MORE = 96;

export function createPhotoGroup(
  key: string,
  thumbnails: Thumbnails,
  open: (photo: Photo, among: readonly Photo[]) => void,
): PhotoGroupView {
  const title = create('span', { class: 'title' });
  const size = create('span', { class: 'count' });
  const heading = create('h3', { attributes: { id: `group-${key}`, tabindex: '-1' } }, title, size);
  const hint = create('p', { class: 'hint' });
  const list = create('ul', { class: 'tiles' });
  const more = createButton('', () => showMore(), 'button quiet');
  const element = create(
    'section',
    { class: `group ${key.replace(/-.*/, '')}`, attributes: { 'aria-labelledby': `group-${key}` } },
    heading,
    hint,
    list,
    more,
  );
  let tiles = new Map<Photo, ReturnType<typeof createPhotoTile>>();
  let content: GroupContent | undefined;
  let further = 0;

  const render = () => {
    if (!content) return;
    const { photos, first, tile: tileContent } = content;
    const visible = photos.slice(0, first + further);
    const before = tiles;
    tiles = new Map();
    for (const photo of visible) {
      const tile =
        before.get(photo) ?? createPhotoTile(photo, thumbnails, () => open(photo, content?.photos ?? []));
      tile.show(tileContent(photo));
      tiles.set(photo, tile);
    }
    for (const [photo, tile] of before) if (!tiles.has(photo)) tile.release();
    arrange(
      list,
      [...tiles.values()].map((tile) => tile.element),
    );
    const left = photos.length - visible.length;
    more.hidden = left === 0;
    setText(more, `Show ${number(Math.min(MORE, left))} more of ${count(left, 'photo')}`);
  };

  const showMore = () => {
    const next = content?.photos[tiles.size];
    further += MORE;
    render();
    if (next) tiles.get(next)?.focus();
  };

  return {
    element,
    show(next) {
      content = next;
      setText(title, next.heading);
      setText(size, ` ${number(next.photos.length)}`);
      setText(hint, next.hint ?? '');
      hint.hidden = next.hint === undefined;
      render();
    },
    release() {
      for (const tile of tiles.values()) tile.release();
      tiles.clear();
    },
  };
}

/** One line below a photo: its score for a category. */
interface TileLine {
  readonly text: string;
  readonly value: string;
  /** Length of the bar, 0 to 1. */
  readonly share: number;
}

export interface TileContent {
  readonly lines: readonly TileLine[];
  /** Why the file cannot be used, as a sentence. */
  readonly fault?: string | undefined;
  /** Which part of the photo is missing, as a sentence. */
  readonly warning?: string | undefined;
}

/** A photo in a list. */
function createPhotoTile(photo: Photo, thumbnails: Thumbnails, open: () => void) {
  const canvas = create('canvas', { attributes: { 'aria-hidden': 'true', width: '0', height: '0' } });
  const name = create('span', { class: 'name', text: photo.path.split('/').at(-1) ?? '' });
  const button = create(
    'button',
    { class: 'photo', attributes: { type: 'button', title: photo.path } },
    canvas,
    name,
  );
  button.addEventListener('click', open);
  const lines = create('ul', { class: 'lines' });
  const note = create('p', { hidden: true });
  const element = create('li', { class: 'tile' }, button, note, lines);
  thumbnails.show(canvas, photo);

  let shown = '';
  return {
    element,
    show(content: TileContent) {
      const key = JSON.stringify(content);
      if (key === shown) return;
      shown = key;
      lines.replaceChildren(...content.lines.map(lineElement));
      const { fault, warning } = content;
      note.className = fault === undefined ? 'note warning' : 'note';
      note.hidden = (fault ?? warning) === undefined;
      setText(note, fault ?? warning ?? '');
    },
    focus: () => button.focus(),
    release: () => thumbnails.release(canvas),
  };
}

/** A score with a bar behind it. */
export function lineElement({ text, value, share }: TileLine): HTMLLIElement {
  const line = create(
    'li',
    {},
    create('span', { class: 'label', text }),
    create('span', { class: 'value', text: ` ${value}` }),
  );
  line.style.setProperty('--share', share.toFixed(4));
  return line;
}
