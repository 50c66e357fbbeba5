import type { Photo } from '../results/photo.ts';
import { create, setText } from './dom.ts';
import type { Thumbnails } from './thumbnails.ts';

/** One line below a photo: how well it fits a category. */
export interface TileLine {
  readonly text: string;
  readonly value: string;
  /** Length of the bar, 0 to 1. */
  readonly share: number;
}

export interface TileContent {
  readonly lines: readonly TileLine[];
  /** A sentence: why the file cannot be used. */
  readonly note?: string;
}

/** A photo in a list. */
export interface PhotoTile {
  readonly element: HTMLLIElement;
  show(content: TileContent): void;
  focus(): void;
  release(): void;
}

export function createPhotoTile(photo: Photo, thumbnails: Thumbnails, open: () => void): PhotoTile {
  const canvas = create('canvas', { attributes: { 'aria-hidden': 'true', width: '0', height: '0' } });
  const name = create('span', { class: 'name', text: fileName(photo.path) });
  const button = create(
    'button',
    { class: 'photo', attributes: { type: 'button', title: photo.path } },
    canvas,
    name,
  );
  button.addEventListener('click', open);
  const lines = create('ul', { class: 'lines' });
  const note = create('p', { class: 'note', hidden: true });
  const element = create('li', { class: 'tile' }, button, note, lines);
  thumbnails.show(canvas, photo);

  let shown = '';
  return {
    element,
    show(content) {
      const key = JSON.stringify(content);
      if (key === shown) return;
      shown = key;
      lines.replaceChildren(...content.lines.map(lineElement));
      note.hidden = content.note === undefined;
      setText(note, content.note ?? '');
    },
    focus: () => button.focus(),
    release: () => thumbnails.release(canvas),
  };
}

/** The score, with a bar behind it. */
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

export function fileName(path: string): string {
  return path.split('/').at(-1) ?? path;
}
