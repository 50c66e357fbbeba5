import { expect, test } from 'bun:test';
import { readFile } from 'node:fs/promises';
import type { Page } from 'playwright-core';
import { makeVideo, type VideoRecipe } from '../../fixtures/videos.ts';
import { type SampleFile, textFile } from './sample-files.ts';
import {
  classify,
  describeInBrowser,
  filesInput,
  takeScreenshot,
  untilClassified,
  untilTrue,
  useStage,
} from './visit.ts';

const recipe: VideoRecipe = {
  scenes: [
    { colour: 'red', seconds: 2 },
    { colour: 'green', seconds: 1.6 },
    { colour: 'blue', seconds: 1.2 },
    { colour: 'yellow', seconds: 2.4 },
    { colour: 'purple', seconds: 1.6 },
  ],
  // Every browser plays this format.
  encoder: 'libvpx-vp9',
  options: { deadline: 'realtime', 'cpu-used': '8' },
  container: 'webm',
};

async function film(name: string, form: VideoRecipe = recipe): Promise<SampleFile> {
  return { name, mimeType: 'video/webm', buffer: await readFile(makeVideo(form).path) };
}

const currentTime = async (page: Page) =>
  Number(await page.evaluate('document.querySelector("video").currentTime'));

describeInBrowser('a video on the page', () => {
  const stage = useStage();

  test('shows its best frames on a time line that leads to them', () =>
    stage.visit(async (page) => {
      const { scenes } = makeVideo(recipe);
      await filesInput(page).setInputFiles([await film('film.webm')]);
      await page.getByText('Video film.webm added.').waitFor();
      await classify(page, 'blue\nsomething green\ngreen\nyellow');
      await untilClassified(page);
      expect(await page.locator('#video-facts').textContent()).toMatch(
        /^320 × 180, 0:08\.\d; 5 scenes, .* by demo$/,
      );
      expect(await page.locator('.moment h3').allTextContents()).toEqual([
        'blue',
        'something green',
        'green',
        'yellow',
      ]);

      const marks = page.locator('.mark');
      expect(await marks.allTextContents()).toEqual([
        expect.stringMatching(/^something green, green at 0:0[23]\.\d$/),
        expect.stringMatching(/^blue at 0:0[34]\.\d$/),
        expect.stringMatching(/^yellow at 0:0[4567]\.\d$/),
      ]);
      for (const [index, colour] of ['green', 'blue', 'yellow'].entries()) {
        await marks.nth(index).click();
        await untilTrue(page, '!document.querySelector("video").seeking');
        const scene = scenes.find((one) => one.colour === colour)!;
        expect(await currentTime(page)).toBeGreaterThanOrEqual(scene.start);
        expect(await currentTime(page)).toBeLessThan(scene.end);
      }
      await page
        .locator('.moment')
        .first()
        .getByRole('button', { name: /^Go to 0:0[34]\.\d$/ })
        .press('Enter');
      await untilTrue(page, 'document.querySelector("video").currentTime < 4.8');
      // The pictures are complete.
      const widths = 'Array.from(document.querySelectorAll(".moment img"), (image) => image.naturalWidth)';
      await page.locator('.moment img').last().scrollIntoViewIfNeeded();
      await untilTrue(page, `${widths}.every((width) => width === 320)`);
      await takeScreenshot(page, 'video', true);
    }));

  test('minimum score and count change what is shown; it is saved without a new upload', () =>
    stage.visit(async (page) => {
      await filesInput(page).setInputFiles([await film('film.webm')]);
      await classify(page, 'blue, pink');
      await untilClassified(page);
      expect(await page.locator('.moment').count()).toBe(2);
      await page.getByRole('slider', { name: 'Minimum score' }).fill('100');
      await page
        .locator('#moments')
        .getByText(/^Categor(?:y|ies) without a match: /)
        .waitFor();
      await page.getByRole('slider', { name: 'Minimum score' }).fill('0');
      const times = page.locator('.moment').first().locator('.time');
      await page.getByRole('spinbutton', { name: 'Show top' }).fill('2');
      await times.nth(2).waitFor({ state: 'detached' });
      expect(await times.count()).toBe(2);
      const download = page.waitForEvent('download');
      await page.getByRole('button', { name: 'Save as JSON' }).click();
      const saved = await download;
      expect(saved.suggestedFilename()).toBe('video.json');
      expect(JSON.parse(await readFile(await saved.path(), 'utf8'))).toMatchObject({
        file: 'film.webm',
        results: [{ category: 'blue', scores: [expect.anything(), expect.anything()] }, { category: 'pink' }],
      });
    }));

  test('that is none is named as such, and nothing else breaks', () =>
    stage.visit(async (page) => {
      await filesInput(page).setInputFiles([{ ...textFile('film.mp4', 'no video'), mimeType: 'video/mp4' }]);
      await classify(page, 'blue');
      await untilClassified(page);
      expect(await page.locator('#video-fault').textContent()).toMatch(/\w+/);
      expect(await page.locator('#video-answer').isVisible()).toBe(false);
      await filesInput(page).setInputFiles([await film('film.webm')]);
      await page.getByRole('button', { name: 'Classify' }).click();
      await page.locator('.moment').waitFor();
      expect(await page.locator('#video-fault').isVisible()).toBe(false);
    }));

  test('that the browser cannot play is looked through all the same', () =>
    stage.visit(async (page) => {
      const form: VideoRecipe = { ...recipe, encoder: 'mpeg4', options: {}, container: 'mp4' };
      await filesInput(page).setInputFiles([{ ...(await film('old.mp4', form)), mimeType: 'video/mp4' }]);
      await classify(page, 'blue, red');
      await untilClassified(page);
      await page.getByText('This browser cannot play this video').waitFor();
      expect(await page.locator('.moment img').count()).toBe(2);
    }));
});
