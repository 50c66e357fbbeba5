import { expect, test } from 'bun:test';
import type { EngineState } from '../../../src/classify/classifier.ts';
import { start } from '../../http/harness.ts';
import { scenePhotos, textFile } from './sample-files.ts';
import {
  classify,
  describeInBrowser,
  filesInput,
  takeScreenshot,
  untilClassified,
  untilTrue,
  useStage,
} from './visit.ts';

describeInBrowser('when something is missing or wrong', () => {
  const stage = useStage();

  test('without words, the photos are shown, and the page asks for words', () =>
    stage.visit(async (page) => {
      await filesInput(page).setInputFiles(await scenePhotos(1));
      await untilClassified(page);
      await page.getByText('Write the words to sort them by into the line above.').waitFor();
      expect(await page.evaluate('document.activeElement.id')).toBe('labels');
      expect(await page.locator('.tile').count()).toBe(6);
      await takeScreenshot(page, 'no-words');
    }));

  test('a text that cannot be read is said below the field, once, and stays there to be corrected', () =>
    stage.visit(async (page) => {
      await filesInput(page).setInputFiles(await scenePhotos(1));
      await classify(page, '"never closed');
      await page.locator('#labels-fault').filter({ hasText: 'A double quote is opened' }).waitFor();
      const field = page.getByRole('textbox', { name: 'Categories' });
      expect(await field.getAttribute('aria-invalid')).toBe('true');
      expect(await field.inputValue()).toBe('"never closed');
      await field.press('End');
      await field.press('"');
      await page.locator('#labels-fault').waitFor({ state: 'hidden' });
      await field.press('Enter');
      expect(await page.locator('.chip-text').allTextContents()).toEqual(['never closed']);
    }));

  test('a word that is too long is marked, and the photos are sorted by the others', () =>
    stage.visit(async (page) => {
      await filesInput(page).setInputFiles(await scenePhotos(1));
      await classify(page, `green, ${'word '.repeat(100)}, blue`);
      await untilClassified(page);
      await page
        .locator('#labels-fault')
        .filter({ hasText: /tokens/ })
        .waitFor();
      expect(
        await page.locator('.chip').evaluateAll((chips) => chips.map(({ className }) => className)),
      ).toEqual(['chip', 'chip faulty', 'chip']);
      await page.getByRole('tab', { name: 'green 1 photo', exact: true }).waitFor();
      expect(await page.locator('.fault:visible').count()).toBe(1);
    }));

  test('a sentence without a place for the word is said beside its field', () =>
    stage.visit(async (page) => {
      await filesInput(page).setInputFiles(await scenePhotos(1));
      await classify(page, 'green');
      await untilClassified(page);
      await page.getByText('Options', { exact: true }).click();
      await page.getByLabel('Sentence around each word').selectOption('own');
      await page.locator('#template').fill('no place');
      await page
        .locator('#template-fault')
        .filter({ hasText: /must hold \{\} exactly once/ })
        .waitFor();
      expect(await page.locator('#template').getAttribute('aria-invalid')).toBe('true');
      await page.locator('#template').fill('a {}');
      await page.locator('#template-fault').waitFor({ state: 'hidden' });
    }));

  test('a run is stopped; a click goes on with it', async () => {
    await using server = start({ engine: busyEngine() });
    await stage.visit(
      async (page) => {
        await filesInput(page).setInputFiles([textFile('a.jpg', 'cat'), textFile('b.jpg', 'dog')]);
        await untilTrue(page, '/^\\d+ % · Sort photos by words$/.test(document.title)');
        await page.getByRole('button', { name: 'Stop' }).click();
        await page.getByRole('button', { name: 'Continue (2 left)' }).waitFor();
        expect(await page.evaluate('document.activeElement.id')).toBe('classify');
        expect(await page.locator('#progress').isVisible()).toBe(false);
        expect(await page.title()).toBe('Sort photos by words');
        await page.getByRole('button', { name: 'Continue (2 left)' }).click();
        await page.getByRole('button', { name: 'Stop' }).waitFor();
      },
      { address: server.address('/') },
    );
  });
});

/** Answers that it is busy, for the whole test. */
function busyEngine(): () => EngineState {
  const progress = { stage: 'searching', secondsLeft: 60 } as const;
  return () => ({ state: 'loading', sentence: 'Not yet.', progress });
}
