import { statesOfService } from '../../contract/client.ts';
import type { ServiceState } from '../service/service-state.ts';
import type { RunProgress } from '../session.ts';
import { find, setText } from './dom.ts';
import { bytes, count, duration, number, timecode } from './numbers.ts';

/** The first seconds of a run do not predict the time left. */
const GUESS_AFTER_MS = 4000;

/** Shows the progress of a run, and announces it. */
export function createProgress(live: LiveRegion) {
  const section = find('progress', HTMLElement);
  const bar = find('progress-bar', HTMLProgressElement);
  const text = find('progress-text', HTMLElement);
  const wait = find('progress-wait', HTMLElement);
  const pageTitle = document.title;
  let shownWait: RunProgress['wait'];
  let ticking: ReturnType<typeof setInterval> | undefined;
  const showWait = (next: RunProgress['wait']) => {
    if (next === shownWait) return;
    shownWait = next;
    clearInterval(ticking);
    wait.hidden = !next;
    if (!next) return;
    const until = performance.now() + next.waitSeconds * 1000;
    const tick = () =>
      setText(wait, `${waitText(next)}${statesOfService.has(next.code) ? '' : countdownText(until)}`);
    tick();
    ticking = setInterval(tick, 1000);
  };
  return {
    show(progress: RunProgress | undefined) {
      section.hidden = !progress;
      const share = progress && shareOf(progress);
      // The title is visible while another tab is open.
      document.title = share === undefined ? pageTitle : `${Math.floor(share * 100)} % · ${pageTitle}`;
      if (!progress) {
        showWait(undefined);
        return;
      }
      if (share === undefined) bar.removeAttribute('value');
      else bar.value = share;
      setText(text, `${stepText(progress)}${timeLeft(progress, share)}`);
      showWait(progress.wait);
      live.mention(progress.wait ? waitText(progress.wait) : stepText(progress));
    },
  };
}

type Wait = NonNullable<RunProgress['wait']>;

/** One sentence. What state the service is in stands in the banner, which also says how long it lasts. */
function waitText({ code, sentence }: Wait): string {
  return statesOfService.has(code)
    ? 'Waiting for the service. The run then continues by itself.'
    : sentence.replace(/ Try again soon\.$/, '');
}

/** @param until as `performance.now()` */
function countdownText(until: number): string {
  const seconds = (until - performance.now()) / 1000;
  return seconds > 0 ? ` Trying again in ${duration(Math.ceil(seconds))}.` : ' Trying again now.';
}

/** How a run ended that was stopped. */
export function stoppedText(done: number, total: number): string {
  return `Stopped: ${number(done)} of ${number(total)} done.`;
}

/** The button that goes on with a stopped run. */
export function continueText(left: number): string {
  return `Continue (${number(left)} left)`;
}

/** 0 to 1; undefined: unknown. */
function shareOf(progress: RunProgress): number | undefined {
  const { video, wait, photosDone, photosTotal, sentBytes, totalBytes } = progress;
  if (video) {
    const { seconds_done: seconds, seconds_total: length, images_done: images, images_total: all } = video;
    if (video.stage === 'searching') return length ? (seconds ?? 0) / length : undefined;
    return video.stage === 'rendering' && all ? (images ?? 0) / all : undefined;
  }
  // What was sent without an answer is sent again after a wait.
  if (wait) return photosTotal > 0 ? photosDone / photosTotal : 0;
  const sent = totalBytes > 0 ? sentBytes / totalBytes : 0;
  // Photos are classified while others are sent, so the sum of both moves steadily.
  return photosTotal > 0 ? (sent + photosDone / photosTotal) / 2 : sent;
}

