import { frameName } from '../../contract/frame-name.ts';
import type { VideoDetails, VideoMoment } from '../../contract/schemas.ts';
import { validName } from '../../file-names.ts';
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
import { create, createButton, find, saveBlob, saveText, setText } from './dom.ts';
import { createFrameDialog } from './frame-dialog.ts';
import { count, timecode } from './numbers.ts';

/** Few marks are wide, so that their names fit; many are narrow. The style sheet leaves 4 of the pixels free. */
const MIN_MARK_WIDTH = 108;
const MAX_MARK_WIDTH = 208;
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
    const wide = width / Math.max(1, placed.length);
    const markWidth = Math.floor(Math.min(MAX_MARK_WIDTH, Math.max(MIN_MARK_WIDTH, wide)));
    const free = Math.max(1, width - markWidth);
    const lefts = placed.map(({ timestamp }) =>
      Math.min(free, Math.max(0, (timestamp / length) * width - markWidth / 2)),
    );
    const lanes = lanesOf(lefts, markWidth, MAX_LANES);
    for (const [index, { item, timestamp }] of placed.entries()) {
      item.style.left = `${lefts[index]}px`;
      item.style.setProperty('--lane', String(lanes[index]));
      item.style.setProperty('--pin', `${(timestamp / length) * width - (lefts[index] ?? 0)}px`);
    }
    marks.style.setProperty('--mark', `${markWidth - 4}px`);
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

/** More names than these are counted. */
const MAX_NAMES = 2;

function markElement(
  { timestamp, categories }: Mark,
  picture: string | undefined,
  seek: (seconds: number) => void,
): HTMLElement {
  const names = categories.join(', ');
  const further = categories.length - MAX_NAMES;
  const button = create(
    'button',
    { class: 'mark', attributes: { type: 'button', title: `${names} at ${timecode(timestamp)}` } },
    ...(picture === undefined ? [] : [create('img', { attributes: { src: picture, alt: '' } })]),
    create('span', { class: 'name', text: categories.slice(0, MAX_NAMES).join(', ') }),
    ...(further > 0 ? [create('span', { class: 'further', text: ` +${further}` })] : []),
    create('span', { class: 'visually-hidden', text: ` at ${timecode(timestamp)}` }),
  );
  button.addEventListener('click', () => seek(timestamp));
  return create('li', {}, button);
}

/** More parts of a category than these are folded away. */
const MAX_PARTS = 8;

/** `0:02.0–0:03.6` */
function timesOf({ start, end }: VideoMoment): string {
  return `${timecode(start)}–${timecode(end)}`;
}

/** What the rows of the categories call. */
interface RowActions {
  /** Seconds. */
  readonly seek: (seconds: number) => void;
  /** Shows a frame large. */
  readonly open: (frame: BestFrame) => void;
}

/** One category: its best frame, and a bar over the length of the video with the parts in which it fits. */
function rowOf(frame: BestFrame, picture: string | undefined, video: VideoDetails, actions: RowActions) {
  const { category, moments, timestamp } = frame;
  const length = Math.max(video.video.duration, 0.001);
  // For pointers only: keyboards and fingers use the times below.
  const bar = create('div', { class: 'bar', attributes: { 'aria-hidden': 'true' } });
  const times = moments.map((moment) => {
    const { start, end } = moment;
    const part = create('span', { class: 'part', attributes: { title: timesOf(moment) } });
    part.style.left = `${Math.min(100, (start / length) * 100)}%`;
    part.style.width = `${Math.min(100, ((end - start) / length) * 100)}%`;
    part.addEventListener('click', () => actions.seek(moment.timestamp));
    bar.append(part);
    const button = createButton(timesOf(moment), () => actions.seek(moment.timestamp), 'button quiet time');
    button.append(
      create('span', { class: 'visually-hidden', text: `, best frame at ${timecode(moment.timestamp)}` }),
    );
    return create('li', {}, button);
  });
  const further = times.slice(MAX_PARTS);
  const maximum = maximumMoments(video.results.length);
  const isCut = moments.length >= maximum;
  const go = createButton(
    `Best at ${timecode(timestamp)}`,
    () => actions.seek(timestamp),
    'button quiet time',
  );
  go.setAttribute('aria-label', `Best at ${timecode(timestamp)}: go to the best frame of ${category}`);
  const about = create(
    'div',
    { class: 'about' },
    create('div', { class: 'row' }, create('h3', { text: category }), go),
    bar,
    ...(isCut ? [create('p', { class: 'hint', text: `The ${count(maximum, 'best part')}:` })] : []),
    create('ul', { class: 'row' }, ...times.slice(0, MAX_PARTS)),
    ...(further.length > 0
      ? [
          create(
            'details',
            {},
            create('summary', { text: `${count(further.length, 'more part')}` }),
            create('ul', { class: 'row' }, ...further),
          ),
        ]
      : []),
  );
  if (picture === undefined) return create('li', { class: 'best-frame' }, about);
  return create('li', { class: 'best-frame' }, frameButton(frame, picture, actions.open), about);
}

