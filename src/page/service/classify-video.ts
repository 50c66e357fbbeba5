import { statusOf } from '../../contract/codes.ts';
import type { VideoDetails, VideoEvent, VideoProgress } from '../../contract/schemas.ts';
import { type Received, type Refusal, refusalOf, unreadableAnswer } from './refusal.ts';

/**
 * Reads lines out of a text that grows: `read(all so far)` gives the lines that have become complete.
 */
export function createLineReader(): (text: string) => string[] {
  let read = 0;
  return (text) => {
    const lines: string[] = [];
    for (let end = text.indexOf('\n', read); end !== -1; end = text.indexOf('\n', read)) {
      if (end > read) lines.push(text.slice(read, end));
      read = end + 1;
    }
    return lines;
  };
}

interface VideoRun {
  readonly signal: AbortSignal;
  /** Sends the video, asking for events. @throws the signal's reason */
  post(
    signal: AbortSignal,
    onSent: (bytes: number) => void,
    onText: (text: string) => void,
  ): Promise<Received>;
  onSent(bytes: number): void;
  onProgress(progress: VideoProgress): void;
  onWait(refusal: Refusal): void;
  /** @throws the signal's reason */
  pause(seconds: number, signal: AbortSignal): Promise<void>;
}

/**
 * Has a video looked through. While the service is busy or still starting, it waits.
 * @throws the signal's reason
 */
export async function classifyVideo(run: VideoRun): Promise<VideoDetails | Refusal> {
  for (;;) {
    const outcome = await sendVideo(run);
    if (!('remedy' in outcome) || outcome.remedy !== 'wait') return outcome;
    run.onWait(outcome);
    await run.pause(outcome.waitSeconds, run.signal);
  }
}

async function sendVideo(run: VideoRun): Promise<VideoDetails | Refusal> {
  const readLines = createLineReader();
  let outcome: VideoDetails | Refusal | undefined;
  const take = (text: string) => {
    for (const line of readLines(text)) {
      const event = eventOf(line);
      // What is sent is known here before it arrives there.
      if (event?.event === 'progress' && event.data.stage !== 'uploading') run.onProgress(event.data);
      if (event?.event === 'result' && 'results' in event.data) outcome = event.data as VideoDetails;
      if (event?.event === 'error') outcome = refusalOfEvent(event.data);
    }
  };
  const received = await run.post(run.signal, run.onSent, take);
  if (received.status !== 200) return refusalOf(received);
  take(received.text);
  return outcome ?? unreadableAnswer();
}

/** Events come with a success's status and without headers of their own: all stands in the body. */
function refusalOfEvent(data: Extract<VideoEvent, { event: 'error' }>['data']): Refusal {
  const { code, retry_after_seconds: seconds } = data;
  return refusalOf({
    status: statusOf(code),
    text: JSON.stringify(data),
    retryAfterSeconds: typeof seconds === 'number' ? seconds : undefined,
  });
}

function eventOf(line: string): VideoEvent | undefined {
  try {
    return JSON.parse(line) as VideoEvent;
  } catch {
    return undefined;
  }
}
