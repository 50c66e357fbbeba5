import {
  type Patience,
  parseBody,
  type Received,
  type Refusal,
  sendPatiently,
} from '../../contract/client.ts';
import { type Concern, isErrorCode } from '../../contract/codes.ts';
import { createEventReader } from '../../contract/event-stream.ts';
import type { ErrorCode } from '../../errors.ts';
import { UsageError } from '../usage-error.ts';

/** One part of a form. Its content is sent while it is read. */
export interface FormPart {
  readonly name: string;
  /** Undefined for a plain field. Only letters, digits, dots and dashes, because nothing is escaped. */
  readonly filename?: string;
  readonly content: Uint8Array | AsyncIterable<Uint8Array>;
}

interface MultipartBody {
  readonly contentType: string;
  /** Can be read once. */
  readonly chunks: AsyncIterable<Uint8Array>;
}

/**
 * A multipart/form-data body that is never complete in memory: each part is read after the previous one is sent.
 * FormData would read all files first.
 */
function multipartBody(parts: AsyncIterable<FormPart>): MultipartBody {
  const boundary = `classify-${crypto.randomUUID()}`;
  const encoder = new TextEncoder();
  async function* chunks() {
    for await (const { name, filename, content } of parts) {
      const file = filename === undefined ? '' : `; filename="${filename}"`;
      yield encoder.encode(`--${boundary}\r\nContent-Disposition: form-data; name="${name}"${file}\r\n\r\n`);
      if (content instanceof Uint8Array) yield content;
      else yield* content;
      yield encoder.encode('\r\n');
    }
    yield encoder.encode(`--${boundary}--\r\n`);
  }
  return { contentType: `multipart/form-data; boundary=${boundary}`, chunks: chunks() };
}

/** The server refused a request, or did not answer it. */
export class ServerError extends UsageError {
  /** Undefined: the answer is not one of this service. */
  readonly code: ErrorCode | undefined;
  readonly about: Concern;
  /** 0 if nothing was answered. */
  readonly status: number;

  constructor({ code, about, received }: Refusal, sentence: string) {
    super(sentence);
    this.status = received.status;
    this.code = isErrorCode(code) ? code : undefined;
    this.about = about;
  }
}

interface FormPost {
  readonly path: 'categorize' | 'image' | 'video' | 'embeddings';
  readonly query: URLSearchParams;
  /** Called once an attempt. */
  readonly parts: () => AsyncIterable<FormPart>;
  /** If given, events are asked for. Called with the data of each `progress` event. */
  readonly onProgress?: (data: unknown) => void;
}

/** @returns the parsed JSON of the answer; the text if it is not JSON */
export type PostForm = (post: FormPost) => Promise<unknown>;

interface ServerClientOptions {
  readonly url: URL;
  readonly apiKey: string | undefined;
  readonly signal: AbortSignal;
  /** Called with the reason of a pause. */
  readonly note: (sentence: string) => void;
  readonly patience?: Partial<Patience>;
}

const SAME_NOTE_EVERY_MS = 15_000;

/**
 * Posts forms to a running service. Each attempt reads and sends the form from its beginning.
 * @returns a function that throws ServerError if waiting does not help, what reading `parts` throws, the signal's reason
 */
export function createServerClient({ url, apiKey, signal, note, ...options }: ServerClientOptions): PostForm {
  let told = { sentence: '', atMs: Number.NEGATIVE_INFINITY };
  // Several requests wait for the same reason, and each asks again and again.
  const onWait = (refusal: Refusal, seconds: number) => {
    const sentence = sentenceOf(refusal, url);
    const atMs = performance.now();
    if (sentence === told.sentence && atMs - told.atMs < SAME_NOTE_EVERY_MS) return;
    told = { sentence, atMs };
    note(`${sentence} Next try in ${Math.ceil(seconds)} s.`);
  };

  const attempt = async ({ path, query, parts, onProgress }: FormPost): Promise<Received> => {
    const { contentType, chunks } = multipartBody(parts());
    const headers = new Headers({ 'content-type': contentType });
    headers.set('accept', onProgress ? 'application/x-ndjson' : 'application/json');
    if (apiKey !== undefined) headers.set('x-api-key', apiKey);
    let localFault: { readonly fault: unknown } | undefined;
    async function* body() {
      try {
        yield* chunks;
      } catch (fault) {
        localFault = { fault };
        throw fault;
      }
    }
    try {
      const response = await fetch(addressOf(url, path, query), {
        method: 'POST',
        headers,
        body: body(),
        signal,
        // The default ends a request after five minutes; a thousand photos take longer.
        timeout: false,
      });
      if (response.ok && onProgress) return await readEvents(response, onProgress);
      const retryAfter = Number.parseFloat(response.headers.get('retry-after') ?? '');
      return {
        status: response.status,
        body: parseBody(await response.text()),
        ...(Number.isFinite(retryAfter) && { retryAfterSeconds: retryAfter }),
      };
    } catch (fault) {
      signal.throwIfAborted();
      if (localFault) throw localFault.fault;
      return { status: 0, body: fault instanceof Error ? fault.message : String(fault) };
    }
  };

  return async (post) => {
    const outcome = await sendPatiently(() => attempt(post), { ...options, signal, onWait });
    if ('answer' in outcome) return outcome.answer;
    throw new ServerError(outcome.refusal, sentenceOf(outcome.refusal, url));
  };
}

async function readEvents(response: Response, onProgress: (data: unknown) => void): Promise<Received> {
  const reader = createEventReader(onProgress);
  for await (const piece of (response.body ?? new ReadableStream()).pipeThrough(new TextDecoderStream())) {
    const received = reader.read(piece);
    if (received) return received;
  }
  return reader.end();
}

function sentenceOf({ code, sentence, received: { status, body } }: Refusal, { origin }: URL): string {
  if (code === 'unreachable') return `The server ${origin} cannot be reached: ${body}`;
  if (code === 'unreadable') {
    const shown = typeof body === 'string' && body.length > 200 ? `${body.slice(0, 200)}…` : body;
    return `The server ${origin} answered ${status}, and not as this service does: ${JSON.stringify(shown)}`;
  }
  const help = code === 'unauthorized' ? ' Set API_KEY, as an environment variable of this command.' : '';
  return `The server says: ${sentence}${help}`;
}

/** The service may be below a path of a proxy. */
function addressOf(url: URL, path: string, query: URLSearchParams): URL {
  const base = new URL(url);
  if (!base.pathname.endsWith('/')) base.pathname += '/';
  const address = new URL(path, base);
  address.search = query.toString();
  return address;
}
