import type { Photo } from '../results/photo.ts';
import { arrange, create, createButton, setText } from './dom.ts';
import { count, number } from './numbers.ts';
import { createPhotoTile, type PhotoTile, type TileContent } from './photo-tile.ts';
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

/** A heading and photos below it. Of many photos, only some are in the page. */
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
  let tiles = new Map<Photo, PhotoTile>();
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
