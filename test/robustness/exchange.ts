import { connect, type Socket } from 'node:net';

/** What came back on a connection. */
export interface RawAnswer {
  readonly status: number;
  /** Lower-case names. */
  readonly headers: ReadonlyMap<string, string>;
  readonly body: string;
}

/** `closed`: the service ended the connection without an answer; `silent`: it did nothing for too long. */
export type Outcome = RawAnswer | 'closed' | 'silent';

/** A connection on which HTTP is written by hand, rightly or not. */
export interface RawConnection extends Disposable {
  /** Resolves when the bytes are on their way, or when the service has closed the connection. */
  write(bytes: Uint8Array | string): Promise<void>;
  /** Sends no more, but goes on listening. */
  halfClose(): void;
  /** Leaves without a word. */
  reset(): void;
  /** Takes nothing more of what comes, until it is resumed. */
  pause(): void;
  resume(): void;
  /** Whether an answer has begun, or the connection has ended: nothing needs to be sent any more. */
  readonly isOver: boolean;
  answer(patienceMs?: number): Promise<Outcome>;
}

/** Longer than the service is ever allowed to keep anybody waiting. */
const PATIENCE_MS = 120_000;

export async function openConnection(url: string): Promise<RawConnection> {
  const { hostname, port } = new URL(url);
  const socket = connect({ host: hostname, port: Number(port), allowHalfOpen: true, noDelay: true });
  // What breaks a connection shows in what came back on it.
  socket.on('error', () => undefined);
  await new Promise<void>((resolve, reject) =>
    socket.once('connect', resolve).once('close', () => reject(new Error('cannot connect'))),
  );
  const received: Buffer[] = [];
  const over = Promise.withResolvers<void>();
  let isOver = false;
  const end = () => {
    isOver = true;
    over.resolve();
  };
  const settled = Promise.withResolvers<Outcome>();
  socket.on('data', (chunk: Buffer) => {
    received.push(chunk);
    end();
    const answer = parseAnswer(Buffer.concat(received), false);
    if (answer) settled.resolve(answer);
  });
  for (const event of ['end', 'close'] as const) {
    socket.on(event, () => {
      end();
      settled.resolve(parseAnswer(Buffer.concat(received), true) ?? 'closed');
    });
  }

  return {
    get isOver() {
      return isOver;
    },
    async write(bytes) {
      if (isOver) return;
      if (socket.write(bytes)) return;
      await Promise.race([new Promise((resolve) => socket.once('drain', resolve)), over.promise]);
    },
    pause: () => socket.pause(),
    resume: () => socket.resume(),
    halfClose: () => socket.end(),
    reset: () => socket.resetAndDestroy(),
    async answer(patienceMs = PATIENCE_MS) {
      const silence = Promise.withResolvers<Outcome>();
      const timer = setTimeout(() => silence.resolve('silent'), patienceMs);
      try {
        return await Promise.race([settled.promise, silence.promise]);
      } finally {
        clearTimeout(timer);
      }
    },
    [Symbol.dispose]: () => destroy(socket),
  };
}

function destroy(socket: Socket): void {
  socket.destroy();
}

/**
 * The first final answer in what was received.
 * @param isAll whether nothing more will come
 * @returns undefined where it is not complete
 */
export function parseAnswer(bytes: Buffer, isAll: boolean): RawAnswer | undefined {
  const end = bytes.indexOf('\r\n\r\n');
  if (end < 0) return undefined;
  const [statusLine = '', ...lines] = bytes.toString('latin1', 0, end).split('\r\n');
  const status = Number(/^HTTP\/1\.[01] (\d{3})(?: |$)/.exec(statusLine)?.[1] ?? Number.NaN);
  const rest = bytes.subarray(end + 4);
  // 100 Continue, and what there may be of that kind.
  if (status >= 100 && status < 200) return parseAnswer(rest, isAll);
  const headers = new Map(
    lines.map((line) => {
      const colon = line.indexOf(':');
      return [line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()] as const;
    }),
  );
  const body = bodyOf(rest, headers, isAll);
  return body && { status, headers, body: body.toString('utf8') };
}

function bodyOf(bytes: Buffer, headers: ReadonlyMap<string, string>, isAll: boolean): Buffer | undefined {
  const length = headers.get('content-length');
  if (length !== undefined) {
    return bytes.length >= Number(length) ? bytes.subarray(0, Number(length)) : undefined;
  }
  if (headers.get('transfer-encoding') === 'chunked') return joinChunks(bytes);
  return isAll ? bytes : undefined;
}

function joinChunks(bytes: Buffer): Buffer | undefined {
  const chunks: Buffer[] = [];
  for (let at = 0; ; ) {
    const lineEnd = bytes.indexOf('\r\n', at);
    if (lineEnd < 0) return undefined;
    const length = Number.parseInt(bytes.toString('latin1', at, lineEnd), 16);
    if (length === 0) return Buffer.concat(chunks);
    const from = lineEnd + 2;
    if (bytes.length < from + length + 2) return undefined;
    chunks.push(bytes.subarray(from, from + length));
    at = from + length + 2;
  }
}

export interface RawRequest {
  readonly url: string;
  /** Path and query. */
  readonly path: string;
  readonly contentType: string;
  readonly body: Uint8Array;
}

/** Sends a request of which nothing but the body may be wrong. */
export async function post({ url, path, contentType, body }: RawRequest): Promise<Outcome> {
  using connection = await openConnection(url);
  await connection.write(requestHead(path, { 'Content-Type': contentType, 'Content-Length': body.length }));
  await connection.write(body);
  return await connection.answer();
}

/**
 * No `Connection: close`: a service that closes on bytes it has not read resets the connection, and the reset
 * may overtake the answer. Without it the rest of a refused body is read and dropped.
 */
export function requestHead(
  path: string,
  headers: Readonly<Record<string, string | number>>,
  method = 'POST',
): string {
  const lines = Object.entries({ Host: 'localhost', ...headers });
  return `${method} ${path} HTTP/1.1\r\n${lines.map(([name, value]) => `${name}: ${value}\r\n`).join('')}\r\n`;
}
