import { join } from 'node:path';
import { invariant, ServiceError } from '../errors.ts';

/** The web page. */
interface Page {
  /** @param request its `accept-encoding` decides on compression */
  index(request: Request): Promise<Response>;
  /**
   * @param name the file name of a script, a style sheet or a picture of the page
   * @throws ServiceError not_found
   */
  asset(request: Request, name: string): Promise<Response>;
}

/** Allows only what this server sends, and the visitor's own pictures and videos. */
const pageContentPolicy = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self' blob:",
  'media-src blob:',
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
  // File names and categories are set as text. This refuses any code that would make markup of them.
  "require-trusted-types-for 'script'",
  "trusted-types 'none'",
].join('; ');

const YEAR_SECONDS = 365 * 24 * 3600;

interface PageFile {
  readonly contentType: string;
  readonly plain: Uint8Array<ArrayBuffer>;
  readonly gzip: Uint8Array<ArrayBuffer>;
}

/** By name. */
export type PageFiles = ReadonlyMap<string, PageFile>;

/** Browsers list HTML in their `accept` header; programs do not. */
export function asksForPage(headers: Headers): boolean {
  return /(?:^|,)\s*text\/html\s*(?:[;,]|$)/i.test(headers.get('accept') ?? '');
}

/**
 * Serves the files of `src/page`. The first request bundles them in memory, which needs some 20 ms and 10 MB. So there
 * is no build step, no file is outdated, and a service without visitors needs no memory for it.
 */
export function createPage(makeFiles: () => Promise<PageFiles> = bundle): Page {
  let made: Promise<PageFiles> | undefined;
  const files = () =>
    (made ??= makeFiles().catch((fault: unknown) => {
      // The cause may be temporary, such as too few file descriptors: the next request tries again.
      made = undefined;
      throw fault;
    }));
  return {
    async index(request) {
      const file = (await files()).get('index.html');
      invariant(file, 'the bundle has no index.html.');
      return fileResponse(file, request, {
        'cache-control': 'no-cache',
        'content-security-policy': pageContentPolicy,
        'referrer-policy': 'no-referrer',
        vary: 'accept, accept-encoding',
      });
    },
    async asset(request, name) {
      const file = name === 'index.html' ? undefined : (await files()).get(name);
      if (!file) throw new ServiceError('not_found', 'The page has no such file; reload the page.');
      // Names contain a hash of the content.
      const cacheControl = `public, max-age=${YEAR_SECONDS}, immutable`;
      return fileResponse(file, request, { 'cache-control': cacheControl, vary: 'accept-encoding' });
    },
  };
}

async function bundle(): Promise<PageFiles> {
  const { outputs } = await Bun.build({
    entrypoints: [join(import.meta.dir, '../page/index.html')],
    target: 'browser',
    minify: true,
    // What few visits need is loaded when it is needed.
    splitting: true,
    // Without a public path, all addresses are relative: so the page works below any path of a proxy.
    naming: {
      entry: '[name].[ext]',
      chunk: 'assets/[name]-[hash].[ext]',
      asset: 'assets/[name]-[hash].[ext]',
    },
  });
  const files = await Promise.all(
    outputs.map(async (output): Promise<readonly [string, PageFile]> => {
      const plain = new Uint8Array(await output.arrayBuffer());
      const file = { contentType: output.type, plain, gzip: Bun.gzipSync(plain, { level: 9 }) };
      return [output.path.replace(/^\.\/(?:assets\/)?/, ''), file];
    }),
  );
  return new Map(files);
}

function fileResponse(file: PageFile, request: Request, headers: Record<string, string>): Response {
  const isCompressed = /\bgzip\b(?!\s*;\s*q=0(?:\.0*)?\s*(?:,|$))/i.test(
    request.headers.get('accept-encoding') ?? '',
  );
  return new Response(isCompressed ? file.gzip : file.plain, {
    headers: {
      ...headers,
      'content-type': file.contentType,
      ...(isCompressed && { 'content-encoding': 'gzip' }),
    },
  });
}
