import { expect, test } from 'bun:test';
import { scenePhotos } from './sample-files.ts';
import { addCategories, untilSorted } from './sorting.ts';
import { describeInBrowser, filesInput, useStage } from './visit.ts';

const PREFIX = '/tools/classify';

/** A reverse proxy that serves what is at `/` of the service below a path, and nothing elsewhere. */
function proxyTo(service: string) {
  const elsewhere: string[] = [];
  const server = Bun.serve({
    hostname: '127.0.0.1',
    port: 0,
    async fetch(request) {
      const { pathname, search } = new URL(request.url);
      if (!pathname.startsWith(`${PREFIX}/`)) {
        elsewhere.push(pathname);
        return new Response('not here', { status: 404 });
      }
      const headers = new Headers(request.headers);
      // Otherwise its answer would be unpacked on the way.
      headers.set('accept-encoding', 'identity');
      const { method, body } = request;
      return await fetch(`${service}${pathname.slice(PREFIX.length)}${search}`, { method, headers, body });
    },
  });
  return { address: `http://127.0.0.1:${server.port}${PREFIX}/`, elsewhere, stop: () => server.stop(true) };
}

describeInBrowser('below a path of a reverse proxy', () => {
  const stage = useStage();

  test('the page, its requests and the API document work', async () => {
    const proxy = proxyTo(stage.service.url);
    try {
      await stage.visit(
        async (page) => {
          await page.getByRole('link', { name: 'API' }).click();
          await page.getByRole('heading', { name: /^classify-images/ }).waitFor();
          expect(page.url()).toBe(`${proxy.address}swagger`);
          await page.getByText('/categorize', { exact: true }).first().waitFor();
          await page.goBack();
          await filesInput(page).setInputFiles(await scenePhotos(1));
          await addCategories(page, ['green', 'blue']);
          await untilSorted(page, 6);
          expect(proxy.elsewhere.filter((path) => path !== '/favicon.ico')).toEqual([]);
        },
        { address: proxy.address },
      );
    } finally {
      proxy.stop();
    }
  });
});
