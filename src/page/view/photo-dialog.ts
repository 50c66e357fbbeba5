import { pictureFormats, titleByEnding } from '../../contract/formats.ts';
import type { Rules } from '../../contract/options.ts';
import {
  type Asked,
  answerTo,
  categoriesByRules,
  categoriesOf,
  movedTo,
  type Photo,
  rankingOf,
  strengthOf,
} from '../results/photo.ts';
import { create, createButton, setText } from './dom.ts';
import { bytes as bytesText, number, percent } from './numbers.ts';

/** Categories that are listed at first. */
const FIRST_LINES = 10;
/** A longer list would be slow to build. */
const MAX_LINES = 1000;

interface DialogState {
  readonly asked: Asked | undefined;
  readonly rules: Rules;
}

interface DialogOptions {
  readonly onMove: (photo: Photo, target: string | null | undefined) => void;
  readonly onRemove: (photo: Photo) => void;
  readonly onClose: () => void;
  /** The name of the group without a category. */
  readonly unsure: string;
}

/** One photo, large, with its scores, and what can be done with it. */
export function createPhotoDialog(
  dialog: HTMLDialogElement,
  { onMove, onRemove, onClose, unsure }: DialogOptions,
) {
  const image = create('img', { attributes: { alt: '' } });
  const unshowable = create('p', { class: 'hint', hidden: true });
  const heading = create('h2', { attributes: { id: 'dialog-name' } });
  const facts = create('p', { class: 'hint' });
  const fault = create('p', { class: 'fault' });
  const warning = create('p', { class: 'note warning', hidden: true });
  const group = create('select', { attributes: { id: 'dialog-group' } });
  const groupControl = create(
    'div',
    { class: 'control' },
    create('label', { text: 'Group', attributes: { for: group.id } }),
    group,
  );
  const lines = create('ul', { class: 'lines' });
  const scoresNote = create('p', {
    class: 'hint',
    text: 'Score: how clearly the word beats “object” and “things”; 50 % is a draw. Similarity: cosine of photo and word.',
  });
  const showAll = createButton(
    '',
    () => {
      isLong = true;
      show();
    },
    'button quiet',
  );
  const scroller = create(
    'div',
    { class: 'scroller', attributes: { tabindex: '0', role: 'group', 'aria-label': 'Scores' } },
    lines,
    showAll,
    scoresNote,
  );
  const previous = createButton('←', () => step(-1));
  const next = createButton('→', () => step(1));
  previous.setAttribute('aria-label', 'Previous');
  next.setAttribute('aria-label', 'Next');
  const remove = createButton('Remove', () => {
    const photo = photos[place];
    if (!photo) return;
    photos = photos.filter((other) => other !== photo);
    onRemove(photo);
    place = Math.min(place, photos.length - 1);
    if (photos.length === 0) dialog.close();
    else show();
  });
  const close = createButton('Close', () => dialog.close(), 'button main');
  dialog.append(
    create('div', { class: 'picture' }, image, unshowable),
    create(
      'div',
      { class: 'about' },
      create('div', { class: 'head' }, heading, facts, fault, warning, groupControl),
      scroller,
      create('div', { class: 'row foot' }, previous, next, remove, close),
    ),
  );

  let photos: readonly Photo[] = [];
  let place = 0;
  let state: DialogState = { asked: undefined, rules: {} };
  let isLong = false;
  let shownPhoto: Photo | undefined;
  /** Whether the thumbnail is shown, because the browser cannot show the file. */
  let isThumbnail = false;

  const release = () => {
    if (image.src) URL.revokeObjectURL(image.src);
    image.removeAttribute('src');
    shownPhoto = undefined;
  };
  const showPicture = (picture: Blob) => {
    if (image.src) URL.revokeObjectURL(image.src);
    image.hidden = false;
    image.src = URL.createObjectURL(picture);
    image.classList.toggle('thumbnail', isThumbnail);
  };
  const show = () => {
    const photo = photos[place];
    if (!photo) return;
    if (photo !== shownPhoto) {
      isThumbnail = false;
      unshowable.hidden = true;
      scroller.scrollTop = 0;
      shownPhoto = photo;
      showPicture(photo.file);
      setText(facts, bytesText(photo.bytes));
    }
    setText(unshowable, unshowableText(photo));
    setText(heading, photo.path);
    setText(fault, photo.fault?.sentence ?? '');
    fault.hidden = !photo.fault;
    setText(warning, photo.embedding?.warning ?? '');
    warning.hidden = photo.embedding?.warning === undefined;
    const answer = state.asked && answerTo(photo, state.asked);
    groupControl.hidden = scroller.hidden = !answer;
    if (state.asked && answer) {
      const ranking = rankingOf(answer);
      const chosen = new Set(categoriesOf(photo, state.asked, state.rules));
      const { categories } = state.asked;
      lines.replaceChildren(
        ...ranking.slice(0, isLong ? MAX_LINES : FIRST_LINES).map((standing) =>
          lineElement(categories[standing.label]!.name, standing, {
            share: strengthOf(standing, { ...state.rules, threshold: 0.5 }),
            isChosen: chosen.has(standing.label),
          }),
        ),
      );
      showAll.hidden = isLong || ranking.length <= FIRST_LINES;
      setText(showAll, `Show all ${number(ranking.length)}`);
      showGroups(photo, state.asked);
    }
    previous.disabled = place === 0;
    next.disabled = place === photos.length - 1;
  };
  const showGroups = (photo: Photo, asked: Asked) => {
    const byHand = movedTo(photo, asked);
    const automatic = categoriesByRules(photo, asked, state.rules).map(
      (label) => asked.categories[label]!.name,
    );
    const option = (value: string, text: string) => create('option', { text, attributes: { value } });
    group.replaceChildren(
      option('auto', `${automatic.join(', ') || unsure} (by its words)`),
      ...asked.categories.map(({ name }, label) => option(String(label), name)),
      option('none', unsure),
    );
    group.value = byHand === undefined ? 'auto' : String(byHand[0] ?? 'none');
  };
  group.addEventListener('change', () => {
    const photo = photos[place];
    if (!photo) return;
    const name = state.asked?.categories[Number(group.value)]?.name;
    onMove(photo, group.value === 'auto' ? undefined : (name ?? null));
  });
  const step = (by: number) => {
    if (!photos[place + by]) return;
    place += by;
    show();
  };

  image.addEventListener('load', () => {
    if (isThumbnail) return;
    const { naturalWidth: width, naturalHeight: height } = image;
    setText(facts, `${width} × ${height}, ${bytesText(photos[place]?.bytes ?? 0)}`);
  });
  image.addEventListener('error', () => {
    if (!image.src) return;
    unshowable.hidden = false;
    image.hidden = true;
    const thumbnail = photos[place]?.embedding?.thumbnail;
    if (!thumbnail || isThumbnail) return;
    isThumbnail = true;
    showPicture(thumbnail);
  });
  dialog.addEventListener('close', () => {
    release();
    onClose();
  });
  dialog.addEventListener('keydown', ({ key, target }) => {
    if (target === group) return;
    if (key === 'ArrowLeft') step(-1);
    if (key === 'ArrowRight') step(1);
  });
  // A click on the backdrop.
  dialog.addEventListener('click', ({ target }) => {
    if (target === dialog) dialog.close();
  });

  return {
    get isOpen() {
      return dialog.open;
    },
    /**
     * @param among the photos that the arrow keys step through
     * @param isMoving the group is to be changed
     */
    open(
      photo: Photo,
      among: readonly Photo[],
      { isMoving = false, ...next }: DialogState & { isMoving?: boolean },
    ) {
      photos = among;
      place = Math.max(0, among.indexOf(photo));
      state = next;
      isLong = false;
      show();
      dialog.showModal();
      scroller.scrollTop = 0;
      // Otherwise the browser would scroll to what it focuses.
      (isMoving && !groupControl.hidden ? group : close).focus({ preventScroll: true });
    },
    /** Something has changed while the dialog is open. */
    update(next: DialogState) {
      state = next;
      if (dialog.open) show();
    },
  };
}

function unshowableText({ path, embedding, fault }: Photo): string {
  const format = titleByEnding(pictureFormats, path);
  if (!format || fault) return 'This browser cannot show this file.';
  const why = `This browser cannot show this ${format} picture.`;
  return `${why} ${embedding?.thumbnail ? 'The service has made a small one of the part that the model sees.' : 'The service can read it.'}`;
}

function lineElement(
  name: string,
  { score, similarity }: { readonly score: number; readonly similarity: number },
  { share, isChosen }: { readonly share: number; readonly isChosen: boolean },
): HTMLLIElement {
  const line = create(
    'li',
    isChosen ? { class: 'chosen' } : {},
    create('span', { class: 'label', text: name }),
    create('span', { class: 'value', text: ` ${percent(score)} · ${similarity.toFixed(3)}` }),
    create('span', { class: 'bar-of-line', attributes: { 'aria-hidden': 'true' } }),
  );
  line.style.setProperty('--share', share.toFixed(3));
  return line;
}
