import { pictureFormats, titleByEnding } from '../../contract/formats.ts';
import { answerTo, type Photo, type Question } from '../results/photo.ts';
import { create, createButton, setText } from './dom.ts';
import { bytes as bytesText, percent } from './numbers.ts';
import { lineElement } from './photo-group.ts';

/** A longer list would be slow to build. */
const MAX_LINES = 200;

/** One photo, large, with its size and scores. */
export function createPhotoDialog(dialog: HTMLDialogElement) {
  const image = create('img', { attributes: { alt: '' } });
  const unshowable = create('p', { class: 'hint', hidden: true });
  const heading = create('h2', { attributes: { id: 'dialog-name' } });
  const facts = create('p', { class: 'hint' });
  const fault = create('p', { class: 'fault' });
  const warning = create('p', { class: 'note warning', hidden: true });
  const lines = create('ul', { class: 'lines all' });
  const previous = createButton('Previous', () => step(-1));
  const next = createButton('Next', () => step(1));
  const close = createButton('Close', () => dialog.close());
  dialog.append(
    create('div', { class: 'picture' }, image, unshowable),
    create(
      'div',
      { class: 'about' },
      heading,
      facts,
      fault,
      warning,
      lines,
      create('div', { class: 'row' }, previous, next, close),
    ),
  );

  let photos: readonly Photo[] = [];
  let place = 0;
  let question: Question | undefined;
  /** Whether the thumbnail is shown, because the browser cannot show the file. */
  let isThumbnail = false;

  const release = () => {
    if (image.src) URL.revokeObjectURL(image.src);
    image.removeAttribute('src');
  };
  const showPicture = (picture: Blob) => {
    release();
    image.hidden = false;
    image.src = URL.createObjectURL(picture);
    image.classList.toggle('thumbnail', isThumbnail);
  };
  const show = () => {
    const photo = photos[place];
    if (!photo) return;
    isThumbnail = false;
    unshowable.hidden = true;
    showPicture(photo.file);
    setText(unshowable, unshowableText(photo));
    setText(heading, photo.path);
    setText(facts, bytesText(photo.bytes));
    setText(fault, photo.fault?.sentence ?? '');
    fault.hidden = !photo.fault;
    const answer = question && !photo.fault ? answerTo(photo, question) : undefined;
    setText(warning, answer?.warning ?? '');
    warning.hidden = answer?.warning === undefined;
    lines.replaceChildren(...(question && !photo.fault ? scoreLines(photo, question) : []));
    previous.disabled = place === 0;
    next.disabled = place === photos.length - 1;
  };
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
    unshowable.hidden = false;
    image.hidden = true;
    const thumbnail = photos[place]?.answer?.thumbnail;
    if (!thumbnail || isThumbnail) return;
    isThumbnail = true;
    showPicture(thumbnail);
  });
  dialog.addEventListener('close', release);
  dialog.addEventListener('keydown', ({ key }) => {
    if (key === 'ArrowLeft') step(-1);
    if (key === 'ArrowRight') step(1);
  });
  // A click on the backdrop.
  dialog.addEventListener('click', ({ target }) => {
    if (target === dialog) dialog.close();
  });

  return {
    /** @param among the photos that the arrow keys step through */
    open(photo: Photo, among: readonly Photo[], asked: Question | undefined) {
      photos = among;
      place = Math.max(0, among.indexOf(photo));
      question = asked;
      show();
      dialog.showModal();
      close.focus();
    },
  };
}

function unshowableText({ path, answer, fault }: Photo): string {
  const format = titleByEnding(pictureFormats, path);
  if (!format || fault) return 'This browser cannot show this file.';
  const why = `This browser cannot show this ${format} picture.`;
  return `${why} ${answer?.thumbnail ? 'The service has made a small one of the part that the model sees.' : 'The service can read it.'}`;
}

function scoreLines(photo: Photo, question: Question): HTMLLIElement[] {
  const answer = answerTo(photo, question);
  if (!answer) return [];
  const { scores, similarities } = answer;
  return [...scores.keys()]
    .sort((a, b) => (scores[b] ?? 0) - (scores[a] ?? 0) || a - b)
    .slice(0, MAX_LINES)
    .map((label) => {
      const score = scores[label] ?? 0;
      const similarity = similarities[label] ?? Number.NaN;
      const value = Number.isNaN(similarity)
        ? 'not listed'
        : `${percent(score)} · similarity ${similarity.toFixed(3)}`;
      return lineElement({ text: question.labels[label] ?? '', value, share: score });
    });
}
