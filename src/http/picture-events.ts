import type { PictureProgress } from '../contract/schemas.ts';
import { generate, type StreamedResponse, streamBody } from './answers.ts';
import type { Refusal } from './broken-pictures.ts';
import { type EventNotation, errorEvent, eventHeaders, eventText, tellWhile } from './events.ts';
import { readBody } from './form.ts';
import type { PictureJob } from './picture-upload.ts';

/** The news of a request whose answer is sent one by one. */
export interface PictureNews<Item> {
  /** The request's body. */
  readonly body: AsyncIterable<Uint8Array>;
  /** Called when a picture has arrived. */
  received(): void;
  /** Called when the body is complete. */
  uploaded(): void;
  /** Called with each picture that is known, and with texts, which do not count as pictures. */
  add(item: Item, isPicture: boolean): void;
  /** Called when items that are known can be described from now on. */
  describable(): void;
}

interface AnsweredOneByOne<Item> {
  /** Receives the request. Resolves when everything is known. @returns set if the answer is an error */
  receive(news: PictureNews<Item>): Promise<Refusal | undefined>;
  /** Whether items can be described: the question has arrived. */
  canDescribe(): boolean;
  /** The event of an item, as text. Called when the client has room for it. */
  describe(item: Item, notation: EventNotation): string;
  /** The data of the last event. */
  end(): object;
}

/**
 * Answers with events: each picture as soon as it is known, and the progress in between. Clients may send all of the
 * request before they read the answer: what they have not read is generated later, so that it takes no memory.
 */
export function respondOneByOne<Item>(
  job: PictureJob,
  notation: EventNotation,
  work: AnsweredOneByOne<Item>,
): StreamedResponse {
  const { endpoint, request, lease, record } = job;
  const uploaded = Promise.withResolvers<void>();
  const known: Item[] = [];
  const declared = request.headers.get('content-length');
  let progress: PictureProgress = {
    stage: 'uploading',
    bytes_done: 0,
    ...(declared !== null && { bytes_total: Number(declared) }),
    files_received: 0,
    files_done: 0,
  };

  const receive = async (tell: (progress: PictureProgress) => void) => {
    const change = (changed: Partial<PictureProgress>) => {
      progress = { ...progress, ...changed };
      tell(progress);
    };
    tell(progress);
    try {
      return await work.receive({
        body: readBody(request, lease, record, () => change({ bytes_done: record.bytes })),
        received: () => change({ files_received: progress.files_received + 1 }),
        uploaded() {
          uploaded.resolve();
          change({ stage: 'encoding' });
        },
        add(item, isPicture) {
          known.push(item);
          change({ files_done: progress.files_done + (isPicture ? 1 : 0) });
        },
        describable: () => tell(progress),
      });
    } finally {
      uploaded.resolve();
    }
  };

  function* describeKnown(): Generator<string> {
    while (work.canDescribe()) {
      const some = known.splice(0, DESCRIBED_AT_ONCE);
      if (some.length === 0) return;
      for (const item of some) yield work.describe(item, notation);
    }
  }

  const { stream, ended } = streamBody(
    async (write) => {
      const writeAll = async (pieces: Iterable<string>) => {
        for await (const chunk of generate(pieces, lease.signal)) await write(chunk);
      };
      let last: PictureProgress | undefined;
      const outcome = await tellWhile<PictureProgress, Refusal | undefined>(receive, {
        pace: endpoint.pace,
        lease,
        async send(item) {
          await writeAll(describeKnown());
          if (item === 'quiet') return await writeAll([notation.quiet(last)]);
          if (Bun.deepEquals(item, last)) return;
          last = item;
          await writeAll([eventText(notation, 'progress', item)]);
        },
      });
      if ('fault' in outcome) {
        write.last(new TextEncoder().encode(errorEvent(notation, endpoint.explain(outcome.fault))));
        return;
      }
      await writeAll(describeKnown());
      const { result: refusal } = outcome;
      if (refusal) {
        endpoint.explain(refusal.refusal);
        const [before, after] = notation.around('error');
        await writeAll(
          (function* () {
            yield before;
            yield* refusal.pieces();
            yield after;
          })(),
        );
      } else await writeAll([eventText(notation, 'end', work.end())]);
    },
    { lease, uploaded: uploaded.promise, beforeClose: endpoint.beforeClose },
  );
  return { response: new Response(stream, { headers: eventHeaders(notation) }), ended };
}

/** Taking items from the front of a long list one by one would move all others each time. */
const DESCRIBED_AT_ONCE = 256;
