import type { Socket } from 'bun';

/** A file of a form. */
export interface FormFile {
  readonly name: string;
  readonly bytes: Uint8Array;
}

export interface FormAnswer {
  readonly status: number;
  readonly body: string;
  /** From the first byte sent to the last one received. */
  readonly milliseconds: number;
}

const BOUNDARY = 'a-boundary-of-the-benchmark';

/**
 * Sends a form as a browser does and reads the answer. It writes the files' own bytes to a raw socket, so
 * that whoever measures on the same cores takes as little of them as can be; a form may be of any length.
 */
export function postForm(url: URL, files: readonly FormFile[], categories: string): Promise<FormAnswer> {
  const pieces = formPieces(files, categories);
  const length = pieces.reduce((sum, piece) => sum + piece.byteLength, 0);
  const head = Buffer.from(
    [
      `POST ${url.pathname}${url.search} HTTP/1.1`,
      `Host: ${url.host}`,
      'Connection: close',
      `Content-Type: multipart/form-data; boundary=${BOUNDARY}`,
      `Content-Length: ${length}`,
      '\r\n',
    ].join('\r\n'),
  );
  return exchange(url, [head, ...pieces]);
}

function formPieces(files: readonly FormFile[], categories: string): Uint8Array[] {
  const pieces: Uint8Array[] = [];
  const part = (disposition: string, content: Uint8Array) => {
    const header = `--${BOUNDARY}\r\nContent-Disposition: form-data; ${disposition}\r\n\r\n`;
    pieces.push(Buffer.from(header), content, Buffer.from('\r\n'));
  };
  for (const { name, bytes } of files) part(`name="files"; filename="${name}"`, bytes);
  part('name="categories"; filename="categories.json"', Buffer.from(categories));
  pieces.push(Buffer.from(`--${BOUNDARY}--\r\n`));
  return pieces;
}

function exchange(url: URL, pieces: readonly Uint8Array[]): Promise<FormAnswer> {
  const answered = Promise.withResolvers<FormAnswer>();
  const startedAt = performance.now();
  const received: Buffer[] = [];
  let next = 0;
  let offset = 0;

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
  const finish = () => {
    const answer = parseAnswer(Buffer.concat(received));
    if (answer instanceof Error) answered.reject(answer);
    else answered.resolve({ ...answer, milliseconds: performance.now() - startedAt });
  };
  Bun.connect({
    hostname: url.hostname,
    port: Number(url.port),
    socket: {
      open: send,
      drain: send,
      data(socket, chunk) {
        received.push(Buffer.from(chunk));
        if (isComplete(received)) socket.end();
      },
      close: finish,
      error: (_, fault) => answered.reject(fault),
      connectError: (_, fault) => answered.reject(fault),
    },
  }).catch(answered.reject);
  return answered.promise;
}

function isComplete(received: readonly Buffer[]): boolean {
  const head = received[0]?.toString('latin1') ?? '';
  const end = head.indexOf('\r\n\r\n');
  const declared = /^content-length: *(\d+)/im.exec(head)?.[1];
  if (end < 0 || declared === undefined) return false;
  return received.reduce((sum, chunk) => sum + chunk.byteLength, 0) >= end + 4 + Number(declared);
}

function parseAnswer(bytes: Buffer): { status: number; body: string } | Error {
  const text = bytes.toString('utf8');
  const end = text.indexOf('\r\n\r\n');
  const status = Number(/^HTTP\/1\.[01] (\d{3})/.exec(text)?.[1]);
  if (end < 0 || Number.isNaN(status)) return new Error(`The connection ended without an answer: ${text}`);
  return { status, body: text.slice(end + 4) };
}
