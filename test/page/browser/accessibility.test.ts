import { expect, test } from 'bun:test';
import { readFile } from 'node:fs/promises';
import axe from 'axe-core';
import type { Page } from 'playwright-core';
import { makeVideo } from '../../fixtures/videos.ts';
import { sceneColours, scenePhotos, textFile } from './sample-files.ts';
import {
  classify,
  describeInBrowser,
  filesInput,
  takeScreenshot,
  untilClassified,
  useStage,
} from './visit.ts';

interface Violation {
  readonly id: string;
  readonly nodes: readonly { readonly html: string; readonly failureSummary?: string }[];
}

/** All violations that axe finds, of any severity. */
async function violationsOf(page: Page): Promise<string[]> {
  await page.evaluate(axe.source);
  const { violations } = (await page.evaluate('axe.run()')) as { violations: readonly Violation[] };
  return violations.flatMap(({ id, nodes }) =>
    nodes.map(({ html, failureSummary }) => `${id}: ${html.slice(0, 200)} ${failureSummary}`),
  );
}

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
  ['complaints', (page) => page.getByRole('button', { name: 'Classify' }).click()],
  ['photos', showPhotos],
  [
    'the best photos',
    async (page) => {
      await showPhotos(page);
      await page.getByLabel('Best photos per category').check();
    },
  ],
  [
    'one photo',
    async (page) => {
      await showPhotos(page);
      await page.locator('.photo').last().click();
    },
  ],
  ['a video', showVideo],
  [
    'files that are not used',
    async (page) => {
      const films = ['a.mp4', 'b.mp4'].map((name) => ({ ...textFile(name, name), mimeType: 'video/mp4' }));
      await filesInput(page).setInputFiles(films);
      await page.getByText('Which files are not used, and why').click();
    },
  ],
];

describeInBrowser('the page is for everybody', () => {
  const stage = useStage();

  for (const [name, show] of states) {
    test(`${name}: axe finds nothing wrong in light, in dark and on a phone, and it fits there`, () =>
      stage.visit(async (page) => {
        const screenshot = name.replaceAll(' ', '-');
        await show(page);
        expect(await violationsOf(page)).toEqual([]);
        await takeScreenshot(page, `${screenshot}-light`);
        await page.emulateMedia({ colorScheme: 'dark' });
        expect(await violationsOf(page)).toEqual([]);
        await takeScreenshot(page, `${screenshot}-dark`);
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
            '(document.activeElement.id || document.activeElement.textContent.trim() || document.activeElement.tagName).slice(0, 40)',
          ),
        );
        if (reached.includes(name)) break;
        reached.push(name);
      }
      expect(reached.slice(0, 17)).toEqual([
        'API',
        'choose-files',
        'choose-folder',
        'clear',
        'labels',
        'choose-labels',
        'Prompt template (advanced)',
        'classify',
        'view-groups',
        'photos-threshold',
        'photos-top-k',
        '?',
        'Save as JSON',
        'Save as CSV',
        'Could not be used 1',
        'green 2',
        'blue 2',
      ]);
      expect(reached).toContain('no-picture.jpg');
      expect(reached).toContain('Try these again');
      expect(reached.filter((name) => name.endsWith('.jpg'))).toHaveLength(13);
    }));

  test('what happens is said: how it ended, and how many could not be used', () =>
    stage.visit(async (page) => {
      await showPhotos(page);
      await page
        .getByRole('status')
        .filter({ hasText: '12 photos classified. 1 file could not be used.' })
        .waitFor();
    }));
});
