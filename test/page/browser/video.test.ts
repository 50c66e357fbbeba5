import { expect, test } from 'bun:test';
import { readFile } from 'node:fs/promises';
import type { Page } from 'playwright-core';
import { makeVideo, type VideoRecipe } from '../../fixtures/videos.ts';
import { videoDetails } from '../video-details.ts';
import { looksGood } from './axe.ts';
import { readZip } from './read-zip.ts';
import { type SampleFile, scenePhotos, textFile } from './sample-files.ts';
import { searchVideo, untilSearched, untilSorted } from './sorting.ts';
import { describeInBrowser, filesInput, takeScreenshot, untilTrue, useStage } from './visit.ts';

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
      await searchVideo(page, ['blue', 'something green', 'green', 'yellow']);
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
        .getByRole('button', { name: /^Best at 0:0[34]\.\d: go to the best frame of blue$/ })
        .press('Enter');
      await untilTrue(page, 'document.querySelector("video").currentTime < 4.8');
      // The pictures are complete.
      const widths =
        'Array.from(document.querySelectorAll(".best-frame img"), (image) => image.naturalWidth)';
      await page.locator('.best-frame img').last().scrollIntoViewIfNeeded();
      await untilTrue(page, `${widths}.every((width) => width === 320)`);
      await looksGood(page, 'video');
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
      await searchVideo(page, ['blue', 'red']);
      const rows = page.locator('.best-frame');
      expect(await rows.locator('h3').allTextContents()).toEqual(['blue', 'red']);
      const parts = rows.first().locator('ul').getByRole('button');
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
      await searchVideo(page, ['blue', 'red']);
      await untilSorted(page, 6);
      await page.getByLabel('Look at every second (slower)').check();
      await page.getByRole('button', { name: 'Search the video' }).click();
      await page.getByRole('button', { name: 'Search the video' }).waitFor({ state: 'hidden' });
      await untilSearched(page);
      expect(asked.filter((path) => path.startsWith('video?'))).toEqual([
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
      await searchVideo(page, ['cat', 'dog', 'bird']);
      for (const sentence of warnings) expect(await page.getByText(sentence).count()).toBe(1);
    }));

  test('opens a frame large, leads to it, and saves it as the service made it', () =>
    stage.visit(async (page) => {
      await filesInput(page).setInputFiles([await film('film.webm')]);
      await searchVideo(page, ['blue', 'yellow']);
      await page.getByRole('button', { name: /^blue, the frame at/ }).click();
      const dialog = page.getByRole('dialog');
      await dialog.getByRole('heading', { name: 'blue' }).waitFor();
      expect(await dialog.getByRole('img').getAttribute('alt')).toMatch(/^blue, the frame at 0:0[34]\.\d$/);
      await looksGood(page, 'frame');
      await page.keyboard.press('ArrowRight');
      await dialog.getByRole('heading', { name: 'yellow' }).waitFor();
      const download = page.waitForEvent('download');
      await dialog.getByRole('button', { name: 'Save this frame' }).click();
      const saved = await download;
      expect(saved.suggestedFilename()).toMatch(/^film-[4567]\.\d{3}\.jpg$/);
      const jpeg = await readFile(await saved.path());
      expect([...jpeg.subarray(0, 3)]).toEqual([0xff, 0xd8, 0xff]);
      await dialog.getByRole('button', { name: 'Show in the video' }).click();
      await dialog.waitFor({ state: 'hidden' });
      await untilTrue(page, 'document.querySelector("video").currentTime > 4.8');
    }));

  test('all frames and the answers are saved without a new upload', () =>
    stage.visit(async (page) => {
      await filesInput(page).setInputFiles([await film('film.webm')]);
      await searchVideo(page, ['blue', 'pink']);
      const zip = page.waitForEvent('download');
      await page.getByRole('button', { name: 'Save all frames' }).click();
      const names = readZip(await (await zip).path()).map(({ name }) => name);
      expect(names).toEqual([
        expect.stringMatching(/^blue\/film-[34]\.\d{3}\.jpg$/),
        expect.stringMatching(/^pink\/film-\d\.\d{3}\.jpg$/),
      ]);
      const download = page.waitForEvent('download');
      await page.getByRole('button', { name: 'Save as JSON' }).click();
      const saved = await download;
      expect(saved.suggestedFilename()).toBe('video.json');
      expect(JSON.parse(await readFile(await saved.path(), 'utf8'))).toMatchObject({
        file: 'film.webm',
        results: [{ category: 'blue', scores: expect.anything() }, { category: 'pink' }],
      });
    }));

  test('names the categories that nothing in it fits, if a person asks for that', () =>
    stage.visit(async (page) => {
      const asked: string[] = [];
      const [cat, dog, bird] = videoDetails.results;
      const results = [cat, dog, { ...bird!, file: null, timestamp: null, score: 0.2 }];
      const event = { event: 'result', data: { ...videoDetails, results } };
      await page.route('**/video?*', async (route) => {
        asked.push(route.request().url());
        await route.fulfill({ body: `${JSON.stringify(event)}\n` });
      });
      await filesInput(page).setInputFiles([await film('film.webm')]);
      await page.getByLabel('Leave out what is not in the video').check();
      await searchVideo(page, ['cat', 'dog', 'bird']);
      await page.getByText('Not in this video: bird.').waitFor();
      expect(await page.locator('.best-frame h3').allTextContents()).not.toContain('bird');
      expect(asked).toEqual([expect.stringContaining('others=true')]);
    }));

  test('of one scene shows one frame for all categories', () =>
    stage.visit(async (page) => {
      const still: VideoRecipe = { ...recipe, scenes: [{ colour: 'red', seconds: 2 }] };
      await filesInput(page).setInputFiles([await film('still.webm', still)]);
      await searchVideo(page, ['blue', 'red', 'pink']);
      await page.getByText(/^One scene: all categories (?:at|between) 0:0/).waitFor();
      expect(await page.locator('.best-frame').count()).toBe(1);
      expect(await page.locator('.fits li').allTextContents()).toEqual(['red', 'pink', 'blue']);
      expect(await page.locator('#timeline').isVisible()).toBe(false);
      await looksGood(page, 'one-scene');
    }));

  test('that is none is named as such, and nothing else breaks', () =>
    stage.visit(async (page) => {
      await filesInput(page).setInputFiles([{ ...textFile('film.mp4', 'no video'), mimeType: 'video/mp4' }]);
      await searchVideo(page, ['blue']);
      expect(await page.locator('#video-fault').textContent()).toMatch(/\w+/);
      expect(await page.locator('#video-answer').isVisible()).toBe(false);
      // One reason is enough.
      expect(await page.locator('#unplayable').isVisible()).toBe(false);
      await looksGood(page, 'broken-video');
      await filesInput(page).setInputFiles([await film('film.webm')]);
      await page.getByRole('button', { name: 'Search the video' }).click();
      await page.locator('.best-frame').waitFor();
      expect(await page.locator('#video-fault').isVisible()).toBe(false);
    }));

  test('that the browser cannot play is looked through all the same', () =>
    stage.visit(async (page) => {
      const form: VideoRecipe = { ...recipe, encoder: 'mpeg4', options: {}, container: 'mp4' };
      await filesInput(page).setInputFiles([{ ...(await film('old.mp4', form)), mimeType: 'video/mp4' }]);
      await searchVideo(page, ['blue', 'red']);
      await page.getByText('This browser cannot play this video').waitFor();
      expect(await page.locator('.best-frame img').count()).toBe(2);
      // Nothing that leads nowhere.
      expect(await page.locator('#player').isVisible()).toBe(false);
      const buttons = page.locator('#video-answer').locator('.mark, .time');
      expect(await buttons.count()).toBeGreaterThan(4);
      for (const button of await buttons.all()) expect(await button.isDisabled()).toBe(true);
      await looksGood(page, 'unplayable');
      // The pictures are there all the same.
      await page.locator('.frame').first().click();
      await page.getByRole('button', { name: 'Save this frame' }).waitFor();
      expect(await page.getByRole('button', { name: 'Show in the video' }).isVisible()).toBe(false);
      await page.keyboard.press('Escape');
      await filesInput(page).setInputFiles([await film('film.webm')]);
      await page.locator('#player').waitFor();
    }));
});
