import type { Socket } from 'bun';
import { isAnswerComplete, parseAnswer } from './form-request.ts';

/** A request that is written byte by byte, sound or not. */
export interface RawRequest {
  readonly url: URL;
  /** Everything that is sent, the head included. */
  readonly pieces: readonly Uint8Array[];
}

/** What became of a request. */
export interface RawOutcome {
  /** The answer's; or why there is none. `left`: the deadline passed first. */
  readonly status: number | 'closed' | 'not connected' | 'left';
  /** The beginning of the answer's body; all of it up to `KEPT_BYTES`. */
  readonly body: string;
  /** All that came back, head included. */
  readonly receivedBytes: number;
}

/** Answers may have gigabytes; their beginning says what they are. */
const KEPT_BYTES = 256 * 1024;

/**
 * Sends a request and reads the answer without keeping more of it than its beginning. It never throws: that a
 * connection breaks is a finding.
 * @param leave ends the connection, wherever it is
 */
export function sendRaw({ url, pieces }: RawRequest, leave?: AbortSignal): Promise<RawOutcome> {
  const settled = Promise.withResolvers<RawOutcome>();
  const received: Buffer[] = [];
  let receivedBytes = 0;
  let keptBytes = 0;
  let next = 0;
  let offset = 0;

  const finish = (without: Exclude<RawOutcome['status'], number>) => {
    const answer = parseAnswer(Buffer.concat(received));
    const isWhole = keptBytes < KEPT_BYTES ? isAnswerComplete(received) : true;
    if (answer instanceof Error || (without === 'left' && !isWhole)) {
      settled.resolve({ status: without, body: '', receivedBytes });
    } else {
      settled.resolve({ ...answer, receivedBytes });
    }
  };
  const send = (socket: Socket) => {
    for (let piece = pieces[next]; piece; piece = pieces[next]) {
      const written = socket.write(offset === 0 ? piece : piece.subarray(offset));
      if (written < 0) return;
      offset += written;
      if (offset < piece.byteLength) return; // the rest when the socket drains
      next += 1;
      offset = 0;
    }
  };
  const leaving = () => finish('left');
  leave?.addEventListener('abort', leaving, { once: true });
  Bun.connect({
    hostname: url.hostname,
    port: Number(url.port),
    socket: {
      open(socket) {
        leave?.addEventListener('abort', () => socket.terminate(), { once: true });
        if (leave?.aborted) socket.terminate();
        else send(socket);
      },
      drain: send,
      data(socket, chunk) {
        receivedBytes += chunk.byteLength;
        if (keptBytes >= KEPT_BYTES) return;
        received.push(Buffer.from(chunk));
        keptBytes += chunk.byteLength;
        if (!isAnswerComplete(received)) return;
        finish('closed');
        socket.end();
      },
      close: () => finish('closed'),
      error: () => finish('closed'),
      connectError: () => finish('not connected'),
    },
  }).catch(() => finish('not connected'));
  return settled.promise.finally(() => leave?.removeEventListener('abort', leaving));
}

/** The head of a request. */
export function requestHead(
  url: URL,
  method: 'GET' | 'POST',
  headers: Readonly<Record<string, string | number>> = {},
): Buffer {
  const lines = Object.entries({ Host: url.host, Connection: 'close', ...headers });
  const text = lines.map(([name, value]) => `${name}: ${value}\r\n`).join('');
  return Buffer.from(`${method} ${url.pathname}${url.search} HTTP/1.1\r\n${text}\r\n`, 'latin1');
}

/** A part of a form. */
export interface FormPart {
  /** What follows `form-data; `. */
  readonly disposition: string;
  readonly content: Uint8Array | string;
}

/** A whole request with a form. */
export function formRequest(url: URL, parts: readonly FormPart[], boundary = 'hostile'): RawRequest {
  const pieces = parts.flatMap(({ disposition, content }) => [
    Buffer.from(`--${boundary}\r\nContent-Disposition: form-data; ${disposition}\r\n\r\n`),
    typeof content === 'string' ? Buffer.from(content) : content,
    Buffer.from('\r\n'),
  ]);
  return bodyRequest(url, [...pieces, Buffer.from(`--${boundary}--\r\n`)], boundary);
}

/** A request with a form's body as it is given. */
export function bodyRequest(url: URL, body: readonly Uint8Array[], boundary = 'hostile'): RawRequest {
  const head = requestHead(url, 'POST', {
    'Content-Type': `multipart/form-data; boundary=${boundary}`,
    'Content-Length': byteLength(body),
  });
  return { url, pieces: [head, ...body] };
}

export function byteLength(pieces: readonly Uint8Array[]): number {
  return pieces.reduce((sum, piece) => sum + piece.byteLength, 0);
}