function frameButton(frame: BestFrame, picture: string, open: (frame: BestFrame) => void): HTMLElement {
  const image = create('img', { attributes: { src: picture, alt: '', loading: 'lazy' } });
  const button = create(
    'button',
    {
      class: 'frame',
      attributes: {
        type: 'button',
        'aria-label': `${frame.category}, the frame at ${timecode(frame.timestamp)}`,
      },
    },
    image,
  );
  button.addEventListener('click', () => open(frame));
  return button;
}

/** Seconds: best frames of one scene that are closer together show the same. */
const MOMENT_SECONDS = 5;

/** Whether one frame says all: the best frames are the same, or of the same moment of one scene. */
function isOneMoment(marks: readonly Mark[], { video }: VideoDetails): boolean {
  const [first, last] = [marks[0], marks.at(-1)];
  if (!first || !last) return false;
  return first === last || (video.scenes <= 1 && last.timestamp - first.timestamp <= MOMENT_SECONDS);
}

/** All categories with one frame: that of the category that fits best. */
function singleFrame(
  frames: readonly BestFrame[],
  addresses: FrameAddresses,
  actions: RowActions,
): HTMLElement | undefined {
  const [best] = frames.toSorted((a, b) => b.similarity - a.similarity);
  if (!best) return undefined;
  const picture = addresses.at(best.timestamp);
  const times = frames.map(({ timestamp }) => timestamp);
  const [from, to] = [timecode(Math.min(...times)), timecode(Math.max(...times))];
  const where = from === to ? `at ${from}` : `between ${from} and ${to}`;
  const go = createButton(
    `Go to ${timecode(best.timestamp)}`,
    () => actions.seek(best.timestamp),
    'button quiet time',
  );
  const lines = bestFirst(frames).map(({ category, share }) => {
    const line = create('li', { text: category });
    line.style.setProperty('--share', String(share));
    return line;
  });
  const about = create(
    'div',
    { class: 'about' },
    create('h3', { text: `One scene: all categories ${where}` }),
    create('p', { class: 'hint', text: 'The best fit first:' }),
    create('ol', { class: 'fits' }, ...lines),
    create('div', { class: 'row' }, go),
  );
  return create(
    'li',
    { class: 'best-frame single' },
    ...(picture === undefined ? [] : [frameButton(best, picture, actions.open)]),
    about,
  );
}

/** The categories by similarity, each with its place between the worst and the best, 0 to 1. */
function bestFirst(frames: readonly BestFrame[]) {
  const sorted = frames.toSorted((a, b) => b.similarity - a.similarity);
  const [most, least] = [sorted[0]?.similarity ?? 0, sorted.at(-1)?.similarity ?? 0];
  const range = Math.max(most - least, 1e-6);
  return sorted.map(({ category, similarity }) => ({ category, share: (similarity - least) / range }));
}

/** Frames per category that are saved with the answers. */
const SAVED_FRAMES = 10;

export interface VideoResults {
  render(next: ShownVideo | undefined): void;
}