function stepText(progress: RunProgress): string {
  const { video, wait, photosDone, photosTotal, sentBytes, totalBytes } = progress;
  if (wait && photosTotal > 0) return `${number(photosDone)} of ${count(photosTotal, 'photo')} classified`;
  if (wait) return 'The video was not searched yet';
  const sent = `${bytes(sentBytes)} of ${bytes(totalBytes)} sent`;
  if (photosTotal > 0) return `${number(photosDone)} of ${count(photosTotal, 'photo')} classified, ${sent}`;
  switch (video?.stage) {
    case 'searching': {
      const { seconds_done: seconds = 0, seconds_total: length = 0, frames = 0 } = video;
      return `Searching the video: ${timecode(seconds)} of ${timecode(length)}, ${count(frames, 'frame')}`;
    }
    case 'rendering':
      return `Preparing pictures of the best frames: ${video.images_done ?? 0} of ${video.images_total ?? 0}`;
    case 'waiting':
      return 'Waiting until the service has finished other videos';
    default:
      return `Video: ${sent}`;
  }
}

function timeLeft({ startedAt, video, wait }: RunProgress, share: number | undefined): string {
  const elapsedMs = performance.now() - startedAt;
  if (video || wait || !share || share >= 1 || elapsedMs < GUESS_AFTER_MS) return '';
  return `, about ${duration(((elapsedMs / 1000) * (1 - share)) / share)} left`;
}

/** Announcements for screen readers, not more often than a person can follow. */
interface LiveRegion {
  /** Announces at once. */
  say(text: string): void;
  /** Announces unless the last announcement is recent. */
  mention(text: string): void;
}

const PACE_MS = 4000;

export function createLiveRegion(element: Element): LiveRegion {
  let spokenAt = Number.NEGATIVE_INFINITY;
  const say = (text: string) => {
    element.textContent = text;
    spokenAt = performance.now();
  };
  return {
    say,
    mention(text) {
      if (performance.now() - spokenAt >= PACE_MS) say(text);
    },
  };
}

const stages = {
  searching: 'Looking for the model',
  downloading: 'Downloading the model',
  verifying: 'Verifying the model',
  compiling: 'Preparing the model (only once)',
  warming_up: 'Loading the model',
} as const;

/** Shows the model, or why the service cannot answer. */
export function createServiceBanner() {
  const banner = find('banner', HTMLElement);
  const text = find('banner-text', HTMLElement);
  const progress = find('banner-progress', HTMLProgressElement);
  const model = find('model', HTMLElement);
  return {
    show(state: ServiceState) {
      const ready = state.state === 'ready' ? state.model : null;
      const isDemo = ready?.name === 'demo';
      banner.hidden = ready !== null && !isDemo;
      banner.classList.toggle('demo', isDemo);
      banner.classList.toggle('fault', state.state === 'unavailable' || state.state === 'unreachable');
      setText(
        model,
        ready ? `Model: ${isDemo ? 'demo, not CLIP' : `CLIP ${ready.name} (${ready.precision})`}` : '',
      );
      setText(text, isDemo ? demoText : sentenceOf(state));
      const share = loadedShare(state);
      progress.hidden = state.state !== 'loading';
      if (share === undefined) progress.removeAttribute('value');
      else progress.value = share;
    },
  };
}

const demoText =
  'This is the demo model, not CLIP. It only knows colours and brightness. Try “something red” or “a dark picture”.';

function sentenceOf(state: ServiceState): string {
  switch (state.state) {
    case 'ready':
      return '';
    case 'loading': {
      if (!state.progress) return 'The service is starting.';
      const { stage, bytes_done: done, bytes_total: total, seconds_left: left } = state.progress;
      const amount = done !== undefined && total !== undefined ? `: ${bytes(done)} of ${bytes(total)}` : '';
      return `${stages[stage]}${amount}${left === undefined ? '' : `, about ${duration(left)} left`}.`;
    }
    case 'unavailable':
      return state.message ?? 'The model is not available.';
    case 'shutting_down':
      return 'The service is shutting down.';
    case 'unreachable':
      return 'The service cannot be reached. The page tries again every second.';
  }
}

function loadedShare(state: ServiceState): number | undefined {
  if (state.state !== 'loading') return undefined;
  const { bytes_done: done, bytes_total: total } = state.progress ?? {};
  return done === undefined || !total ? undefined : done / total;
}
