import { ServiceError } from '../errors.ts';
import { errorBody } from './answers.ts';
import type { Lease } from './resources.ts';

/** The names of all events: of a video, and of pictures that are answered one by one. The last one ends the answer. */
export type EventName = 'progress' | 'answer' | 'embedding' | 'broken' | 'end' | 'result' | 'error';

/** How events are written. */
export interface EventNotation {
  readonly contentType: string;
  /** @param name of the event, with the text before and after its data */
  around(name: EventName): readonly [before: string, after: string];
  /** A sign of life. @param last the data of the last progress that was sent, if any */
  quiet(last: object | undefined): string;
}

/** Newline-delimited JSON: one object a line. */
const ndjson: EventNotation = {
  contentType: 'application/x-ndjson; charset=utf-8',
  around: (name) => [`{"event":"${name}","data":`, '}\n'],
  // NDJSON has no comments, and not every reader ignores an empty line.
  quiet: (last) => (last ? eventText(ndjson, 'progress', last) : ''),
};

/** Server-sent events, as WHATWG HTML defines them. The data is one line: JSON text has no line breaks. */
const sse: EventNotation = {
  contentType: 'text/event-stream; charset=utf-8',
  around: (name) => [`event: ${name}\ndata: `, '\n\n'],
  quiet: () => ': still at work\n\n',
};

export const notations = { ndjson, sse } as const;

export function eventText(notation: EventNotation, name: EventName, data: object): string {
  return notation.around(name).join(JSON.stringify(data));
}

/** The data is the body that an error response has. */
export function errorEvent(notation: EventNotation, error: ServiceError): string {
  return eventText(notation, 'error', errorBody(error));
}

/** The head of an answer of events. */
export function eventHeaders({ contentType }: EventNotation): Record<string, string> {
  // nginx would buffer the events until there are many of them.
  return { 'content-type': contentType, 'cache-control': 'no-store', 'x-accel-buffering': 'no' };
}

/** An answer is one JSON document, or events. */
type AnswerFormat = 'json' | 'ndjson' | 'sse';

const mediaTypes: ReadonlyMap<string, AnswerFormat> = new Map([
  ['application/json', 'json'],
  ['application/x-ndjson', 'ndjson'],
  ['application/ndjson', 'ndjson'],
  ['application/jsonl', 'ndjson'],
  ['text/event-stream', 'sse'],
]);

/** Half of the least step of a quality: of equal qualities, a named type wins over a wildcard. */
const WILDCARD_MALUS = 0.0005;

/**
 * The format that an Accept header prefers. Events are sent only if their type is named; a wildcard, or a header that
 * accepts no known type, gets JSON.
 */
export function answerFormatOf(headers: Headers): AnswerFormat {
  let preferred: { format: AnswerFormat; quality: number } = { format: 'json', quality: 0 };
  for (const range of (headers.get('accept') ?? '').split(',')) {
    const [type = '', ...parameters] = range.split(';').map((word) => word.trim().toLowerCase());
    const isWildcard = type === '*/*' || type === 'application/*';
    const format = isWildcard ? 'json' : mediaTypes.get(type);
    if (!format) continue;
    const quality = qualityOf(parameters) - (isWildcard ? WILDCARD_MALUS : 0);
    const isBetter = quality > preferred.quality || (quality === preferred.quality && format === 'json');
    if (isBetter) preferred = { format, quality };
  }
  return preferred.format;
}

/** RFC 9110, 12.4.2: 0 to 1, three decimals. A weight that breaks that grammar counts as 0. */
function qualityOf(parameters: readonly string[]): number {
  const weight = parameters.find((parameter) => parameter.startsWith('q='));
  if (weight === undefined) return 1;
  return /^q=(?:0(?:\.\d{0,3})?|1(?:\.0{0,3})?)$/.test(weight) ? Number(weight.slice(2)) : 0;
}

export interface NewsPace {
  /** Least time between two items. */
  readonly paceMs: number;
  /** After this time without an item, `quiet` is given. */
  readonly quietMs: number;
}

/** The latest progress of some work, at the pace of its reader. */
interface News<Item> extends AsyncIterable<Item | 'quiet'> {
  tell(item: Item): void;
  /** Ends the iteration; an item that was not read yet is dropped. */
  close(): void;
}

/**
 * Keeps only the newest item, so that nothing piles up while the reader is slow. The iteration gives it, then waits. It
 * gives `quiet` if there was no item for a while.
 */
export function createNews<Item>({ paceMs, quietMs }: NewsPace): News<Item> {
  let latest: { readonly item: Item } | undefined;
  let isClosed = false;
  let wake = (_isNews: boolean) => {};

  /** @param forNews whether an item ends the pause, as `close` does */
  const pause = (ms: number, forNews: boolean) =>
    new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, ms);
      wake = (isNews) => {
        if (isNews && !forNews) return;
        clearTimeout(timer);
        resolve();
      };
    });

  return {
    tell(item) {
      latest = { item };
      wake(true);
    },
    close() {
      isClosed = true;
      wake(false);
    },
    async *[Symbol.asyncIterator]() {
      while (!isClosed) {
        if (!latest) await pause(quietMs, true);
        if (isClosed) return;
        const news = latest;
        latest = undefined;
        yield news ? news.item : 'quiet';
        if (!isClosed) await pause(paceMs, false);
      }
    },
  };
}

/** What became of work that was told of. */
export type Outcome<Result> = { readonly result: Result } | { readonly fault: unknown };

interface Telling<Item, Result> {
  readonly pace: NewsPace;
  /** Of the request. */
  readonly lease: Pick<Lease, 'signal' | 'abort'>;
  /** Sends an item to the client. */
  readonly send: (item: Item | 'quiet') => Promise<void>;
  /** Called with the result if it cannot be sent. */
  readonly discard?: (result: Result) => PromiseLike<void>;
}

/**
 * Works, and sends the news of it. If sending fails, the work is aborted and waited for.
 * @throws what `send` throws
 */
export async function tellWhile<Item, Result>(
  work: (tell: (item: Item) => void) => Promise<Result>,
  { pace, lease, send, discard }: Telling<Item, Result>,
): Promise<Outcome<Result>> {
  const news = createNews<Item>(pace);
  const working = work(news.tell)
    .then((result): Outcome<Result> => ({ result }))
    .catch((fault: unknown): Outcome<Result> => ({ fault }))
    .finally(news.close);
  try {
    for await (const item of news) await send(item);
  } catch (fault) {
    lease.abort(fault);
    const outcome = await working;
    if ('result' in outcome) await discard?.(outcome.result);
    // If the service has ended the request, the client is still there and receives the reason.
    else if (!hasLeft(lease.signal.reason)) return outcome;
    throw fault;
  }
  return await working;
}

function hasLeft(reason: unknown): boolean {
  return !(reason instanceof ServiceError) || reason.code === 'client_gone';
}
