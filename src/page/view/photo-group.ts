import type { Photo } from '../results/photo.ts';
import { arrange, create, createButton, setText } from './dom.ts';
import { count, number } from './numbers.ts';
import type { Thumbnails } from './thumbnails.ts';

export interface GroupContent {
  /** Unique within the page. */
  readonly key: string;
  readonly heading: string;
  /** Sentences below the heading. */
  readonly hint?: string;
  readonly photos: readonly Photo[];
  /** How many photos are shown at first. */
  readonly first: number;
  /** Shows all photos of the group elsewhere. Without it, a button shows more here. */
  readonly onShowAll?: () => void;
  readonly tile: (photo: Photo) => TileContent;
}

/** A heading with photos. Only some of many photos are on the page; a button shows more. */
export interface PhotoGroupView {
  readonly element: HTMLElement;
  show(content: GroupContent): void;
  release(): void;
}

/** What can be done with a tile. */
export interface TileActions {
  /** @param among the photos that the arrow keys of the dialog step through */
  open(photo: Photo, among: readonly Photo[]): void;
  remove(photo: Photo): void;
  /** The photo is being dragged; null: not any more. */
  drag(photo: Photo | null): void;
}

const MORE = 96;

export function createPhotoGroup(key: string, thumbnails: Thumbnails, actions: TileActions): PhotoGroupView {
  const title = create('span', { class: 'title' });
  const size = create('span', { class: 'count' });
  const heading = create('h3', { attributes: { id: `group-${key}` } }, title, size);
  const hint = create('p', { class: 'hint' });
  const list = create('ul', { class: 'tiles' });
  const more = createButton('', () => showMore(), 'button quiet');
  const element = create(
    'section',
    { class: `group ${key.replace(/-.*/, '')}`, attributes: { 'aria-labelledby': `group-${key}` } },
    create('div', { class: 'row' }, heading, hint),
    list,
    more,
  );
  let tiles = new Map<Photo, ReturnType<typeof createPhotoTile>>();
  let content: GroupContent | undefined;
  let further = 0;

  const render = () => {
    if (!content) return;
    const { photos, first, tile: tileContent, onShowAll } = content;
    const visible = photos.slice(0, first + further);
    const before = tiles;
    tiles = new Map();
    for (const photo of visible) {
      const tile =
        before.get(photo) ??
        createPhotoTile(photo, thumbnails, {
          ...actions,
          open: () => actions.open(photo, content?.photos ?? []),
        });
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
    setText(
      more,
      onShowAll
        ? `Show all ${number(photos.length)}`
        : `Show ${number(Math.min(MORE, left))} more${left > MORE ? ` of ${count(left, 'photo')}` : ''}`,
    );
  };

  const showMore = () => {
    if (content?.onShowAll) {
      content.onShowAll();
      return;
    }
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

export interface TileContent {
  /** How the photo is sorted, for its accessible name, which begins with what is visible: `dog, strong`. */
  readonly answer?: string;
  /** Below the name: a guess. */
  readonly guess?: string;
  /** How well the category fits, 0 to 1. */
  readonly strength?: number;
  /** Why the file cannot be used, as a sentence. */
  readonly fault?: string | undefined;
  /** Which part of the photo is missing, as a sentence. */
  readonly warning?: string | undefined;
  /** Whether a person has moved it here. */
  readonly isMoved?: boolean;
}

/** Characters of a name that are never cut: number and ending tell the photos of a camera apart. */
const TAIL = 9;

/** A name that is cut in its middle where it does not fit. */
function nameElement(path: string): HTMLElement {
  const folder = path.slice(0, path.lastIndexOf('/') + 1);
  const name = path.slice(folder.length);
  const cut = Math.max(0, name.length - TAIL);
  return create(
    'span',
    { class: 'name' },
    ...(folder === '' ? [] : [create('span', { class: 'folder', text: folder })]),
    create('span', { class: 'stem', text: name.slice(0, cut) }),
    create('span', { class: 'tail', text: name.slice(cut) }),
  );
}

/** A photo in a list. */
function createPhotoTile(
  photo: Photo,
  thumbnails: Thumbnails,
  { open, remove, drag }: Omit<TileActions, 'open'> & { readonly open: () => void },
) {
  const name = photo.path.slice(photo.path.lastIndexOf('/') + 1);
  const canvas = create('canvas', { attributes: { 'aria-hidden': 'true', width: '0', height: '0' } });
  const bar = create('span', { class: 'bar-of-tile', hidden: true });
  const guess = create('span', { class: 'guess', hidden: true });
  const button = create(
    'button',
    {
      class: 'photo',
      attributes: {
        type: 'button',
        title: photo.path,
        tabindex: '-1',
        draggable: 'true',
        'aria-keyshortcuts': 'M Delete',
      },
    },
    create('span', { class: 'picture' }, canvas, bar),
    nameElement(photo.path),
    guess,
  );
  const removing = createButton('×', () => remove(photo), 'remove');
  removing.tabIndex = -1;
  removing.setAttribute('aria-label', `Remove ${name}`);
  const note = create('p', { hidden: true });
  const element = create('li', { class: 'tile' }, button, removing, note);
  button.addEventListener('click', open);
  button.addEventListener('dragstart', ({ dataTransfer }) => {
    dataTransfer?.setData('text/plain', photo.path);
    if (dataTransfer) dataTransfer.effectAllowed = 'move';
    drag(photo);
  });
  button.addEventListener('dragend', () => drag(null));
  thumbnails.show(canvas, photo);
  photoOf.set(button, photo);

  let shown = '';
  return {
    element,
    show(content: TileContent) {
      const key = JSON.stringify(content);
      if (key === shown) return;
      shown = key;
      const { answer, strength, fault, warning, isMoved = false } = content;
      bar.hidden = strength === undefined;
      bar.style.setProperty('--share', (strength ?? 0).toFixed(3));
      // With a space, because it follows the name.
      const guessText = content.guess === undefined ? '' : ` ${content.guess}`;
      setText(guess, guessText);
      guess.hidden = content.guess === undefined;
      button.setAttribute(
        'aria-label',
        `${photo.path}${guessText}${answer === undefined ? '' : `, ${answer}`}`,
      );
      element.classList.toggle('moved', isMoved);
      note.className = fault === undefined ? 'note warning' : 'note';
      note.hidden = (fault ?? warning) === undefined;
      setText(note, fault ?? warning ?? '');
    },
    focus: () => button.focus(),
    release: () => thumbnails.release(canvas),
  };
}

/** The photo of a tile's button. */
export const photoOf = new WeakMap<Element, Photo>();
