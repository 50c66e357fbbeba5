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

/** Adds words and a file that cannot be used; the page has the photos. */
async function sortPhotos(page: Page): Promise<void> {
  await filesInput(page).setInputFiles([textFile('no-picture.jpg', 'x')]);
  await classify(page, `${sceneColours.join('\n')}\npink`);
  await untilClassified(page);
}

async function showPhotos(page: Page): Promise<void> {
  await filesInput(page).setInputFiles(await scenePhotos(1));
  await sortPhotos(page);
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

type State = readonly [name: string, show: (page: Page) => Promise<unknown>];

/** The states of each visit, one reached from the other. */
const visits: Readonly<Record<string, readonly State[]>> = {
  'photos and their results': [
    ['the empty page', async () => undefined],
    [
      'photos without words',
      async (page) => {
        await filesInput(page).setInputFiles(await scenePhotos(1));
        await untilClassified(page);
        await page.locator('.tile').nth(5).waitFor();
      },
    ],
    ['photos', sortPhotos],
    ['one group', (page) => page.getByRole('tab', { name: 'blue 1 photo' }).click()],
    ['broken files', (page) => page.getByRole('tab', { name: /^Could not be used/ }).click()],
    [
      'one photo',
      async (page) => {
        await page.getByRole('tab', { name: /^All/ }).click();
        await page.locator('.photo').last().click();
        await page.getByRole('dialog').waitFor();
      },
    ],
    [
      'an edited word',
      async (page) => {
        await page.keyboard.press('Escape');
        await page.getByRole('button', { name: 'green', exact: true }).click();
        await page.getByRole('textbox', { name: 'Edit the category' }).waitFor();
      },
    ],
    [
      'the options',
      async (page) => {
        await page.keyboard.press('Escape');
        await page.locator('#options summary').click();
        await page.getByLabel('Sentence around each word').selectOption('own');
        await untilClassified(page);
      },
    ],
    [
      'the note about the page',
      async (page) => {
        await page.keyboard.press('Escape');
        await page.getByText('About', { exact: true }).click();
      },
    ],
  ],
  'unsure photos': [
    [
      'unsure photos',
      async (page) => {
        await filesInput(page).setInputFiles(await scenePhotos(1));
        await classify(page, 'green, purple flowers');
        await untilClassified(page);
        await page.getByRole('tab', { name: /^Unsure/ }).click();
      },
    ],
  ],
  'a video': [
    ['a video', showVideo],
    [
      'files that are not used',
      async (page) => {
        const films = ['a.mp4', 'b.mp4'].map((name) => ({ ...textFile(name, name), mimeType: 'video/mp4' }));
        await filesInput(page).setInputFiles(films);
        await page.locator('#files-note').click();
      },
    ],
  ],
};

/** In light, in dark, in forced colours and on a phone, axe finds nothing wrong in a state, and it fits there. */
async function isForEverybody(page: Page, state: string): Promise<void> {
  const screenshot = state.replaceAll(' ', '-');
  const finds = async (what: 'everything' | 'colours', theme: string) =>
    expect({ state, theme, violations: await violationsOf(page, what) }).toEqual({
      state,
      theme,
      violations: [],
    });
  await finds('everything', 'light');
  await takeScreenshot(page, `${screenshot}-light`);
  await page.emulateMedia({ colorScheme: 'dark' });
  await finds('colours', 'dark');
  await takeScreenshot(page, `${screenshot}-dark`);
  await page.emulateMedia({ colorScheme: 'light', forcedColors: 'active' });
  await finds('colours', 'forced colours');
  await takeScreenshot(page, `${screenshot}-forced-colours`);
  await page.emulateMedia({ colorScheme: 'light', forcedColors: 'none' });
  await page.setViewportSize({ width: 390, height: 844 });
  await finds('everything', 'phone');
  expect(await page.evaluate('document.scrollingElement.scrollWidth')).toBe(390);
  await takeScreenshot(page, `${screenshot}-phone`, true);
  await page.setViewportSize({ width: 1200, height: 900 });
}

describeInBrowser('the page is for everybody', () => {
  const stage = useStage();

  for (const [name, states] of Object.entries(visits)) {
    test(`${name}: axe finds nothing wrong in light, in dark, in forced colours and on a phone, and it fits there`, () =>
      stage.visit(async (page) => {
        for (const [state, show] of states) {
          await show(page);
          await isForEverybody(page, state);
        }
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
        expect.stringMatching(/^meadow-0\.jpg$/),
        'Show',
        'BODY',
      ]);
    }));

  test('what happens is said: how it ended, and how many could not be used', () =>
    stage.visit(async (page) => {
      await showPhotos(page);
      await page
        .getByRole('status')
        .filter({ hasText: /^Photos sorted: green 1, blue 1, .* 1 file could not be used\.$/ })
        .waitFor();
    }));
});
