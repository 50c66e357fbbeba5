import { describe, expect, test } from 'bun:test';
import { asksForPage, createPage, type PageFiles } from '../../src/http/page.ts';
import { start, type TestServer } from './harness.ts';

const browser = { accept: 'text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8' };

const get = ({ address }: TestServer, path: string, headers: Record<string, string> = browser) =>
  fetch(address(path), { headers });

/** The addresses that the page loads, as written in it. */
async function assetsOf(server: TestServer): Promise<string[]> {
  const html = await (await get(server, '/')).text();
  const names = [...html.matchAll(/(?:src|href)="\.\/(assets\/[^"]+)"/g)].map(([, name]) => `/${name}`);
  return [...new Set(names)];
}

describe('/ for people', () => {
  test.each([
    ['text/html', true],
    ['application/xhtml+xml, TEXT/HTML;q=0.8', true],
    ['*/*', false],
    ['text/*', false],
    ['application/json, text/htmlx', false],
    [undefined, false],
  ])('who accepts %p: %p', (accept, expected) => {
    expect(asksForPage(new Headers(accept === undefined ? {} : { accept }))).toBe(expected);
  });

  test('browsers get the page, programs the plain welcome, caches are told', async () => {
    await using server = start();
    const page = await get(server, '/');
    expect(page.headers.get('content-type')).toBe('text/html;charset=utf-8');
    expect(page.headers.get('vary')).toContain('accept');
    expect(page.headers.get('cache-control')).toBe('no-cache');
    expect(await page.text()).toStartWith('<!doctype html>');
    const plain = await get(server, '/', { accept: '*/*' });
    expect(plain.headers.get('content-type')).toBe('text/plain; charset=utf-8');
    expect(plain.headers.get('vary')).toContain('accept');
  });

  test('nothing from elsewhere, nothing inline', async () => {
    await using server = start();
    const page = await get(server, '/');
    const policy = new Map(
      (page.headers.get('content-security-policy') ?? '').split('; ').map((directive) => {
        const [name = '', ...values] = directive.split(' ');
        return [name, values.join(' ')];
      }),
    );
    expect(Object.fromEntries(policy)).toEqual({
      'default-src': "'none'",
      'script-src': "'self'",
      'style-src': "'self'",
      'img-src': "'self' blob:",
      'media-src': 'blob:',
      'connect-src': "'self'",
      'base-uri': "'none'",
      'form-action': "'none'",
      'frame-ancestors': "'none'",
      'require-trusted-types-for': "'script'",
      'trusted-types': "'none'",
    });
    // A link loads nothing.
    const html = (await page.text()).replaceAll(/<a href="[^"]*"/g, '<a');
    expect(html).not.toMatch(/https?:\/\/|\sstyle=|\son\w+=|<style|<script(?![^>]*\ssrc=)/);
  });

  test('its parts have names that change with them, and may be kept for ever', async () => {
    await using server = start();
    const assets = await assetsOf(server);
    expect(assets.map((path) => path.replace(/-[0-9a-z]{8}\./, '-HASH.')).sort()).toEqual([
      '/assets/icon-HASH.svg',
      '/assets/index-HASH.css',
      '/assets/index-HASH.js',
    ]);
    const types: Record<string, string> = { svg: 'image/svg+xml', css: 'text/css', js: 'text/javascript' };
    for (const path of assets) {
      const response = await get(server, path);
      expect(response.status).toBe(200);
      expect(response.headers.get('content-type')).toStartWith(types[path.split('.').at(-1) ?? ''] ?? '?');
      expect(response.headers.get('cache-control')).toBe('public, max-age=31536000, immutable');
      expect(response.headers.get('x-content-type-options')).toBe('nosniff');
      expect((await response.text()).length).toBeGreaterThan(100);
    }
  });

  test('is made again where it could not be made', async () => {
    let attempts = 0;
    const page = createPage(async (): Promise<PageFiles> => {
      attempts += 1;
      if (attempts === 1) throw new Error('too many open files');
      const bytes = new TextEncoder().encode('the page');
      return new Map([['index.html', { contentType: 'text/html', plain: bytes, gzip: bytes }]]);
    });
    const ask = () => page.index(new Request('http://localhost/'));
    expect(ask()).rejects.toThrow('too many open files');
    expect(await (await ask()).text()).toBe('the page');
    await ask();
    expect(attempts).toBe(2);
  });

  test('is small: at most 40 KB over the line; the parts for videos, downloads and examples come when needed', async () => {
    await using server = start();
    const sizeOf = async (path: string) => {
      const response = await fetch(server.address(path), {
        headers: { ...browser, 'accept-encoding': 'gzip' },
        decompress: false,
      });
      expect(response.headers.get('content-encoding')).toBe('gzip');
      return (await response.arrayBuffer()).byteLength;
    };
    const sum = async (paths: readonly string[]) =>
      (await Promise.all(paths.map(sizeOf))).reduce((total, bytes) => total + bytes, 0);
    const assets = await assetsOf(server);
    expect(await sum(['/', ...assets])).toBeLessThan(40_000);
    const script = await (await get(server, assets.find((path) => path.endsWith('.js')) ?? '')).text();
    const names = [...script.matchAll(/"\.\/([\w-]+\.js)"/g)].map(([, name]) => `/assets/${name}`);
    const later = [...new Set(names)].filter((path) => !assets.includes(path));
    expect(later.length).toBeGreaterThanOrEqual(3);
    expect(await sum(later)).toBeLessThan(12_000);
  });

  test.each([undefined, 'identity', 'gzip;q=0, br'])(
    'is sent as it is to who accepts %p',
    async (encoding) => {
      await using server = start();
      const response = await get(server, '/', { ...browser, 'accept-encoding': encoding ?? '' });
      expect(response.headers.get('content-encoding')).toBeNull();
    },
  );

  test.each(['/assets/index.html', '/assets/nothing.js', '/assets/..%2fmain.ts'])(
    '%s is not there',
    async (path) => {
      await using server = start();
      const response = await get(server, path);
      expect(response.status).toBe(404);
      expect(await response.json()).toMatchObject({ code: 'not_found' });
    },
  );
});
