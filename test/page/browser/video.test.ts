import { expect, test } from 'bun:test';
import { readFile } from 'node:fs/promises';
import type { Page } from 'playwright-core';
import { makeVideo, type VideoRecipe } from '../../fixtures/videos.ts';
import { videoDetails } from '../video-details.ts';
import { type SampleFile, scenePhotos, textFile } from './sample-files.ts';
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
      expect(await page.locator('.best-frame h3').allTextContents()).toEqual([
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
        .locator('.best-frame')
        .first()
        .getByRole('button', { name: /^Go to 0:0[34]\.\d$/ })
        .press('Enter');
      await untilTrue(page, 'document.querySelector("video").currentTime < 4.8');
      // The pictures are complete.
      const widths =
        'Array.from(document.querySelectorAll(".best-frame img"), (image) => image.naturalWidth)';
      await page.locator('.best-frame img').last().scrollIntoViewIfNeeded();
      await untilTrue(page, `${widths}.every((width) => width === 320)`);
      await takeScreenshot(page, 'video', true);
    }));

  test('shows on a bar where each category fits, and the keyboard leads to each part', () =>
    stage.visit(async (page) => {
      const again: VideoRecipe = {
        ...recipe,
        scenes: [
          { colour: 'red', seconds: 2 },
          { colour: 'blue', seconds: 2 },
          { colour: 'red', seconds: 2 },
          { colour: 'blue', seconds: 2 },
        ],
      };
      const { scenes } = makeVideo(again);
      await filesInput(page).setInputFiles([await film('twice.webm', again)]);
      await classify(page, 'blue\nred');
      await untilClassified(page);
      const rows = page.locator('#moments-list > li');
      expect(await rows.locator('h4').allTextContents()).toEqual(['blue', 'red']);
      const parts = rows.first().getByRole('button');
      expect(await parts.allTextContents()).toEqual([
        expect.stringMatching(/^0:0[12]\.\d–0:0[34]\.\d, best frame at 0:0[23]\.\d$/),
        expect.stringMatching(/^0:0[56]\.\d–0:08\.\d, best frame at 0:0[67]\.\d$/),
      ]);
      const bar = (await rows.first().locator('.bar').boundingBox())!;
      const [first, second] = [scenes[1]!, scenes[3]!];
      for (const [index, { start, end }] of [first, second].entries()) {
        const part = (await rows.first().locator('.part').nth(index).boundingBox())!;
        expect(part.x - bar.x).toBeWithin((start / 8 - 0.05) * bar.width, (start / 8 + 0.05) * bar.width);
        expect(part.width).toBeWithin(
          ((end - start) / 8 - 0.06) * bar.width,
          ((end - start) / 8 + 0.06) * bar.width,
        );
      }
      await parts.nth(1).press('Enter');
      await untilTrue(page, '!document.querySelector("video").seeking');
      expect(await currentTime(page)).toBeWithin(second.start, second.end);
      await rows.first().locator('.part').first().click();
      await untilTrue(page, '!document.querySelector("video").seeking');
      expect(await currentTime(page)).toBeWithin(first.start, first.end);
      await takeScreenshot(page, 'moments', true);
    }));

  test('is looked through again, and only it, where every second is asked for', () =>
    stage.visit(async (page) => {
      const asked: string[] = [];
      page.on('request', (request) => {
        if (request.method() === 'POST') asked.push(request.url().replace(/^.*\//, ''));
      });
      await filesInput(page).setInputFiles([await film('film.webm'), ...(await scenePhotos(1))]);
      await classify(page, 'blue, red');
      await untilClassified(page);
      await page.getByLabel('Look at every second of the video (slower)').check();
      await page.getByText('The video will be sent.').waitFor();
      await page.getByRole('button', { name: 'Classify' }).click();
      await untilClassified(page);
      expect(asked).toEqual([
        expect.stringContaining('categorize?'),
        expect.stringMatching(/^video\?.*moments=true&thorough=false/),
        expect.stringMatching(/^video\?.*moments=true&thorough=true/),
      ]);
    }));

  test('has each warning once', () =>
    stage.visit(async (page) => {
      const warnings = ['It ends early.', 'A frame is damaged.', 'It ends early.'];
      const event = { event: 'result', data: { ...videoDetails, warnings } };
      await page.route('**/video?*', (route) => route.fulfill({ body: `${JSON.stringify(event)}\n` }));
      await filesInput(page).setInputFiles([await film('film.webm')]);
      await classify(page, 'cat, dog, bird');
      await untilClassified(page);
      for (const sentence of warnings) expect(await page.getByText(sentence).count()).toBe(1);
    }));

  test('minimum score and count change what is shown; it is saved without a new upload', () =>
    stage.visit(async (page) => {
      await filesInput(page).setInputFiles([await film('film.webm')]);
      await classify(page, 'blue, pink');
      await untilClassified(page);
      expect(await page.locator('.best-frame').count()).toBe(2);
      await page.getByRole('slider', { name: 'Minimum score' }).fill('100');
      await page
        .locator('#best-frames')
        .getByText(/^Categor(?:y|ies) without a match: /)
        .waitFor();
      await page.getByRole('slider', { name: 'Minimum score' }).fill('0');
      const times = page.locator('.best-frame').first().locator('.time');
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
      await page.locator('.best-frame').waitFor();
      expect(await page.locator('#video-fault').isVisible()).toBe(false);
    }));

  test('that the browser cannot play is looked through all the same', () =>
    stage.visit(async (page) => {
      const form: VideoRecipe = { ...recipe, encoder: 'mpeg4', options: {}, container: 'mp4' };
      await filesInput(page).setInputFiles([{ ...(await film('old.mp4', form)), mimeType: 'video/mp4' }]);
      await classify(page, 'blue, red');
      await untilClassified(page);
      await page.getByText('This browser cannot play this video').waitFor();
      expect(await page.locator('.best-frame img').count()).toBe(2);
      // Nothing that leads nowhere.
      expect(await page.locator('#player').isVisible()).toBe(false);
      const buttons = page.locator('#video-answer').locator('.mark, .time');
      expect(await buttons.count()).toBeGreaterThan(4);
      for (const button of await buttons.all()) expect(await button.isDisabled()).toBe(true);
      expect(await page.getByText('Choose a part to see its best frame.').count()).toBe(0);
      await takeScreenshot(page, 'unplayable', true);
      await page.getByRole('spinbutton', { name: 'Show top' }).fill('1');
      await buttons.nth(5).waitFor();
      for (const button of await buttons.all()) expect(await button.isDisabled()).toBe(true);
      await filesInput(page).setInputFiles([await film('film.webm')]);
      await page.locator('#player').waitFor();
    }));
});
