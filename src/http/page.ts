import { join } from 'node:path';
import { ServiceError } from '../errors.ts';

/** The page for people. */
export interface Page {
  /** @param request decides on compression */
  index(request: Request): Promise<Response>;
  /**
   * @param name of a script, a style sheet or a picture of the page
   * @throws ServiceError not_found
   */
  asset(request: Request, name: string): Promise<Response>;
}

/** Nothing but what this server itself sends, and the pictures and videos that the visitor brings. */
export const pageContentPolicy = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self' blob:",
  'media-src blob:',
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
  // Names of files and categories are set as text; whatever would make markup of them is refused.
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

/** Browsers name HTML among what they accept; programs that accept anything do not. */
export function asksForPage(headers: Headers): boolean {
  return /(?:^|,)\s*text\/html\s*(?:[;,]|$)/i.test(headers.get('accept') ?? '');
}

/**
 * Serves what `src/page` holds. It is bundled in memory when it is asked for first, which takes some 20 ms and
 * 10 MB once: no build step, no files that could be out of date, no cost where only programs ask.
 */
export function createPage(makeFiles: () => Promise<PageFiles> = bundle): Page {
  let made: Promise<PageFiles> | undefined;
  const files = () =>
    (made ??= makeFiles().catch((fault: unknown) => {
      // Short of memory or of descriptors for a moment, it must not be without a page for ever.
      made = undefined;
      throw fault;
    }));
  return {
    async index(request) {
      const file = (await files()).get('index.html');
      if (!file) throw new Error('the bundle has no index.html: this is a bug');
      return fileResponse(file, request, {
        'cache-control': 'no-cache',
        'content-security-policy': pageContentPolicy,
        'referrer-policy': 'no-referrer',
        vary: 'accept, accept-encoding',
      });
    },
    async asset(request, name) {
      const file = name === 'index.html' ? undefined : (await files()).get(name);
      if (!file) throw new ServiceError('not_found', 'The page has no such part; load it again.');
      // Names carry a hash of what is in them.
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
    // Relative, so that the page also works below a path that a proxy gives it.
    publicPath: 'assets/',
    naming: { entry: '[name].[ext]', chunk: '[name]-[hash].[ext]', asset: '[name]-[hash].[ext]' },
  });
  const files = await Promise.all(
    outputs.map(async (output): Promise<readonly [string, PageFile]> => {
      const plain = new Uint8Array(await output.arrayBuffer());
      const file = { contentType: output.type, plain, gzip: Bun.gzipSync(plain, { level: 9 }) };
      return [output.path.replace(/^\.\//, ''), file];
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
