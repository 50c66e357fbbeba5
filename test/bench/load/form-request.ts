import type { Socket } from 'bun';

/** A file of a form. */
export interface FormFile {
  /** Name of its part. Default: files. */
  readonly field?: string;
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
  for (const { field = 'files', name, bytes } of files) {
    part(`name="${field}"; filename="${name.replaceAll('"', '%22')}"`, bytes); // as browsers do
  }
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
        if (isAnswerComplete(received)) socket.end();
      },
      close: finish,
      error: (_, fault) => answered.reject(fault),
      connectError: (_, fault) => answered.reject(fault),
    },
  }).catch(answered.reject);
  return answered.promise;
}

export function isAnswerComplete(received: readonly Buffer[]): boolean {
  const head = received[0]?.toString('latin1') ?? '';
  const end = head.indexOf('\r\n\r\n');
  const declared = /^content-length: *(\d+)/im.exec(head)?.[1];
  if (end < 0 || declared === undefined) return false;
  return received.reduce((sum, chunk) => sum + chunk.byteLength, 0) >= end + 4 + Number(declared);
}

export function parseAnswer(bytes: Buffer): { status: number; body: string } | Error {
  const end = bytes.indexOf('\r\n\r\n');
  const head = bytes.toString('latin1', 0, Math.max(0, end));
  const status = Number(/^HTTP\/1\.[01] (\d{3})/.exec(head)?.[1]);
  if (Number.isNaN(status)) return new Error(`The connection ended without an answer: ${head}`);
  const content = bytes.subarray(end + 4);
  const isChunked = /^transfer-encoding: *chunked/im.test(head);
  return { status, body: (isChunked ? joinChunks(content) : content).toString('utf8') };
}

/** Each chunk stands between its length in hexadecimal and an end of line. */
function joinChunks(content: Buffer): Buffer {
  const chunks: Buffer[] = [];
  for (let at = 0; ; ) {
    const lineEnd = content.indexOf('\r\n', at);
    const length = Number.parseInt(content.toString('latin1', at, lineEnd), 16);
    if (lineEnd < 0 || !(length > 0)) return Buffer.concat(chunks);
    chunks.push(content.subarray(lineEnd + 2, lineEnd + 2 + length));
    at = lineEnd + 2 + length + 2;
  }
}
