import { readdirSync, statSync } from 'node:fs';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';

/** How a server answers one request for its file. */
export type Behaviour = (file: Uint8Array, request: IncomingMessage, response: ServerResponse) => void;

/** What a request asked for. */
export interface SeenRequest {
  readonly path: string;
  readonly range: string | undefined;
  readonly ifRange: string | undefined;
}

/** A server on the loopback interface for one file, with a given behaviour for each request. */
export interface FileServer extends AsyncDisposable {
  readonly url: string;
  readonly requests: readonly SeenRequest[];
}

/** @param behaviours one for each request; the last one stays */
export async function serveFile(file: Uint8Array, ...behaviours: Behaviour[]): Promise<FileServer> {
  const requests: SeenRequest[] = [];
  const server = createServer((request, response) => {
    const behave = behaviours[Math.min(requests.length, behaviours.length - 1)]!;
    const { range, 'if-range': ifRange } = request.headers;
    requests.push({
      path: request.url ?? '',
      range,
      ifRange: typeof ifRange === 'string' ? ifRange : undefined,
    });
    behave(file, request, response);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}/ViT-B-32.pt`,
    requests,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

export const etag = '"one"';

/** The head of a correct answer, and the bytes that belong behind it. */
function begin(file: Uint8Array, request: IncomingMessage, response: ServerResponse): Uint8Array {
  const { range, 'if-range': ifRange } = request.headers;
  const start = Number(/^bytes=(\d+)-$/.exec(range ?? '')?.[1] ?? 0);
  const mayContinue = ifRange === undefined || ifRange === etag;
  if (start > 0 && mayContinue && start >= file.length) {
    response.writeHead(416, { 'Content-Range': `bytes */${file.length}` });
    return new Uint8Array();
  }
  const offset = mayContinue ? start : 0;
  const rest = file.subarray(offset);
  const contentRange = `bytes ${offset}-${file.length - 1}/${file.length}`;
  response.writeHead(offset > 0 ? 206 : 200, {
    'Content-Length': rest.length,
    ETag: etag,
    ...(offset > 0 ? { 'Content-Range': contentRange } : {}),
  });
  return rest;
}

/** Ranges, If-Range and all. */
export const honest: Behaviour = (file, request, response) => {
  response.end(begin(file, request, response));
};

/**
 * Breaks the connection after this many bytes.
 * @param folder where the client stores them: a reset would take from it what it has not read yet
 */
export function dropAfter(bytes: number, folder: string): Behaviour {
  return (file, request, response) => {
    const rest = begin(file, request, response);
    const stored = file.length - rest.length + Math.min(bytes, rest.length);
    response.write(rest.subarray(0, bytes), async () => {
      while (largestIn(folder) < stored) await Bun.sleep(5);
      request.socket.destroy();
    });
  };
}

/** Bytes of the largest file in a folder, which may change meanwhile. */
function largestIn(folder: string): number {
  const sizes = readdirSync(folder).map(
    (name) => statSync(join(folder, name), { throwIfNoEntry: false })?.size ?? 0,
  );
  return Math.max(0, ...sizes);
}

/** Falls silent after this many bytes, and keeps the connection. */
export function stallAfter(bytes: number): Behaviour {
  return (file, request, response) => {
    response.write(begin(file, request, response).subarray(0, bytes));
  };
}

/** Never answers. */
export const silent: Behaviour = () => undefined;

/** Ignores ranges: always sends everything; breaks the connection after this many bytes. */
export function ignoreRange(bytes = Number.POSITIVE_INFINITY): Behaviour {
  return (file, request, response) => {
    response.writeHead(200, { 'Content-Length': file.length });
    if (bytes >= file.length) response.end(file);
    else response.write(file.subarray(0, bytes), () => setTimeout(() => request.socket.destroy(), 20));
  };
}

/** Ends in good order before everything is sent, as broken middleboxes do. */
export function truncateTo(bytes: number): Behaviour {
  return (file, request, response) => {
    const { range } = request.headers;
    const start = Number(/^bytes=(\d+)-$/.exec(range ?? '')?.[1] ?? 0);
    const contentRange = `bytes ${start}-${file.length - 1}/${file.length}`;
    response.writeHead(start > 0 ? 206 : 200, start > 0 ? { 'Content-Range': contentRange } : {});
    response.end(file.subarray(start, start + bytes));
  };
}

/** Sends a file of the right length with one wrong bit. */
export const corrupt: Behaviour = (file, request, response) => {
  const wrong = file.slice();
  wrong[wrong.length - 1]! ^= 1;
  honest(wrong, request, response);
};

/** Sends more than there is. */
export const tooLong: Behaviour = (file, _request, response) => {
  response.writeHead(200);
  response.write(file);
  response.end(file);
};

/** Answers with a status and a page, as error pages and login pages of networks do. */
export function page(status: number, headers: Record<string, string> = {}): Behaviour {
  return (_file, _request, response) => {
    response.writeHead(status, { 'Content-Type': 'text/html', ...headers });
    response.end('<html>please log in</html>');
  };
}

export function redirect(to: string): Behaviour {
  return page(302, { Location: to });
}

/** Sends everything, but slowly enough for others to come along. */
export function slowly(milliseconds: number): Behaviour {
  return (file, request, response) => {
    const rest = begin(file, request, response);
    const pieces = 10;
    const size = Math.ceil(rest.length / pieces);
    let sent = 0;
    const timer = setInterval(() => {
      response.write(rest.subarray(sent, sent + size));
      sent += size;
      if (sent < rest.length) return;
      clearInterval(timer);
      response.end();
    }, milliseconds / pieces);
    request.socket.on('close', () => clearInterval(timer));
  };
}
