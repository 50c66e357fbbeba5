import { expect, test } from 'bun:test';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { CDPSession, Page } from 'playwright-core';
import { paintScene, scenes } from './scenes.ts';
import {
  classify,
  describeInBrowser,
  filesInput,
  takeScreenshot,
  untilClassified,
  untilTrue,
  useStage,
} from './visit.ts';

const PHOTOS = 1000;
const MEBI = 1024 ** 2;

/** Writes many different small photos. @returns their paths */
async function manyPhotos(folder: string): Promise<string[]> {
  await mkdir(folder, { recursive: true });
  return await Promise.all(
    Array.from({ length: PHOTOS }, async (_, index) => {
      const path = join(folder, `${String(index).padStart(4, '0')}.jpg`);
      await writeFile(path, await paintScene(scenes[index % scenes.length]!, index, 96, 72));
      return path;
    }),
  );
}

async function memoryOf(client: CDPSession): Promise<{ readonly heapBytes: number; readonly nodes: number }> {
  await client.send('HeapProfiler.collectGarbage');
  const { metrics } = await client.send('Performance.getMetrics');
  const value = (name: string) => metrics.find((metric) => metric.name === name)?.value ?? Number.NaN;
  return { heapBytes: value('JSHeapUsedSize'), nodes: value('Nodes') };
}

/** Canvases that hold a picture. */
const drawn = async (page: Page) =>
  Number(
    await page.evaluate('[...document.querySelectorAll("canvas")].filter((one) => one.width > 0).length'),
  );

describeInBrowser('a thousand photos at once', () => {
  const stage = useStage();

  test('are classified while the progress moves, and take little memory', () =>
    stage.visit(async (page) => {
      const client = await page.context().newCDPSession(page);
      await client.send('Performance.enable');
      const before = await memoryOf(client);
      await filesInput(page).setInputFiles(await manyPhotos(join(stage.folder, 'many')));
      await page.getByText('1,000 photos added.').waitFor();

      await page.evaluate(`{
        window.seen = [];
        const bar = document.getElementById('progress-bar');
        new MutationObserver(() => window.seen.push(bar.value)).observe(bar, { attributes: true });
      }`);
      await classify(page, scenes.map(({ colour }) => colour).join(', '));
      // A browser that has to wait for its turn may see the end before it is asked for the beginning.
      await page
        .getByText(/^(?:[1-9]\d* of 1,000 photos classified|Up to date)/)
        .first()
        .waitFor();
      await takeScreenshot(page, 'progress');
      await untilClassified(page);
      const seen = (await page.evaluate('window.seen')) as number[];
      expect(new Set(seen).size).toBeGreaterThan(10);
      expect(seen).toEqual(seen.toSorted((a, b) => a - b));

      const sizes = await page.locator('.group .count').allTextContents();
      expect(sizes.reduce((sum, text) => sum + Number(text), 0)).toBe(PHOTOS);
      // All of the first group, seen from end to end.
      const group = page.locator('.group').first();
      for (const more = group.getByRole('button', { name: /^Show \d+ more/ }); await more.isVisible(); ) {
        await more.click();
      }
      expect(await group.locator('.tile').count()).toBe(Math.ceil(PHOTOS / scenes.length));
      let most = 0;
      for (const place of [0, 40, 80, 120, 160]) {
        await group.locator('.tile').nth(place).scrollIntoViewIfNeeded();
        await untilTrue(page, `document.querySelectorAll('.group .tile canvas')[${place}].width > 0`);
        most = Math.max(most, await drawn(page));
      }
      expect(most).toBeLessThan(120);
      const after = await memoryOf(client);
      expect(after.heapBytes - before.heapBytes).toBeLessThan(16 * MEBI);
      expect(after.nodes).toBeLessThan(15_000);
    }));
});
