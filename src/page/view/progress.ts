import type { RunProgress } from '../session.ts';
import { find, setText } from './dom.ts';
import type { LiveRegion } from './live-region.ts';
import { bytes, count, duration, number, timecode } from './numbers.ts';

/** How far a run has come, for eyes and ears. */
export interface ProgressView {
  show(progress: RunProgress | undefined): void;
}

/** Before that, a guess at the time left says nothing. */
const GUESS_AFTER_MS = 4000;

export function createProgress(live: LiveRegion): ProgressView {
  const section = find('progress', HTMLElement);
  const bar = find('progress-bar', HTMLProgressElement);
  const text = find('progress-text', HTMLElement);
  const wait = find('progress-wait', HTMLElement);
  const pageTitle = document.title;
  return {
    show(progress) {
      section.hidden = !progress;
      const share = progress && shareOf(progress);
      // Seen while another tab is looked at.
      document.title = share === undefined ? pageTitle : `${Math.floor(share * 100)} % · ${pageTitle}`;
      if (!progress) return;
      if (share === undefined) bar.removeAttribute('value');
      else bar.value = share;
      setText(text, `${stepText(progress)}${timeLeft(progress, share)}`);
      setText(wait, progress.wait ? waitText(progress.wait) : '');
      wait.hidden = !progress.wait;
      live.mention(progress.wait ? waitText(progress.wait) : stepText(progress));
    },
  };
}

function waitText({ sentence, waitSeconds }: NonNullable<RunProgress['wait']>): string {
  return `${sentence} Trying again in ${duration(waitSeconds)}.`;
}

/** undefined: nobody can tell. */
function shareOf({ video, photosDone, photosTotal, sentBytes, totalBytes }: RunProgress): number | undefined {
  if (video) {
    const { seconds_done: seconds, seconds_total: length, images_done: images, images_total: all } = video;
    if (video.stage === 'searching') return length ? (seconds ?? 0) / length : undefined;
    return video.stage === 'rendering' && all ? (images ?? 0) / all : undefined;
  }
  const sent = totalBytes > 0 ? sentBytes / totalBytes : 0;
  // Photos are classified as they arrive: both together move all the time.
  return photosTotal > 0 ? (sent + photosDone / photosTotal) / 2 : sent;
}

function stepText({ video, photosDone, photosTotal, sentBytes, totalBytes }: RunProgress): string {
  const sent = `${bytes(sentBytes)} of ${bytes(totalBytes)} sent`;
  if (photosTotal > 0) return `${number(photosDone)} of ${count(photosTotal, 'photo')} classified, ${sent}`;
  switch (video?.stage) {
    case 'searching': {
      const { seconds_done: seconds = 0, seconds_total: length = 0, frames = 0 } = video;
      return `Looking through the video: ${timecode(seconds)} of ${timecode(length)}, ${count(frames, 'frame')}`;
    }
    case 'rendering':
      return `Making pictures of the best frames: ${video.images_done ?? 0} of ${video.images_total ?? 0}`;
    case 'waiting':
      return 'The service looks through other videos first';
    default:
      return `The video: ${sent}`;
  }
}

function timeLeft({ startedAt, video, wait }: RunProgress, share: number | undefined): string {
  const elapsedMs = performance.now() - startedAt;
  if (video || wait || !share || share >= 1 || elapsedMs < GUESS_AFTER_MS) return '';
  return `, about ${duration(((elapsedMs / 1000) * (1 - share)) / share)} left`;
}
