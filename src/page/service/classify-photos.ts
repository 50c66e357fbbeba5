import {
  type Received,
  type Refusal,
  refusalOf,
  type SendingOptions,
  sendPatiently,
} from '../../contract/client.ts';
import { isAboutFiles } from '../../contract/codes.ts';
import type { CategorizeDetails } from '../../contract/schemas.ts';
import { jpegBlob } from '../results/jpeg-blob.ts';
import type { Fault, Photo, PhotoAnswer, Question } from '../results/photo.ts';

/** Photos in a request: enough to fill the model's batches, but few, so that answers come early. */
const MAX_FILES = 32;
/** Twelve photos of a phone: some seconds over a slow line. */
const MAX_BYTES = 64 * 1024 ** 2;

/** Cuts a list of photos into requests, in order. A photo that is larger than a request should be gets its own. */
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

/** Ends a run that only a person can continue. */
export class RunStopped extends Error {
  override readonly name = 'RunStopped';
  readonly refusal: Refusal;

  constructor(refusal: Refusal) {
    super(refusal.sentence);
    this.refusal = refusal;
  }
}

export interface PhotoRun extends SendingOptions {
  readonly photos: readonly Photo[];
  readonly question: Question;
  /** Sends some of the photos, in this order. @throws the signal's reason */
  post(photos: readonly Photo[], signal: AbortSignal, onSent: (bytes: number) => void): Promise<Received>;
  onAnswer(photo: Photo, answer: PhotoAnswer): void;
  onFault(photo: Photo, fault: Fault): void;
  /** Bytes of all photos of the run. They become fewer when a request has to be sent again. */
  onSent(bytes: number): void;
  onModel(model: CategorizeDetails['model']): void;
}

/** While the last photos of one request are classified, the next request is being sent. */
const REQUESTS_AT_ONCE = 2;

/**
 * Classifies photos, batch by batch. Answers are kept, however the run ends.
 * @throws RunStopped; the signal's reason
 */
export async function classifyPhotos(run: PhotoRun): Promise<void> {
  const queue = batchesOf(run.photos);
  const failure = new AbortController();
  const signal = AbortSignal.any([run.signal, failure.signal]);
  const sent = createSentTally(run.onSent);
  const work = async () => {
    for (let batch = queue.shift(); batch; batch = queue.shift()) {
      queue.unshift(...(await sendBatch(batch, { ...run, signal }, sent)));
    }
  };
  const workers = Array.from({ length: REQUESTS_AT_ONCE }, () =>
    work().catch((fault: unknown) => {
      failure.abort(fault);
      throw fault;
    }),
  );
  const ended = await Promise.allSettled(workers);
  if (ended.some(({ status }) => status === 'rejected')) throw signal.reason;
}

/** @returns smaller batches to be sent in its place */
async function sendBatch(
  photos: readonly Photo[],
  run: PhotoRun,
  sent: SentTally,
): Promise<readonly Photo[][]> {
  using share = sent.share(photos);
  let batch = photos;
  const attempt = async (): Promise<Received> => {
    while (batch.length > 0) {
      const received = await run.post(batch, run.signal, share.sent);
      // The browser fails the whole request when it cannot read one of the files.
      const readable = received.status === 0 ? await withoutVanished(batch, run) : batch;
      if (readable.length === batch.length) return received;
      batch = readable;
    }
    return { status: 204, body: undefined };
  };
  const outcome = await sendPatiently(attempt, run);
  if ('answer' in outcome) {
    if (batch.length > 0) takeAnswer(batch, outcome.answer, run);
  } else {
    const { refusal } = outcome;
    if (!isAboutFiles(refusal)) throw new RunStopped(refusal);
    const middle = Math.ceil(batch.length / 2);
    if (refusal.client === 'send_less' && batch.length > 1)
      return [batch.slice(0, middle), batch.slice(middle)];
    for (const photo of batch) run.onFault(photo, { code: refusal.code, sentence: refusal.sentence });
  }
  share.keep();
  return [];
}

function takeAnswer(batch: readonly Photo[], body: unknown, run: PhotoRun): void {
  const answer = readBatchAnswer(body, run.question);
  if (!answer) throw new RunStopped(refusalOf({ status: 200, body }));
  run.onModel(answer.model);
  for (const [place, photo] of batch.entries()) {
    const found = answer.answers.get(place);
    if (found) run.onAnswer(photo, found);
    else run.onFault(photo, answer.faults.get(place) ?? unanswered);
  }
}

/** The page lists at most this many categories of a photo. */
const MAX_BEST = 10;

/** The answer to one request, by the photo's place in it. */
interface BatchAnswer {
  readonly model: CategorizeDetails['model'];
  readonly answers: ReadonlyMap<number, PhotoAnswer>;
  readonly faults: ReadonlyMap<number, Fault>;
}

/**
 * Reads a detailed answer of /categorize. Each file was sent under its place in the request, `0`, `1`, …, because
 * names may repeat, be too long, or be private.
 * @returns undefined if the body is not such an answer
 */
function readBatchAnswer(body: unknown, question: Question): BatchAnswer | undefined {
  const details = body as CategorizeDetails | null | undefined;
  if (!Array.isArray(details?.results) || !Array.isArray(details.errors)) return undefined;
  const places = new Map(question.labels.map((label, index) => [label, index]));
  const warnings = new Map(details.warnings?.map(({ file, warning }) => [file, warning]));
  const thumbnails = new Map(details.thumbnails?.map(({ file, image }) => [file, jpegBlob(image)]));
  const answers = new Map<number, PhotoAnswer>();
  for (const { file, scores: listed } of details.results) {
    const similarities = new Float32Array(places.size).fill(Number.NaN);
    const scores = new Float32Array(places.size);
    const best: number[] = [];
    for (const { category, score, similarity } of listed) {
      const place = places.get(category);
      if (place === undefined) continue;
      similarities[place] = similarity;
      scores[place] = score;
      if (best.length < MAX_BEST) best.push(place);
    }
    const [warning, thumbnail] = [warnings.get(file), thumbnails.get(file)];
    answers.set(Number(file), { question, similarities, scores, best, warning, thumbnail });
  }
  const faults = new Map(
    details.errors.map(({ file, code, error }) => [Number(file), { code, sentence: error }]),
  );
  return { model: details.model, answers, faults };
}

const unanswered: Fault = { code: 'unanswered', sentence: 'The answer does not mention this file.' };
const vanished: Fault = {
  code: 'unreadable',
  sentence: 'The file cannot be read: it was moved, deleted or changed after you chose it.',
};

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
  /** The part of one request. It is subtracted when it is disposed, unless it is kept. */
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
