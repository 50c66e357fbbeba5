import { lanesOf, type Mark } from '../results/moments.ts';
import { create } from './dom.ts';
import type { FrameAddresses } from './frame-addresses.ts';
import { timecode } from './numbers.ts';

/** The length of a video, with the best frames on it. */
export interface Timeline {
  show(marks: readonly Mark[], duration: number, pictures: FrameAddresses): void;
  /** Where the video is. */
  setPosition(seconds: number): void;
}

/** As in the style sheet: a mark's width with the gap beside it, and a lane's height. */
const MARK_WIDTH = 108;
const MAX_LANES = 4;

/** @param seek called with seconds */
export function createTimeline(element: HTMLElement, seek: (seconds: number) => void): Timeline {
  const playhead = create('div', { class: 'playhead' });
  const track = create('div', { class: 'track' }, playhead);
  const marks = create('ol', { class: 'marks' });
  const ends = create(
    'div',
    { class: 'ends', attributes: { 'aria-hidden': 'true' } },
    create('span'),
    create('span'),
  );
  element.append(marks, track, ends);
  let length = 0;
  let placed: { readonly item: HTMLElement; readonly timestamp: number }[] = [];

  // The marks are for the keyboard, as is the video's own control; this is for the pointer alone.
  track.addEventListener('click', ({ clientX }) => {
    const { left, width } = track.getBoundingClientRect();
    if (width > 0) seek(((clientX - left) / width) * length);
  });

  const place = () => {
    const width = element.clientWidth;
    const free = Math.max(1, width - MARK_WIDTH);
    const lefts = placed.map(({ timestamp }) =>
      Math.min(free, Math.max(0, (timestamp / length) * width - MARK_WIDTH / 2)),
    );
    const lanes = lanesOf(lefts, MARK_WIDTH, MAX_LANES);
    for (const [index, { item, timestamp }] of placed.entries()) {
      item.style.left = `${lefts[index]}px`;
      item.style.setProperty('--lane', String(lanes[index]));
      item.style.setProperty('--pin', `${(timestamp / length) * width - (lefts[index] ?? 0)}px`);
    }
    marks.style.setProperty('--lanes', String(Math.max(0, ...lanes) + 1));
  };
  new ResizeObserver(place).observe(element);

  return {
    show(shown, duration, pictures) {
      // A single frame has no length.
      length = Math.max(duration, 0.001);
      placed = shown.map((mark) => ({
        item: markElement(mark, pictures.at(mark.timestamp), seek),
        timestamp: mark.timestamp,
      }));
      marks.replaceChildren(...placed.map(({ item }) => item));
      const [start, end] = ends.children;
      if (start) start.textContent = timecode(0);
      if (end) end.textContent = timecode(duration);
      place();
    },
    setPosition(seconds) {
      playhead.style.left = `${Math.min(100, (seconds / Math.max(length, 0.001)) * 100)}%`;
    },
  };
}

function markElement(
  { timestamp, categories }: Mark,
  picture: string | undefined,
  seek: (seconds: number) => void,
): HTMLElement {
  const names = categories.join(', ');
  const button = create(
    'button',
    { class: 'mark', attributes: { type: 'button', title: `${names} at ${timecode(timestamp)}` } },
    ...(picture === undefined ? [] : [create('img', { attributes: { src: picture, alt: '' } })]),
    create('span', { class: 'name', text: names }),
    create('span', { class: 'visually-hidden', text: ` at ${timecode(timestamp)}` }),
  );
  button.addEventListener('click', () => seek(timestamp));
  return create('li', {}, button);
}
