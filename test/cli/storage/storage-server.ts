import { createHash } from 'node:crypto';

/** What a request is answered with instead: a status, a connection that ends within the answer, or silence. */
export type Trouble = number | 'cut' | 'silence';

export interface StorageServer extends AsyncDisposable {
  readonly url: string;
  /** The environment in which the command finds it. */
  readonly environment: Readonly<Record<string, string>>;
  /** By `bucket/key`. */
  readonly objects: Map<string, Uint8Array>;
  /** `GET bucket/key`, `LIST bucket/prefix`, … in their order. */
  readonly requests: string[];
  /** Called with each request before it is answered. */
  trouble: ((request: string) => Trouble | undefined) | undefined;
}

const PAGE_KEYS = 1000;

/** A small S3: lists with pages, ranges, uploads in one piece and in parts, and troubles of every kind. */
export function startStorageServer(port = 0): StorageServer {
  const objects = new Map<string, Uint8Array>();
  const uploads = new Map<string, Map<number, Uint8Array>>();
  const requests: string[] = [];
  const state: { trouble: StorageServer['trouble'] } = { trouble: undefined };

  const list = (bucket: string, query: URLSearchParams): Response => {
    const prefix = `${bucket}/${query.get('prefix') ?? ''}`;
    const after = query.get('continuation-token') ?? '';
    const limit = Math.min(PAGE_KEYS, Number(query.get('max-keys') ?? PAGE_KEYS));
    const names = [...objects.keys()].filter((name) => name.startsWith(prefix) && name > after).toSorted();
    const page = names.slice(0, limit);
    const isTruncated = names.length > page.length;
    const contents = page.map((name) => {
      const content = objects.get(name) ?? new Uint8Array();
      const key = escapeXml(name.slice(bucket.length + 1));
      return `<Contents><Key>${key}</Key><Size>${content.length}</Size><ETag>&quot;${etagOf(content)}&quot;</ETag></Contents>`;
    });
    const next = isTruncated
      ? `<NextContinuationToken>${escapeXml(page.at(-1) ?? '')}</NextContinuationToken>`
      : '';
    return xml(
      `<ListBucketResult><IsTruncated>${isTruncated}</IsTruncated>${next}${contents.join('')}</ListBucketResult>`,
    );
  };

  const server = Bun.serve({
    port,
    hostname: '127.0.0.1',
    idleTimeout: 0,
    async fetch(request) {
      const url = new URL(request.url);
      const name = decodeURIComponent(url.pathname).slice(1);
      const query = url.searchParams;
      const isList = request.method === 'GET' && query.has('list-type');
      const bucket = name.split('/')[0] ?? '';
      const what = isList
        ? `LIST ${bucket}/${query.get('prefix') ?? ''}`
        : `${request.method} ${name}${query.has('uploadId') || query.has('uploads') ? ' (parts)' : ''}`;
      requests.push(what);
      const trouble = state.trouble?.(what);
      if (typeof trouble === 'number') return refusal(trouble);
      if (trouble === 'silence') return await new Promise<never>(() => undefined);
      if (isList) return trouble === 'cut' ? cut(new Uint8Array(1000)) : list(bucket, query);
      if (request.method === 'PUT') {
        const body = new Uint8Array(await request.arrayBuffer());
        if (trouble === 'cut') return refusal(500);
        const parts = uploads.get(query.get('uploadId') ?? '');
        if (parts) parts.set(Number(query.get('partNumber')), body);
        else objects.set(name, body);
        return new Response(null, { headers: { etag: `"${etagOf(body)}"` } });
      }
      if (request.method === 'POST' && query.has('uploads')) {
        const id = crypto.randomUUID();
        uploads.set(id, new Map());
        return xml(
          `<InitiateMultipartUploadResult><UploadId>${id}</UploadId></InitiateMultipartUploadResult>`,
        );
      }
      if (request.method === 'POST') {
        const parts = [...(uploads.get(query.get('uploadId') ?? '') ?? [])].toSorted(([a], [b]) => a - b);
        objects.set(name, Buffer.concat(parts.map(([, part]) => part)));
        return xml('<CompleteMultipartUploadResult><ETag>"x"</ETag></CompleteMultipartUploadResult>');
      }
      if (request.method === 'DELETE') {
        objects.delete(name);
        return new Response(null, { status: 204 });
      }
      const content = objects.get(name);
      if (!content) return refusal(404);
      const [, start, end] = /^bytes=(\d+)-(\d*)$/.exec(request.headers.get('range') ?? '') ?? [];
      const asked =
        start === undefined
          ? content
          : content.subarray(Number(start), end ? Number(end) + 1 : content.length);
      if (trouble === 'cut') return cut(asked);
      return new Response(request.method === 'HEAD' ? null : Buffer.from(asked), {
        status: start === undefined ? 200 : 206,
        headers: { etag: `"${etagOf(content)}"`, 'content-length': String(asked.length) },
      });
    },
  });
  const url = `http://127.0.0.1:${server.port}`;
  return {
    url,
    environment: {
      AWS_ENDPOINT_URL: url,
      AWS_ACCESS_KEY_ID: 'key',
      AWS_SECRET_ACCESS_KEY: 'secret',
      AWS_REGION: 'us-east-1',
    },
    objects,
    requests,
    get trouble() {
      return state.trouble;
    },
    set trouble(trouble) {
      state.trouble = trouble;
    },
    [Symbol.asyncDispose]: () => server.stop(true),
  };
}

const codes: Readonly<Record<number, string>> = {
  403: 'AccessDenied',
  404: 'NoSuchKey',
  500: 'InternalError',
  503: 'SlowDown',
};

function refusal(status: number): Response {
  return xml(`<Error><Code>${codes[status]}</Code><Message>as the test wants</Message></Error>`, status);
}

function xml(body: string, status = 200): Response {
  return new Response(`<?xml version="1.0"?>${body}`, {
    status,
    headers: { 'content-type': 'application/xml' },
  });
}

/** The first half of an answer; then the connection ends. */
function cut(content: Uint8Array): Response {
  const half = content.slice(0, Math.floor(content.length / 2));
  const body = new ReadableStream({
    start(controller) {
      controller.enqueue(half);
      controller.close();
    },
  });
  return new Response(body, { headers: { 'content-length': String(content.length) } });
}

const etags = new WeakMap<Uint8Array, string>();

function etagOf(content: Uint8Array): string {
  const known = etags.get(content) ?? createHash('md5').update(content).digest('hex');
  etags.set(content, known);
  return known;
}

function escapeXml(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
}
