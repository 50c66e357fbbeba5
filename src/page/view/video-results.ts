import type { VideoDetails, VideoMoment } from '../../contract/schemas.ts';
import { videoCsv, videoJson } from '../results/export.ts';
import {
  type BestFrame,
  bestFramesOf,
  createFrameAddresses,
  type FrameAddresses,
  lanesOf,
  type Mark,
  marksOf,
  type ShownVideo,
} from '../results/frames.ts';
import { maximumMoments } from '../service/requests.ts';
import { create, createButton, find, saveText, setText } from './dom.ts';
import { count, percent, timecode, withoutMatch } from './numbers.ts';
import { createResultControls } from './result-controls.ts';

/** As in the style sheet: a mark's width with its gap. */
const MARK_WIDTH = 108;
const MAX_LANES = 4;

/**
 * The timeline of a video with its best frames.
 * @param seek called with seconds
 */
function createTimeline(element: HTMLElement, seek: (seconds: number) => void) {
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

  // For pointers only: keyboards use the marks and the video's controls.
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
    show(shown: readonly Mark[], duration: number, pictures: FrameAddresses) {
      // A single frame has length 0.
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
    /** Moves the playhead. */
    setPosition(seconds: number) {
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

/** More parts of a category than these are folded away. */
const MAX_PARTS = 8;

/**
 * For each category a bar over the length of the video, with the parts in which it holds.
 * @param seek called with seconds
 */
function createMoments(element: HTMLElement, seek: (seconds: number) => void) {
  const list = find('moments-list', HTMLUListElement);
  let length = 0;

  const row = ({ category, moments }: BestFrame, maximum: number): HTMLLIElement => {
    // For pointers only: keyboards and fingers use the times below.
    const bar = create('div', { class: 'bar', attributes: { 'aria-hidden': 'true' } });
    const times = moments.map((moment) => {
      const { start, end, timestamp } = moment;
      const part = create('span', { class: 'part', attributes: { title: timesOf(moment) } });
      part.style.left = `${Math.min(100, (start / length) * 100)}%`;
      part.style.width = `${Math.min(100, ((end - start) / length) * 100)}%`;
      part.addEventListener('click', () => seek(timestamp));
      bar.append(part);
      const button = createButton(timesOf(moment), () => seek(timestamp), 'button quiet time');
      button.append(
        create('span', { class: 'visually-hidden', text: `, best frame at ${timecode(timestamp)}` }),
      );
      return create('li', {}, button);
    });
    const further = times.slice(MAX_PARTS);
    const name = create('h4', { text: category });
    const shown = moments.length < maximum ? '' : `the ${count(maximum, 'best part')}`;
    return create(
      'li',
      {},
      create('div', { class: 'row' }, name, create('span', { class: 'hint', text: shown })),
      bar,
      create('ul', { class: 'row' }, ...times.slice(0, MAX_PARTS)),
      ...(further.length > 0 ? [furtherParts(further)] : []),
    );
  };

  return {
    show(frames: readonly BestFrame[], duration: number, categories: number) {
      length = Math.max(duration, 0.001);
      element.hidden = frames.length === 0;
      list.replaceChildren(...frames.map((frame) => row(frame, maximumMoments(categories))));
    },
    /** Moves the playhead. */
    setPosition(seconds: number) {
      element.style.setProperty('--played', `${Math.min(100, (seconds / Math.max(length, 0.001)) * 100)}%`);
    },
  };
}

const momentsNote =
  'The bars show where in this video each category fits best, even if what it names is not in the video.';

function furtherParts(items: readonly HTMLElement[]): HTMLElement {
  return create(
    'details',
    {},
    create('summary', { text: `${count(items.length, 'more part')}` }),
    create('ul', { class: 'row' }, ...items),
  );
}

/** `0:02.0–0:03.6` */
function timesOf({ start, end }: VideoMoment): string {
  return `${timecode(start)}–${timecode(end)}`;
}

const scoreNote =
  'The score compares a frame with all other frames of the video: all frames share 100 %, so several equally good frames have low scores.';

/** The video, its timeline and its best frames. */
export function createVideoResults() {
  const section = find('video-results', HTMLElement);
  const player = find('player', HTMLVideoElement);
  const unplayable = find('unplayable', HTMLElement);
  const name = find('video-name', HTMLElement);
  const facts = find('video-facts', HTMLElement);
  const fault = find('video-fault', HTMLElement);
  const warnings = find('video-warnings', HTMLUListElement);
  const answer = find('video-answer', HTMLElement);
  const momentsHint = find('moments-note', HTMLElement);
  const bestFrames = find('best-frames', HTMLOListElement);
  let shown: ShownVideo | undefined;
  let addresses: FrameAddresses | undefined;

  const seek = (seconds: number) => {
    // One millisecond later, because rounding could show the frame before.
    player.currentTime = seconds + 0.001;
    player.scrollIntoView({ block: 'nearest' });
  };
  const timeline = createTimeline(find('timeline', HTMLElement), seek);
  const moments = createMoments(find('moments', HTMLElement), seek);
  player.addEventListener('timeupdate', () => {
    timeline.setPosition(player.currentTime);
    moments.setPosition(player.currentTime);
  });
  let isPlayable = true;
  /** In a video that does not play, times lead nowhere: they are not buttons to press. */
  const showPlayable = () => {
    player.hidden = !isPlayable;
    unplayable.hidden = isPlayable;
    section.classList.toggle('unplayable', !isPlayable);
    setText(momentsHint, isPlayable ? `${momentsNote} Choose a part to see its best frame.` : momentsNote);
    for (const button of answer.querySelectorAll<HTMLButtonElement>('.mark, .time')) {
      button.disabled = !isPlayable;
    }
  };
  player.addEventListener('error', () => {
    // The event also fires when the source is removed.
    isPlayable = !player.hasAttribute('src');
    showPlayable();
  });

  const draw = () => {
    const { details } = shown ?? {};
    answer.hidden = !details || !addresses;
    if (!details || !addresses) return;
    const found = bestFramesOf(details, controls.rules, controls.topK);
    timeline.show(marksOf(found), details.video.duration, addresses);
    moments.show(found, details.video.duration, details.results.length);
    bestFrames.replaceChildren(...found.map((frame) => bestFrameElement(frame, addresses, seek)));
    const shownCategories = new Set(found.map(({ category }) => category));
    const missing = details.results.map(({ category }) => category).filter((it) => !shownCategories.has(it));
    if (missing.length > 0) bestFrames.append(create('li', { class: 'hint', text: withoutMatch(missing) }));
    controls.describe(['frame per category', 'frames per category'], scoreNote);
    showPlayable();
  };

  const controls = createResultControls({
    name: 'video',
    topK: 3,
    onChange: draw,
    onSave(format) {
      if (!shown?.details) return;
      const { rules, topK } = controls;
      const results = { name: shown.file.name, details: shown.details, rules, topK };
      saveText('video', format, format === 'json' ? videoJson(results) : videoCsv(results));
    },
  });
  find('video-controls', HTMLElement).append(controls.element);

  const play = (file: File | undefined) => {
    if (player.src) URL.revokeObjectURL(player.src);
    isPlayable = true;
    showPlayable();
    if (file) player.src = URL.createObjectURL(file);
    else player.removeAttribute('src');
    player.load();
  };

  return {
    render(next: ShownVideo | undefined) {
      if (next?.file !== shown?.file) play(next?.file);
      const isNew = next?.details !== shown?.details;
      if (isNew) {
        addresses?.release();
        addresses = next?.pictures && createFrameAddresses(next.pictures);
      }
      shown = next;
      section.hidden = !next;
      setText(name, next?.file.name ?? '');
      setText(facts, next?.details ? factsText(next.details) : '');
      setText(fault, next?.fault?.sentence ?? '');
      fault.hidden = !next?.fault;
      const sentences = new Set(next?.details?.warnings);
      warnings.replaceChildren(...[...sentences].map((text) => create('li', { text })));
      // Drawing again would take the focus from its buttons.
      if (isNew) draw();
    },
  };
}

function factsText({ video, model }: VideoDetails): string {
  const { width, height, duration, frames_considered, scenes } = video;
  return `${width} × ${height}, ${timecode(duration)}; ${count(scenes, 'scene')}, ${count(frames_considered, 'frame')} classified by ${model.name}`;
}

function bestFrameElement(
  { category, timestamp, score, similarity, others }: BestFrame,
  addresses: FrameAddresses | undefined,
  seek: (seconds: number) => void,
): HTMLLIElement {
  const picture = addresses?.at(timestamp);
  const go = (seconds: number, text: string) => {
    const button = createButton(text, () => seek(seconds), 'button quiet time');
    button.setAttribute('aria-label', `Go to ${text}`);
    return button;
  };
  const heading = create('h3', { text: category });
  const standing = create('p', {
    class: 'hint',
    text: `${percent(score)} · similarity ${similarity.toFixed(3)}`,
  });
  const times = create('div', { class: 'row' }, go(timestamp, timecode(timestamp)));
  for (const other of others) {
    times.append(go(other.timestamp, `${timecode(other.timestamp)} · ${percent(other.score)}`));
  }
  const text = create('div', { class: 'about' }, heading, standing, times);
  if (picture === undefined) return create('li', { class: 'best-frame' }, text);
  const image = create('img', {
    attributes: { src: picture, alt: `${category}, the frame at ${timecode(timestamp)}`, loading: 'lazy' },
  });
  return create('li', { class: 'best-frame' }, image, text);
}
