import type { Fault, Photo, PhotoAnswer, Question } from '../results/photo.ts';
import { type Model, readBatchAnswer } from './photo-answers.ts';
import { type Received, type Refusal, refusalOf, unreadableAnswer } from './refusal.ts';

/**
 * So many photos a request: few enough that answers come while the rest is still on its way and that a broken
 * request loses little, enough to fill the model's batches.
 */
const MAX_FILES = 32;
/** Twelve photos of a phone: some seconds over a slow line. */
const MAX_BYTES = 64 * 1024 ** 2;

/** Cuts a list of photos into requests, in order; a photo that is too large alone goes alone. */
export function batchesOf<Item extends { readonly bytes: number }>(items: readonly Item[]): Item[][] {
  const batches: Item[][] = [];
  let sum = 0;
  for (const item of items) {
    const last = batches.at(-1);
    if (last && last.length < MAX_FILES && sum + item.bytes <= MAX_BYTES) {
      last.push(item);
      sum += item.bytes;
    } else {
      batches.push([item]);
      sum = item.bytes;
    }
  }
  return batches;
}

/** Nothing more can be done before a person has changed something. */
export class RunStopped extends Error {
  override readonly name = 'RunStopped';
  readonly refusal: Refusal;

  constructor(refusal: Refusal) {
    super(refusal.sentence);
    this.refusal = refusal;
  }
}

/** How it goes, photo by photo. */
interface PhotoRunEvents {
  onAnswer(photo: Photo, answer: PhotoAnswer): void;
  onFault(photo: Photo, fault: Fault): void;
  /** Of all photos of the run, in bytes; less than before where a request has to be sent again. */
  onSent(bytes: number): void;
  onModel(model: Model): void;
  /** A request has to wait. */
  onWait(refusal: Refusal): void;
}

export interface PhotoRun extends PhotoRunEvents {
  readonly photos: readonly Photo[];
  readonly question: Question;
  readonly signal: AbortSignal;
  /** Sends some of the photos, in this order. @throws the signal's reason */
  post(photos: readonly Photo[], signal: AbortSignal, onSent: (bytes: number) => void): Promise<Received>;
  /** @throws the signal's reason */
  pause(seconds: number, signal: AbortSignal): Promise<void>;
}

/** While one request's last photos are classified, the next one is already on its way. */
const REQUESTS_AT_ONCE = 2;
/** Seconds before each further try. */
const retryPauses = [1, 2, 4];

/**
 * Classifies photos, batch by batch. What was answered stays answered, however it ends.
 * @throws RunStopped; the signal's reason
 */
export async function classifyPhotos(run: PhotoRun): Promise<void> {
  const queue = batchesOf(run.photos);
  const failure = new AbortController();
  const signal = AbortSignal.any([run.signal, failure.signal]);
  const sent = createSentTally(run.onSent);
  const work = async () => {
    for (let batch = queue.shift(); batch; batch = queue.shift()) {
      const rest = await sendBatch(batch, { ...run, signal }, sent);
      queue.unshift(...rest);
    }
  };
  const workers = Array.from({ length: REQUESTS_AT_ONCE }, () =>
    work().catch((fault: unknown) => {
      failure.abort(fault);
      throw fault;
    }),
  );
  const ended = await Promise.allSettled(workers);
  const failed = ended.find((worker) => worker.status === 'rejected');
  if (failed) throw signal.reason;
}

/** @returns smaller batches to be sent in its place */
async function sendBatch(batch: readonly Photo[], run: PhotoRun, sent: SentTally): Promise<Photo[][]> {
  const pauses = [...retryPauses];
  for (;;) {
    using share = sent.share(batch);
    const received = await run.post(batch, run.signal, share.sent);
    if (received.status === 200) {
      share.keep();
      takeAnswer(batch, received.text, run);
      return [];
    }
    const refusal = refusalOf(received);
    switch (refusal.remedy) {
      case 'wait':
        run.onWait(refusal);
        await run.pause(refusal.waitSeconds, run.signal);
        break;
      case 'retry': {
        const readable = await withoutVanished(batch, run);
        if (readable.length < batch.length) return readable.length === 0 ? [] : [readable];
        const seconds = pauses.shift();
        if (seconds === undefined) throw new RunStopped(refusal);
        run.onWait({ ...refusal, waitSeconds: seconds });
        await run.pause(seconds, run.signal);
        break;
      }
      case 'split': {
        const middle = Math.ceil(batch.length / 2);
        if (batch.length > 1) return [batch.slice(0, middle), batch.slice(middle)];
        share.keep();
        blame(batch, refusal, run);
        return [];
      }
      case 'blame':
        share.keep();
        blame(batch, refusal, run);
        return [];
      case 'stop':
        throw new RunStopped(refusal);
    }
  }
}

function takeAnswer(batch: readonly Photo[], text: string, run: PhotoRun): void {
  const answer = readBatchAnswer(text, run.question);
  if (!answer) throw new RunStopped(unreadableAnswer());
  run.onModel(answer.model);
  for (const [place, photo] of batch.entries()) {
    const found = answer.answers.get(place);
    if (found) run.onAnswer(photo, found);
    else run.onFault(photo, answer.faults.get(place) ?? unanswered);
  }
}

const unanswered: Fault = { code: 'unanswered', sentence: 'The service said nothing about this file.' };
const vanished: Fault = {
  code: 'unreadable',
  sentence: 'The file cannot be read: it was moved, removed or changed after it was chosen.',
};

function blame(batch: readonly Photo[], { code, sentence }: Refusal, run: PhotoRun): void {
  for (const photo of batch) run.onFault(photo, { code, sentence });
}

/** A request fails as a whole where the browser cannot read one of its files any more. */
async function withoutVanished(batch: readonly Photo[], run: PhotoRun): Promise<Photo[]> {
  const readable: Photo[] = [];
  for (const photo of batch) {
    const isThere = await photo.file
      .slice(0, 1)
      .arrayBuffer()
      .then(
        () => true,
        () => false,
      );
    if (isThere) readable.push(photo);
    else run.onFault(photo, vanished);
  }
  return readable;
}

interface SentTally {
  /** What one request contributes; taken back when it is disposed of, unless it is kept. */
  share(batch: readonly Photo[]): Disposable & { sent(bytes: number): void; keep(): void };
}

function createSentTally(tell: (bytes: number) => void): SentTally {
  let total = 0;
  return {
    share(batch) {
      const size = batch.reduce((sum, { bytes }) => sum + bytes, 0);
      let counted = 0;
      let isKept = false;
      const set = (bytes: number) => {
        total += bytes - counted;
        counted = bytes;
        tell(total);
      };
      return {
        // A body is a little longer than its files.
        sent: (bytes) => set(Math.min(bytes, size)),
        keep() {
          isKept = true;
          set(size);
        },
        [Symbol.dispose]() {
          if (!isKept) set(0);
        },
      };
    },
  };
}
