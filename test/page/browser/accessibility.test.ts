import { expect, test } from 'bun:test';
import { readFile } from 'node:fs/promises';
import type { Page } from 'playwright-core';
import { makeVideo } from '../../fixtures/videos.ts';
import { violationsOf } from './axe.ts';
import { sceneColours, scenePhotos, textFile } from './sample-files.ts';
import {
  classify,
  describeInBrowser,
  filesInput,
  takeScreenshot,
  untilClassified,
  useStage,
} from './visit.ts';

async function showPhotos(page: Page): Promise<void> {
  const [photo, ...photos] = await scenePhotos(2);
  await filesInput(page).setInputFiles([photo!, ...photos, textFile('no-picture.jpg', 'x')]);
  await classify(page, `${sceneColours.join('\n')}\npink`);
  await untilClassified(page);
}

async function showVideo(page: Page): Promise<void> {
  const { path } = makeVideo({
    scenes: [
      { colour: 'red', seconds: 1 },
      { colour: 'blue', seconds: 1 },
    ],
  });
  const file = { name: 'film.mp4', mimeType: 'video/mp4', buffer: await readFile(path) };
  await filesInput(page).setInputFiles([file]);
  await classify(page, 'red, blue, pink');
  await untilClassified(page);
}

const states: readonly (readonly [name: string, show: (page: Page) => Promise<unknown>])[] = [
  ['the empty page', async () => undefined],
  [
    'photos without words',
    async (page) => {
      await filesInput(page).setInputFiles(await scenePhotos(1));
      await untilClassified(page);
    },
  ],
  ['photos', showPhotos],
  [
    'one group',
    async (page) => {
      await showPhotos(page);
      await page.getByRole('tab', { name: 'blue 2 photos' }).click();
    },
  ],
  [
    'unsure photos',
    async (page) => {
      await filesInput(page).setInputFiles(await scenePhotos(2));
      await classify(page, 'green, purple flowers');
      await untilClassified(page);
      await page.getByRole('tab', { name: /^Unsure/ }).click();
    },
  ],
  [
    'broken files',
    async (page) => {
      await showPhotos(page);
      await page.getByRole('tab', { name: /^Could not be used/ }).click();
    },
  ],
  [
    'one photo',
    async (page) => {
      await showPhotos(page);
      await page.locator('.photo').last().click();
    },
  ],
  [
    'an edited word',
    async (page) => {
      await showPhotos(page);
      await page.getByRole('button', { name: 'green', exact: true }).click();
    },
  ],
  [
    'the options',
    async (page) => {
      await showPhotos(page);
      await page.locator('#options summary').click();
      await page.getByLabel('Sentence around each word').selectOption('own');
    },
  ],
  [
    'the note about the page',
    async (page) => {
      await showPhotos(page);
      await page.getByText('About', { exact: true }).click();
    },
  ],
  ['a video', showVideo],
  [
    'files that are not used',
    async (page) => {
      const films = ['a.mp4', 'b.mp4'].map((name) => ({ ...textFile(name, name), mimeType: 'video/mp4' }));
      await filesInput(page).setInputFiles(films);
      await page.locator('#files-note').click();
    },
  ],
];

describeInBrowser('the page is for everybody', () => {
  const stage = useStage();

  for (const [name, show] of states) {
    test(`${name}: axe finds nothing wrong in light, in dark, in forced colours and on a phone, and it fits there`, () =>
      stage.visit(async (page) => {
        const screenshot = name.replaceAll(' ', '-');
        await show(page);
        expect(await violationsOf(page)).toEqual([]);
        await takeScreenshot(page, `${screenshot}-light`);
        await page.emulateMedia({ colorScheme: 'dark' });
        expect(await violationsOf(page)).toEqual([]);
        await takeScreenshot(page, `${screenshot}-dark`);
        await page.emulateMedia({ colorScheme: 'light', forcedColors: 'active' });
        expect(await violationsOf(page)).toEqual([]);
        await takeScreenshot(page, `${screenshot}-forced-colours`);
        await page.emulateMedia({ colorScheme: 'light', forcedColors: 'none' });
        await page.setViewportSize({ width: 390, height: 844 });
        expect(await violationsOf(page)).toEqual([]);
        expect(await page.evaluate('document.scrollingElement.scrollWidth')).toBe(390);
        await takeScreenshot(page, `${screenshot}-phone`, true);
      }));
  }

  test('the keyboard reaches everything, in the order it is read', () =>
    stage.visit(async (page) => {
      await showPhotos(page);
      await page.getByRole('link', { name: 'Skip to the results' }).focus();
      const reached: string[] = [];
      for (let step = 0; step < 60; step++) {
        await page.keyboard.press('Tab');
        const name = String(
          await page.evaluate(
            '(document.activeElement === document.body ? "BODY" : document.activeElement.id || document.activeElement.textContent.trim() || document.activeElement.tagName).slice(0, 40)',
          ),
        );
        if (reached.includes(name)) break;
        reached.push(name);
      }
      expect(reached.slice(0, 12)).toEqual([
        'About',
        'API',
        'green',
        'labels',
        '+ Add',
        'Options⋯',
        'tab-all',
        'strictness',
        'Save photos',
        expect.stringMatching(/^meadow-[01]\.jpg$/),
        'Show',
        'BODY',
      ]);
    }));

  test('what happens is said: how it ended, and how many could not be used', () =>
    stage.visit(async (page) => {
      await showPhotos(page);
      await page
        .getByRole('status')
        .filter({ hasText: /^Photos sorted: green 2, blue 2, .* 1 file could not be used\.$/ })
        .waitFor();
    }));
});
