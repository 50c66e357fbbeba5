import { expect, test } from 'bun:test';
import { looksGood } from './axe.ts';
import { readZip } from './read-zip.ts';
import { scenePhotos } from './sample-files.ts';
import { untilSorted } from './sorting.ts';
import { describeInBrowser, filesInput, takeScreenshot, untilTrue, useStage } from './visit.ts';

describeInBrowser('a first visit', () => {
  const stage = useStage();

  test('six example photos, small and drawn by the page, are sorted by what the model knows', () =>
    stage.visit(async (page) => {
      await page.locator('#banner.demo').waitFor();
      await looksGood(page, 'first-visit');
      await page.setViewportSize({ width: 1200, height: 900 });
      await page.getByRole('button', { name: 'Try it with 6 example photos' }).click();
      await page.locator('#tab-label-5').waitFor();
      await untilSorted(page, 6);
      await page.getByRole('slider', { name: 'Strictness' }).fill('0');
      await untilTrue(page, 'document.querySelector("#tab-unsure .count").textContent.trim() === "0"');
      await takeScreenshot(page, 'examples');
      await page.getByRole('button', { name: 'Save photos' }).click();
      const download = page.waitForEvent('download');
      await page.getByRole('button', { name: 'Download as ZIP' }).click();
      const entries = readZip(await (await download).path());
      expect(entries.map(({ name }) => name)).toEqual([
        'something red/example-apples.jpg',
        'something green/example-meadow.jpg',
        'something blue/example-screen.jpg',
        'something orange/example-cat.jpg',
        'something purple/example-person.jpg',
        'something white/example-letter.jpg',
      ]);
      for (const { bytes } of entries) expect(bytes.length).toBeLessThan(10_000);
    }));

  test('lists of categories are one click away, and replace each other', () =>
    stage.visit(async (page) => {
      await page.getByRole('button', { name: /^Holiday/ }).click();
      await page.getByRole('button', { name: /^What it shows/ }).click();
      expect(await page.locator('#chips .chip-text').allTextContents()).toEqual([
        'people',
        'pets',
        'food',
        'landscape',
        'documents',
        'screenshots',
      ]);
      await filesInput(page).setInputFiles(await scenePhotos(1));
      await untilSorted(page, 6);
    }));
});
