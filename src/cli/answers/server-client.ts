import * as v from 'valibot';
import { errorSchema } from '../../contract/schemas.ts';
import type { ErrorCode } from '../../errors.ts';
import { UsageError } from '../usage-error.ts';

/** One part of a form, sent while it is read. */
export interface FormPart {
  readonly name: string;
  /** Undefined: a plain field. Letters, digits, dots and dashes only: nothing is escaped. */
  readonly filename?: string;
  readonly content: Uint8Array | AsyncIterable<Uint8Array>;
}

interface MultipartBody {
  readonly contentType: string;
  /** To be read once. */
  readonly chunks: AsyncIterable<Uint8Array>;
}

/**
 * A multipart/form-data body that is never whole in memory: each part is asked for when the one before
 * it has been sent. (FormData would read all files first.)
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

interface ServerClientOptions {
  readonly url: URL;
  readonly apiKey: string | undefined;
  readonly signal: AbortSignal;
  /** Tells the person why it takes longer. */
  readonly note: (sentence: string) => void;
  readonly patience?: Partial<ServerPatience>;
}

/** How long a server is waited for; tests shorten it. */
export interface ServerPatience {
  /** Pause after the first failed connection; doubles each time. */
  readonly backOffMs: number;
  /** Connections that fail in a row before it is given up. */
  readonly connections: number;
  /** A server that says it is loading or has too much to do is asked again for so long. */
  readonly busyMs: number;
  /** The shortest pause before a busy server is asked again. */
  readonly busyPauseMs: number;
}

const defaultPatience: ServerPatience = {
  backOffMs: 1000,
  connections: 5,
  // Downloading and compiling a model takes minutes.
  busyMs: 30 * 60_000,
  busyPauseMs: 1000,
};

/** The server's error, as it answered it; of a proxy in front of it, too. */
export class ServerError extends UsageError {
  /** Undefined: it is not an answer of this service. */
  readonly code: ErrorCode | undefined;
  readonly status: number;

  constructor(code: ErrorCode | undefined, status: number, sentence: string) {
    super(sentence);
    this.code = code;
    this.status = status;
  }
}

/** The connection failed, again and again. */
class UnreachableError extends UsageError {}

/** Errors that a file of the request may be the reason of, and not what is asked. */
const codesOfFiles: ReadonlySet<ErrorCode> = new Set([
  'multipart_malformed',
  'multipart_too_large',
  'files_too_many',
  'files_broken',
  'file_name_invalid',
  'image_empty',
  'image_unsupported',
  'image_too_large',
  'image_broken',
  'internal',
]);
/** Of a proxy that refuses bodies by their size or what it finds in them, or whose server has died of one. */
const statusesOfFiles: ReadonlySet<number> = new Set([400, 403, 408, 413, 415, 422]);

/** Whether a request with other files may be answered where this one was not. */
export function mayBeAFile(fault: unknown): fault is UsageError {
  if (fault instanceof UnreachableError) return true;
  if (!(fault instanceof ServerError)) return false;
  const { code, status } = fault;
  return code === undefined ? status >= 500 || statusesOfFiles.has(status) : codesOfFiles.has(code);
}

interface FormPost {
  readonly path: 'categorize' | 'image' | 'video';
  readonly query: URLSearchParams;
  /** Called once an attempt. */
  readonly parts: () => AsyncIterable<FormPart>;
  /** Where the answer is a stream of events: told of each that is not the last. */
  readonly onProgress?: (data: unknown) => void;
}

/** @returns the JSON of a 2xx answer, or of the event that holds the result */
export type PostForm = (post: FormPost) => Promise<unknown>;

const SAME_NOTE_EVERY_MS = 15_000;

/** Answers of a proxy while its replicas change, or have too much to do. */
const passingStatuses = new Set([429, 502, 503, 504]);
/** What a server answers that will be able to answer soon. */
const passingCodes = new Set([
  'model_loading',
  'engine_restarting',
  'overloaded',
  'shutting_down',
  'upload_stalled',
]);

/**
 * Posts forms to a running service. What passes by itself is waited for: a model that loads, too many
 * requests, a connection that breaks; the form is then sent again from its beginning.
 * @returns throws UsageError where waiting does not help, the signal's reason when it is aborted
 */
