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
      await page.evaluate(`{
        window.seen = [];
        const bar = document.getElementById('progress-bar');
        new MutationObserver(() => window.seen.push(bar.value)).observe(bar, { attributes: true });
      }`);
      await filesInput(page).setInputFiles(await manyPhotos(join(stage.folder, 'many')));
      await classify(page, scenes.map(({ colour }) => colour).join(', '));
      await takeScreenshot(page, 'progress');
      await untilClassified(page);
      const seen = (await page.evaluate('window.seen')) as number[];
      expect(new Set(seen).size).toBeGreaterThan(10);
      expect(seen).toEqual(seen.toSorted((a, b) => a - b));

      const sizes = await page.locator('#photo-tabs .count').allTextContents();
      expect(sizes.slice(1).reduce((sum, text) => sum + Number(text), 0)).toBe(PHOTOS);

      // Another question sends its word, and no photo.
      let sentBytes = 0;
      page.on('request', (request) => {
        sentBytes += request.postDataBuffer()?.length ?? 0;
      });
      await page.evaluate(`{
        const tabs = document.getElementById('photo-tabs');
        new MutationObserver(() => {
          if (/orange/.test(tabs.textContent)) window.sortedAt ??= performance.now();
        }).observe(tabs, { childList: true, subtree: true, characterData: true });
        document.getElementById('labels').addEventListener('keydown', ({ key }) => {
          if (key === 'e') window.typedAt = performance.now();
        });
      }`);
      await page.getByRole('textbox', { name: 'Categories' }).pressSequentially('orange');
      await page.getByRole('tab', { name: /^orange/ }).waitFor();
      await untilClassified(page);
      const newWord = Number(await page.evaluate('window.sortedAt - window.typedAt'));
      await page.keyboard.press('Enter');
      await page.evaluate(`window.removedAt = performance.now(); window.goneAt = undefined;
        new MutationObserver(() => {
          if (!/orange/.test(document.getElementById('photo-tabs').textContent)) window.goneAt ??= performance.now();
        }).observe(document.getElementById('photo-tabs'), { childList: true })`);
      await page.keyboard.press('Backspace');
      await page.getByRole('tab', { name: /^orange/ }).waitFor({ state: 'detached' });
      const knownWord = Number(await page.evaluate('window.goneAt - window.removedAt'));
      console.log(
        `1,000 photos: ${sentBytes} bytes for another word, sorted ${Math.round(newWord)} ms after its last letter; ${Math.round(knownWord)} ms after a known word changed`,
      );
      expect(sentBytes).toBeGreaterThan(0);
      expect(sentBytes).toBeLessThan(20_000);
      // Scrolls through the whole first group.
      await page.getByRole('tab').nth(1).click();
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
      console.log(`JS heap: ${((after.heapBytes - before.heapBytes) / MEBI).toFixed(1)} MiB more`);
      expect(after.heapBytes - before.heapBytes).toBeLessThan(16 * MEBI);
      expect(after.nodes).toBeLessThan(15_000);
    }));
});
