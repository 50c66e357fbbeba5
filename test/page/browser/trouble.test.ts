import { expect, test } from 'bun:test';
import type { Page } from 'playwright-core';
import type { EngineState } from '../../../src/classify/classifier.ts';
import { createFakeEngine } from '../../http/fake-engine.ts';
import { start } from '../../http/harness.ts';
import { startService } from '../../service/service.ts';
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

  test('no files, no categories: the page says so, and leads there', () =>
    stage.visit(async (page) => {
      await page.getByRole('button', { name: 'Classify' }).click();
      await page.getByText('Choose photos or a video first.').waitFor();
      expect(await page.evaluate('document.activeElement.id')).toBe('choose-files');
      await filesInput(page).setInputFiles(await scenePhotos(1));
      await page.getByRole('button', { name: 'Classify' }).click();
      await page.getByText('Enter at least one category.').waitFor();
      expect(await page.evaluate('document.activeElement.id')).toBe('labels');
    }));

  test.each([
    ['"never closed', '', 'A double quote is opened and never closed.', 'labels'],
    [`${'word '.repeat(100)}`, '', /tokens/, 'labels'],
    ['green', 'no place', /must hold \{\} exactly once/, 'template'],
  ])('categories %j with the template %j: said beside the field', (categories, template, sentence, field) =>
    stage.visit(async (page) => {
      await filesInput(page).setInputFiles(await scenePhotos(1));
      await page.getByText('Prompt template (advanced)').click();
      await page.getByLabel('Template').fill(template);
      await classify(page, categories);
      await page.locator(`#${field}-fault`).filter({ hasText: sentence }).waitFor();
      expect(await page.locator(`#${field}`).getAttribute('aria-invalid')).toBe('true');
      expect(await page.evaluate('document.activeElement.id')).toBe(field);
      expect(await page.locator('.note:not([hidden])').count()).toBe(0);
    }),
  );

  test('a service that has gone is named; what was answered stays', async () => {
    await using service = await startService({ CLIP_MODEL: 'demo', CLIP_CACHE: `${stage.folder}/cache` });
    await service.ready();
    await stage.visit(
      async (page) => {
        const photos = await scenePhotos(1);
        await filesInput(page).setInputFiles(photos.slice(0, 2));
        await classify(page, 'green, blue');
        await untilClassified(page);
        await service.stop();
        await filesInput(page).setInputFiles(photos.slice(2));
        await page.evaluate(`{
          window.said = [];
          const wait = document.getElementById('progress-wait');
          new MutationObserver(() => window.said.push(wait.textContent)).observe(wait, { childList: true });
        }`);
        await page.getByRole('button', { name: 'Classify' }).click();
        // The sentence is visible for one second only.
        const sentence = 'The service cannot be reached. Trying again in 1 s.';
        await untilTrue(page, `window.said.includes(${JSON.stringify(sentence)})`);
        await page.getByText(/^The service cannot be reached\. Results so far are kept/).waitFor();
        expect(await page.locator('#group-label-0').textContent()).toContain('green');
        expect(await page.locator('#group-waiting').textContent()).toContain('4');
        await takeScreenshot(page, 'unreachable');
      },
      { address: service.url },
    );
  });

  test('a run is stopped; a click goes on with it', async () => {
    await using server = start({ engine: busyEngine() });
    await stage.visit(
      async (page) => {
        await filesInput(page).setInputFiles([textFile('a.jpg', 'cat'), textFile('b.jpg', 'dog')]);
        await classify(page, 'cat, dog');
        await untilTrue(page, '/^\\d+ % · Sort photos by words$/.test(document.title)');
        await page.getByRole('button', { name: 'Stop' }).click();
        await page.getByRole('button', { name: 'Classify' }).waitFor();
        expect(await page.evaluate('document.activeElement.id')).toBe('classify');
        expect(await page.locator('#progress').isVisible()).toBe(false);
        expect(await page.title()).toBe('Sort photos by words');
        await page.getByText('2 photos will be sent.').waitFor();
      },
      { address: server.address('/') },
    );
  });

  test('while the model comes, the page says how far it is, waits with the photos, and goes on', async () => {
    let state: EngineState = {
      state: 'loading',
      sentence: 'Downloading.',
      progress: { stage: 'downloading', bytesDone: 120_000_000, bytesTotal: 354_000_000, secondsLeft: 75 },
    };
    await using server = start({ engine: () => state });
    await stage.visit(
      async (page) => {
        const sentence = 'Downloading the model: 120 MB of 354 MB, about 1 min 15 s left.';
        await page.locator('#banner-text').filter({ hasText: sentence }).waitFor();
        const bar = page.getByRole('progressbar', { name: 'Loading the model' });
        expect(Number(await bar.getAttribute('value'))).toBeCloseTo(120 / 354);
        await takeScreenshot(page, 'loading');
        state = { state: 'loading', sentence: 'Soon.', progress: { stage: 'warming_up', secondsLeft: 1 } };
        await filesInput(page).setInputFiles([textFile('a.jpg', 'cat')]);
        await classify(page, 'cat, dog');
        await waits(page, 'Soon. Trying again in 1 s.');
        state = { state: 'ready', classifier: createFakeEngine().classifier };
        await untilClassified(page);
        await page.getByText('Model: CLIP fake').waitFor();
        expect(await page.locator('#banner').isVisible()).toBe(false);
      },
      { address: server.address('/') },
    );
  });

  test('while an operator has to bring the model, the page waits with the photos, and goes on', async () => {
    let state: EngineState = { state: 'unavailable', sentence: 'Bring the file.', retryAfterSeconds: 1 };
    await using server = start({ engine: () => state });
    await stage.visit(
      async (page) => {
        await filesInput(page).setInputFiles([textFile('a.jpg', 'cat')]);
        await classify(page, 'cat, dog');
        await waits(page, 'Bring the file. Trying again in 1 s.');
        state = { state: 'ready', classifier: createFakeEngine().classifier };
        await untilClassified(page);
      },
      { address: server.address('/') },
    );
  });
});

async function waits(page: Page, sentence: string): Promise<void> {
  await page.locator('#progress-wait').filter({ hasText: sentence }).waitFor();
}

/** Answers that it is busy, for the whole test. */
function busyEngine(): () => EngineState {
  const progress = { stage: 'searching', secondsLeft: 60 } as const;
  return () => ({ state: 'loading', sentence: 'Not yet.', progress });
}

describeInBrowser('a service with a key', () => {
  const key = 'a long enough key';
  const stage = useStage({ API_KEY: key });

  test('asks for it, says when it is wrong, and keeps it nowhere', () =>
    stage.visit(async (page) => {
      await filesInput(page).setInputFiles((await scenePhotos(1)).slice(0, 1));
      await classify(page, 'green, blue');
      await page.getByText('This service needs an API key.').waitFor();
      expect(await page.evaluate('document.activeElement.id')).toBe('key');
      await takeScreenshot(page, 'key');
      await page.getByLabel('API key').fill('wrong');
      await page.keyboard.press('Enter');
      await page.getByText('The API key is not the one of this service.').waitFor();
      await page.getByLabel('API key').fill(key);
      await page.getByRole('button', { name: 'Use this key' }).click();
      await untilClassified(page);
      expect(await page.locator('#group-label-0').textContent()).toContain('green');
      expect(
        await page.evaluate('localStorage.length + sessionStorage.length + document.cookie.length'),
      ).toBe(0);
      expect(await page.getByLabel('API key').inputValue()).toBe('');
    }));
});