/** The video, its timeline and its best frames. */
export function createVideoResults(): VideoResults {
  const section = find('video-results', HTMLElement);
  const player = find('player', HTMLVideoElement);
  const unplayable = find('unplayable', HTMLElement);
  const name = find('video-name', HTMLElement);
  const facts = find('video-facts', HTMLElement);
  const fault = find('video-fault', HTMLElement);
  const warnings = find('video-warnings', HTMLUListElement);
  const answer = find('video-answer', HTMLElement);
  const timelineSection = find('timeline', HTMLElement);
  const bestFrames = find('best-frames', HTMLOListElement);
  const note = find('video-note', HTMLElement);
  const options = find('video-options', HTMLElement);
  const saves = find('video-saves', HTMLElement);
  const missing = find('video-missing', HTMLElement);
  let shown: ShownVideo | undefined;
  let addresses: FrameAddresses | undefined;

  const seek = (seconds: number) => {
    // One millisecond later, because rounding could show the frame before.
    player.currentTime = seconds + 0.001;
    player.scrollIntoView({ block: 'nearest' });
  };
  const timeline = createTimeline(timelineSection, seek);
  const dialog = createFrameDialog({ seek, save: (timestamp) => saveFrame(timestamp) });
  player.addEventListener('timeupdate', () => {
    const { duration = 0 } = shown?.details?.video ?? {};
    timeline.setPosition(player.currentTime);
    bestFrames.style.setProperty(
      '--played',
      `${Math.min(100, (player.currentTime / Math.max(duration, 0.001)) * 100)}%`,
    );
  });
  player.addEventListener('loadedmetadata', () => {
    const { videoWidth, videoHeight } = player;
    if (videoHeight > 0) player.style.setProperty('--ratio', String(videoWidth / videoHeight));
  });
  let isPlayable = true;
  /** In a video that does not play, times lead nowhere: they are not buttons to press. */
  const showPlayable = () => {
    player.hidden = !isPlayable;
    unplayable.hidden = isPlayable || shown?.fault !== undefined;
    section.classList.toggle('unplayable', !isPlayable);
    for (const button of answer.querySelectorAll<HTMLButtonElement>('.mark, .time')) {
      button.disabled = !isPlayable;
    }
  };
  player.addEventListener('error', () => {
    // The event also fires when the source is removed.
    isPlayable = !player.hasAttribute('src');
    showPlayable();
  });

  const fileOf = (timestamp: number): File | undefined => {
    const jpeg = shown?.pictures?.get(timestamp);
    return jpeg && new File([jpeg], frameName(shown?.file.name ?? '', timestamp), { type: jpeg.type });
  };
  const saveFrame = (timestamp: number) => {
    const file = fileOf(timestamp);
    if (file) saveBlob(file.name, file);
  };
  const saveFrames = async () => {
    const files = framesFound().flatMap(({ category, timestamp }) => {
      const file = fileOf(timestamp);
      return file ? [{ file, folder: validName(category, 200), name: file.name }] : [];
    });
    const { zipBlob } = await import('../save/saving.ts');
    const never = new AbortController().signal;
    const { blob } = await zipBlob(files, { signal: never, onFile: () => undefined });
    saveBlob('frames.zip', blob);
  };
  const saveAnswers = (format: 'json' | 'csv') => {
    if (!shown?.details) return;
    const results = {
      name: shown.file.name,
      details: shown.details,
      rules: shown.rules ?? {},
      topK: SAVED_FRAMES,
    };
    saveText('video', format, format === 'json' ? videoJson(results) : videoCsv(results));
  };
  const allFrames = createButton('Save all frames', () => void saveFrames());
  saves.append(
    allFrames,
    createButton('Save as JSON', () => saveAnswers('json')),
    createButton('Save as CSV', () => saveAnswers('csv')),
  );

  const framesFound = () =>
    shown?.details ? bestFramesOf(shown.details, shown.rules ?? {}, SAVED_FRAMES) : [];
  const draw = () => {
    const { details, pictures } = shown ?? {};
    const frames = addresses;
    answer.hidden = saves.hidden = !details || !frames;
    if (!details || !frames) return;
    const found = framesFound();
    const marks = marksOf(found);
    const actions = {
      seek,
      open: (frame: BestFrame) => dialog.open(frame, { among: found, addresses: frames, isPlayable }),
    };
    const isSingle = found.length > 1 && isOneMoment(marks, details);
    const single = isSingle ? singleFrame(found, frames, actions) : undefined;
    timelineSection.hidden = note.hidden = isSingle || found.length === 0;
    allFrames.hidden = !pictures || pictures.size === 0;
    bestFrames.replaceChildren(
      ...(single
        ? [single]
        : found.map((frame) => rowOf(frame, frames.at(frame.timestamp), details, actions))),
    );
    timeline.show(marks, details.video.duration, frames);
    const present = new Set(found.map(({ category }) => category));
    const absent = details.results.map(({ category }) => category).filter((it) => !present.has(it));
    missing.hidden = absent.length === 0;
    note.hidden ||= shown?.rules?.others === true;
    setText(missing, absent.length === 0 ? '' : `Not in this video: ${absent.join(', ')}.`);
    showPlayable();
  };

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
      // Before there are results, the player is small.
      section.classList.toggle('open', !next?.details);
      setText(name, next?.file.name ?? '');
      setText(facts, next?.details ? factsText(next.details) : '');
      setText(fault, next?.fault?.sentence ?? '');
      fault.hidden = !next?.fault;
      options.hidden = next?.fault !== undefined;
      const sentences = new Set(next?.details?.warnings);
      warnings.replaceChildren(...[...sentences].map((text) => create('li', { text })));
      // Drawing again would take the focus from its buttons.
      if (isNew) draw();
      showPlayable();
    },
  };
}

function factsText({ video, model }: VideoDetails): string {
  const { width, height, duration, frames_considered, scenes } = video;
  return `${width} × ${height}, ${timecode(duration)}; ${count(scenes, 'scene')}, ${count(frames_considered, 'frame')} classified by ${model.name}`;
}
