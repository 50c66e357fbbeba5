import type { BestFrame, FrameAddresses } from '../results/frames.ts';
import { create, createButton, setText } from './dom.ts';
import { timecode } from './numbers.ts';

interface FrameActions {
  /** Shows a time in the player. */
  readonly seek: (seconds: number) => void;
  /** Saves the frame at this time. */
  readonly save: (timestamp: number) => void;
}

interface Opened {
  /** The frames that the arrow keys step through. */
  readonly among: readonly BestFrame[];
  readonly addresses: FrameAddresses;
  readonly isPlayable: boolean;
}

/** One frame of a video, large. */
export function createFrameDialog({ seek, save }: FrameActions) {
  const image = create('img', { attributes: { alt: '' } });
  const heading = create('h2', { attributes: { id: 'frame-name' } });
  const facts = create('p', { class: 'hint' });
  let opened: Opened | undefined;
  let place = 0;
  const frame = () => opened?.among[place];
  const go = createButton('Show in the video', () => {
    const { timestamp } = frame() ?? {};
    dialog.close();
    if (timestamp !== undefined) seek(timestamp);
  });
  const keep = createButton(
    'Save this frame',
    () => {
      const { timestamp } = frame() ?? {};
      if (timestamp !== undefined) save(timestamp);
    },
    'button main',
  );
  const previous = createButton('Previous', () => step(-1));
  const next = createButton('Next', () => step(1));
  const close = createButton('Close', () => dialog.close());
  const dialog = create(
    'dialog',
    { class: 'frame-dialog', attributes: { 'aria-labelledby': 'frame-name' } },
    image,
    create('div', { class: 'about' }, heading, facts),
    create('div', { class: 'row' }, keep, go, previous, next, close),
  );
  document.body.append(dialog);

  const show = () => {
    const shown = frame();
    if (!shown || !opened) return;
    const { category, timestamp, similarity } = shown;
    image.src = opened.addresses.at(timestamp) ?? '';
    image.alt = `${category}, the frame at ${timecode(timestamp)}`;
    setText(heading, category);
    setText(facts, `Best frame at ${timecode(timestamp)}, similarity ${similarity.toFixed(3)}`);
    go.hidden = !opened.isPlayable;
    previous.hidden = next.hidden = opened.among.length < 2;
    previous.disabled = place === 0;
    next.disabled = place === opened.among.length - 1;
  };
  const step = (by: number) => {
    if (!opened?.among[place + by]) return;
    place += by;
    show();
  };
  dialog.addEventListener('keydown', ({ key }) => {
    if (key === 'ArrowLeft') step(-1);
    if (key === 'ArrowRight') step(1);
  });
  // A click on the backdrop.
  dialog.addEventListener('click', ({ target }) => {
    if (target === dialog) dialog.close();
  });

  return {
    open(shown: BestFrame, details: Opened) {
      opened = details;
      place = Math.max(0, details.among.indexOf(shown));
      show();
      dialog.showModal();
      keep.focus({ preventScroll: true });
    },
  };
}
