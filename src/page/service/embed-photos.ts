import { joinTiles } from '../../classify/decide.ts';
import {
  type Received,
  type Refusal,
  refusalOf,
  type SendingOptions,
  sendPatiently,
} from '../../contract/client.ts';
import { isAboutFiles } from '../../contract/codes.ts';
import type { EmbeddingsAnswer } from '../../contract/schemas.ts';
import { bytesOfBase64, jpegBlob } from '../results/jpeg-blob.ts';
import type { Fault, Photo, PhotoEmbedding } from '../results/photo.ts';

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

/** What made embeddings: those of different origins cannot be compared. */
export type Origin = Pick<EmbeddingsAnswer, 'model' | 'sha256' | 'precision' | 'logit_scale'>;

export interface PhotoRun extends SendingOptions {
  readonly photos: readonly Photo[];
  /** Sends some of the photos, in this order. @throws the signal's reason */
  post(photos: readonly Photo[], signal: AbortSignal, onSent: (bytes: number) => void): Promise<Received>;
  /**
   * Called with the origin of each answer.
   * @returns the origin as the embeddings shall name it
   */
  onOrigin(origin: Origin): string;
  onEmbedding(photo: Photo, embedding: PhotoEmbedding): void;
  onFault(photo: Photo, fault: Fault): void;
  /** Bytes of all photos of the run. They become fewer when a request has to be sent again. */
  onSent(bytes: number): void;
}

/** While the last photos of one request are classified, the next request is being sent. */
const REQUESTS_AT_ONCE = 2;

/**
 * Sends photos, batch by batch, for their embeddings. Embeddings are kept, however the run ends.
 * @throws RunStopped; the signal's reason
 */
export async function embedPhotos(run: PhotoRun): Promise<void> {
  const queue = batchesOf(run.photos);
  const failure = new AbortController();
  const signal = AbortSignal.any([run.signal, failure.signal]);
  const tallies = { sent: createSentTally(run.onSent), bugs: { inARow: 0 } };
  const work = async () => {
    for (let batch = queue.shift(); batch; batch = queue.shift()) {
      queue.unshift(...(await sendBatch(batch, { ...run, signal }, tallies)));
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

/**
 * Attempts with a single photo before it counts as the reason for the service's bug. A request with several photos is cut
 * at once: one of them may be the reason.
 */
const ATTEMPTS_AT_BUG = 2;
/** After this many photos in a row at which the service fails, the reason is the service, not the photos. */
const BUGS_IN_A_ROW = 8;

/** A fault of the service at these photos. Sending them again together does not help. */
class ServiceBug extends Error {
  override readonly name = 'ServiceBug';
  readonly received: Received;

  constructor(received: Received) {
    super('the service has a bug');
    this.received = received;
  }
}

/** @returns smaller batches to be sent in its place */
async function sendBatch(
  photos: readonly Photo[],
  run: PhotoRun,
  tallies: { readonly sent: SentTally; readonly bugs: BugTally },
): Promise<readonly Photo[][]> {
  using share = tallies.sent.share(photos);
  let batch = photos;
  let bugs = 0;
  const attempt = async (): Promise<Received> => {
    while (batch.length > 0) {
      const received = await run.post(batch, run.signal, share.sent);
      if (received.status === 500) {
        bugs += 1;
        if (batch.length === 1 && bugs < ATTEMPTS_AT_BUG) continue;
        throw new ServiceBug(received);
      }
      // The browser fails the whole request when it cannot read one of the files.
      const readable = received.status === 0 ? await withoutVanished(batch, run) : batch;
      if (readable.length === batch.length) return received;
      batch = readable;
    }
    return { status: 204, body: undefined };
  };
  const outcome = await sendPatiently(attempt, run).catch((fault: unknown) => {
    if (fault instanceof ServiceBug) return { refusal: refusalOf(fault.received), isBug: true };
    throw fault;
  });
  if ('answer' in outcome) {
    tallies.bugs.inARow = 0;
    if (batch.length > 0) takeAnswer(batch, outcome.answer, run);
  } else {
    const { refusal } = outcome;
    const isBug = 'isBug' in outcome;
    if (!isBug && !isAboutFiles(refusal)) throw new RunStopped(refusal);
    if ((isBug || refusal.client === 'send_less') && batch.length > 1) {
      const middle = Math.ceil(batch.length / 2);
      return [batch.slice(0, middle), batch.slice(middle)];
    }
    if (isBug && ++tallies.bugs.inARow >= BUGS_IN_A_ROW) throw new RunStopped(refusal);
    for (const photo of batch) run.onFault(photo, { code: refusal.code, sentence: refusal.sentence });
  }
  share.keep();
  return [];
}

interface BugTally {
  inARow: number;
}

/**
 * Reads an answer of /embeddings. Each file was sent under its place in the request, because names may repeat, be too
 * long, or be private.
 */
function takeAnswer(batch: readonly Photo[], body: unknown, run: PhotoRun): void {
  const answer = body as EmbeddingsAnswer | null | undefined;
  if (!Array.isArray(answer?.embeddings) || !Array.isArray(answer.errors)) {
    throw new RunStopped(refusalOf({ status: 200, body }));
  }
  const origin = run.onOrigin(answer);
  const parts = Map.groupBy(answer.embeddings, ({ file }) => file);
  const faults = new Map(answer.errors.map(({ file, code, error }) => [file, { code, sentence: error }]));
  const warnings = new Map(answer.warnings?.map(({ file, warning }) => [file, warning]));
  const thumbnails = new Map(answer.thumbnails?.map(({ file, image }) => [file, image]));
  for (const [place, photo] of batch.entries()) {
    const file = String(place);
    const found = parts.get(file);
    const thumbnail = thumbnails.get(file);
    if (found) {
      run.onEmbedding(photo, {
        origin,
        embedding: joinTiles(found.map(({ embedding }) => vectorOf(embedding))),
        warning: warnings.get(file),
        thumbnail: thumbnail === undefined ? undefined : jpegBlob(thumbnail),
      });
    } else run.onFault(photo, faults.get(file) ?? unanswered);
  }
}

/** @param embedding base64 of its float32 numbers in little-endian order, as all current browsers store them */
export function vectorOf(embedding: EmbeddingsAnswer['embeddings'][number]['embedding']): Float32Array {
  return typeof embedding === 'string'
    ? new Float32Array(bytesOfBase64(embedding).buffer)
    : Float32Array.from(embedding);
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