export function createServerClient(options: ServerClientOptions): PostForm {
  const { url, apiKey, signal, note } = options;
  const patience = { ...defaultPatience, ...options.patience };
  let told = { sentence: '', atMs: Number.NEGATIVE_INFINITY };
  /** Several requests wait for the same thing, and ask again and again: one line now and then says so. */
  const tell = (sentence: string, waitMs: number) => {
    const atMs = performance.now();
    if (sentence === told.sentence && atMs - told.atMs < SAME_NOTE_EVERY_MS) return;
    told = { sentence, atMs };
    note(`${sentence} Next try in ${Math.ceil(waitMs / 1000)} s.`);
  };

  const attempt = async ({ path, query, parts, onProgress }: FormPost): Promise<Attempt> => {
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
        // A thousand photos take longer than the five minutes after which it would give up.
        timeout: false,
      });
      if (response.ok && onProgress) return await readEvents(response, onProgress);
      const retryAfterMs = 1000 * (Number.parseFloat(response.headers.get('retry-after') ?? '') || 0);
      return { status: response.status, isResult: response.ok, text: await response.text(), retryAfterMs };
    } catch (fault) {
      signal.throwIfAborted();
      if (localFault) throw localFault.fault;
      return { failure: fault instanceof Error ? fault.message : String(fault) };
    }
  };

  return async (post) => {
    let busySince: number | undefined;
    for (let failures = 0; ; ) {
      const outcome = await attempt(post);
      if ('text' in outcome && outcome.isResult) return parseJson(outcome.text, url);
      const fault = faultOf(outcome, url);
      if (fault.kind === 'lasting') throw fault.error;
      if (fault.kind === 'busy') {
        // Not since the beginning: an upload may have taken longer than anybody would wait.
        busySince ??= performance.now();
        if (performance.now() - busySince > patience.busyMs) throw fault.error;
        const pauseMs = Math.max(patience.busyPauseMs, fault.retryAfterMs);
        tell(fault.error.message, pauseMs);
        await pause(pauseMs, signal);
      } else {
        failures += 1;
        if (failures >= patience.connections) throw fault.error;
        const pauseMs = Math.max(patience.backOffMs * 2 ** (failures - 1), fault.retryAfterMs);
        tell(fault.error.message, pauseMs);
        await pause(pauseMs, signal);
      }
    }
  };
}

type Attempt =
  /** `text`: the JSON of a result or of an error. */
  | {
      readonly status: number;
      readonly isResult: boolean;
      readonly text: string;
      readonly retryAfterMs?: number;
    }
  | { readonly failure: string };

interface Fault {
  readonly kind: 'lasting' | 'connection' | 'busy';
  readonly error: UsageError;
  /** The shortest pause that helps; 0: nobody has said. */
  readonly retryAfterMs: number;
}

function faultOf(outcome: Attempt, url: URL): Fault {
  if ('failure' in outcome) {
    const error = new UnreachableError(`The server ${url.origin} cannot be reached: ${outcome.failure}`);
    return { kind: 'connection', error, retryAfterMs: 0 };
  }
  const { status, text, retryAfterMs = 0 } = outcome;
  const parsed = v.safeParse(v.pipe(v.string(), v.parseJson(), errorSchema), text);
  if (!parsed.success) {
    const shown = text.length > 200 ? `${text.slice(0, 200)}…` : text;
    const error = new ServerError(
      undefined,
      status,
      `The server ${url.origin} answered ${status}, and not as this service does: ${JSON.stringify(shown)}`,
    );
    return { kind: passingStatuses.has(status) ? 'connection' : 'lasting', error, retryAfterMs };
  }
  const { code, error: sentence, retry_after_seconds: seconds } = parsed.output;
  const help = code === 'unauthorized' ? ' Set API_KEY, as an environment variable of this command.' : '';
  const error = new ServerError(code, status, `The server says: ${sentence}${help}`);
  // Events of a video have no headers of their own.
  const pauseMs = typeof seconds === 'number' ? seconds * 1000 : retryAfterMs;
  return { kind: passingCodes.has(code) ? 'busy' : 'lasting', error, retryAfterMs: pauseMs };
}

const eventSchema = v.pipe(v.string(), v.parseJson(), v.object({ event: v.string(), data: v.unknown() }));

/** One event a line; the last one is the result or an error. */
async function readEvents(response: Response, onProgress: (data: unknown) => void): Promise<Attempt> {
  let rest = '';
  for await (const chunk of (response.body ?? new ReadableStream()).pipeThrough(new TextDecoderStream())) {
    const lines = `${rest}${chunk}`.split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) {
      const parsed = v.safeParse(eventSchema, line);
      if (!parsed.success) return { status: response.status, isResult: false, text: line };
      const { event, data } = parsed.output;
      if (event === 'progress') onProgress(data);
      else return { status: response.status, isResult: event === 'result', text: JSON.stringify(data) };
    }
  }
  return { failure: 'the answer broke off' };
}

function parseJson(text: string, url: URL): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw new UsageError(`The server ${url.origin} answered something else than JSON.`);
  }
}

/** The service may live below a path of its own, behind a proxy. */
function addressOf(url: URL, path: string, query: URLSearchParams): URL {
  const base = new URL(url);
  if (!base.pathname.endsWith('/')) base.pathname += '/';
  const address = new URL(path, base);
  address.search = query.toString();
  return address;
}

async function pause(ms: number, signal: AbortSignal): Promise<void> {
  signal.throwIfAborted();
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const leave = () => reject(signal.reason);
  signal.addEventListener('abort', leave, { once: true });
  const timer = setTimeout(resolve, ms);
  try {
    await promise;
  } finally {
    clearTimeout(timer);
    signal.removeEventListener('abort', leave);
  }
}
