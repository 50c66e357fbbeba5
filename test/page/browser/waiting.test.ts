import { expect, test } from 'bun:test';
import type { Page } from 'playwright-core';
import type { EngineState } from '../../../src/classify/classifier.ts';
import { demoCache } from '../../fixtures/demo-cache.ts';
import { createFakeEngine } from '../../http/fake-engine.ts';
import { start } from '../../http/harness.ts';
import { startService } from '../../service/service.ts';
import { looksGood } from './axe.ts';
import { scenePhotos, textFile } from './sample-files.ts';
import { addCategories, untilSorted } from './sorting.ts';
import { describeInBrowser, filesInput, untilTrue, useStage } from './visit.ts';

const ready = (): EngineState => ({ state: 'ready', classifier: createFakeEngine().classifier });

/** Red boxes that are visible. */
const faults = (page: Page) =>
  page.evaluate(
    '[...document.querySelectorAll(".fault")].filter((box) => box.checkVisibility() && box.textContent !== "").map((box) => box.textContent)',
  ) as Promise<string[]>;

/** What the page says about waiting, each text once. */
const bannerText = (page: Page) => page.locator('#banner-text').textContent();

describeInBrowser('waiting does not look like failing', () => {
  const stage = useStage();

  test('while the model is downloaded: no red, one sentence with the time left, a bar at nothing', async () => {
    let state: EngineState = {
      state: 'loading',
      sentence: 'The model is being downloaded (34 %), about 75 s left.',
      progress: { stage: 'downloading', bytesDone: 120_000_000, bytesTotal: 354_000_000, secondsLeft: 75 },
    };
    await using server = start({ engine: () => state });
    await stage.visit(
      async (page) => {
        const sentence = 'Downloading the model: 120 MB of 354 MB, about 1 min 15 s left.';
        await page.locator('#banner-text').getByText(sentence).waitFor();
        await filesInput(page).setInputFiles([textFile('a.jpg', 'cat'), textFile('b.jpg', 'dog')]);
        await addCategories(page, ['cat', 'dog']);
        await page.getByText('Waiting for the service. The run then continues by itself.').waitFor();
        expect(await page.locator('#progress-text').textContent()).toBe('0 of 2 photos classified');
        expect(Number(await page.locator('#progress-bar').getAttribute('value'))).toBe(0);
        expect(await faults(page)).toEqual([]);
        expect(
          await page
            .locator('main')
            .getByText(/downloaded|Downloading/)
            .count(),
        ).toBe(1);
        expect(
          await page
            .locator('main')
            .getByText(/[Tt]ry(?:ing)? again/)
            .count(),
        ).toBe(0);
        await looksGood(page, 'waiting-for-the-model');
        state = ready();
        await untilSorted(page, 2);
        expect(await page.locator('#banner').isVisible()).toBe(false);
      },
      { address: server.address('/') },
    );
  });

  test('without the internet, the long sentence stands there once', async () => {
    const sentence =
      'The model cannot be downloaded: https://models.example/clip/ViT-B-32.pt cannot be reached. Trying again in 60 s.';
    let state: EngineState = { state: 'unavailable', sentence, retryAfterSeconds: 60 };
    await using server = start({ engine: () => state });
    await stage.visit(
      async (page) => {
        await filesInput(page).setInputFiles([textFile('a.jpg', 'cat')]);
        await addCategories(page, ['cat', 'dog']);
        await page.getByText('Waiting for the service.').waitFor();
        expect(await bannerText(page)).toBe(sentence);
        expect(
          await page
            .locator('main')
            .getByText(/models\.example/)
            .count(),
        ).toBe(1);
        await looksGood(page, 'without-the-internet');
        state = ready();
        await untilSorted(page, 1);
        expect(await faults(page)).toEqual([]);
      },
      { address: server.address('/') },
    );
  });

  test('a busy service: the seconds to the next attempt are counted down', () =>
    stage.visit(async (page) => {
      let isBusy = true;
      await page.route('**/embeddings?*thumbnails*', async (route) => {
        if (!isBusy) return await route.continue();
        await route.fulfill({
          status: 503,
          headers: { 'retry-after': '3' },
          json: { error: 'The service is busy.', code: 'overloaded', retry_after_seconds: 3 },
        });
      });
      await filesInput(page).setInputFiles(await scenePhotos(1));
      await addCategories(page, ['green', 'blue']);
      for (const seconds of [3, 2, 1]) {
        await page.getByText(`The service is busy. Trying again in ${seconds} s.`).waitFor();
      }
      isBusy = false;
      expect(await faults(page)).toEqual([]);
      await untilSorted(page, 6);
    }));

  test('a service that has gone is named once; the run goes on by itself when it is back', async () => {
    const environment = { CLIP_MODEL: 'demo', CLIP_CACHE: demoCache() };
    const first = await startService(environment);
    await first.ready();
    const PORT = new URL(first.url).port;
    await stage.visit(
      async (page) => {
        const photos = await scenePhotos(1);
        await filesInput(page).setInputFiles(photos.slice(0, 2));
        await addCategories(page, ['green', 'blue']);
        await untilSorted(page, 2);
        await first.stop();
        await filesInput(page).setInputFiles(photos.slice(2));
        const sentence = 'The service cannot be reached. The page tries again every second.';
        await page.locator('#banner-text').getByText(sentence).waitFor();
        await page.getByText('Waiting for the service. The run then continues by itself.').waitFor();
        expect(await page.locator('main').getByText('cannot be reached').count()).toBe(1);
        await looksGood(page, 'service-gone');
        await using second = await startService({ ...environment, PORT });
        await second.ready();
        await untilSorted(page, 6);
        expect(await faults(page)).toEqual([]);
        expect(await page.locator('#banner').isVisible()).toBe(true);
        expect(await bannerText(page)).toContain('demo model');
      },
      { address: first.url },
    );
  });

  test('a run that is stopped says how far it came, and what goes on', () =>
    stage.visit(async (page) => {
      await page.route('**/embeddings?*thumbnails*', (route) =>
        route.fulfill({
          status: 503,
          json: { error: 'The service is busy.', code: 'overloaded', retry_after_seconds: 60 },
        }),
      );
      await filesInput(page).setInputFiles(await scenePhotos(1));
      await page.getByText('The service is busy.').waitFor();
      await page.getByRole('button', { name: 'Stop' }).click();
      await page.getByText('Stopped: 0 of 6 done.').waitFor();
      await page.unroute('**/embeddings?*thumbnails*');
      await page.getByRole('button', { name: 'Continue (6 left)' }).click();
      await addCategories(page, ['green', 'blue']);
      await untilSorted(page, 6);
    }));
});

describeInBrowser('a service with a key', () => {
  const key = 'a long enough key';
  const stage = useStage({ API_KEY: key });

  test('asks for it before photos are sent, says when it is wrong, and keeps it nowhere', () =>
    stage.visit(async (page) => {
      const sent: string[] = [];
      page.on('request', (request) => {
        if (request.method() === 'POST') sent.push(request.url());
      });
      await page.getByText('This service needs an API key.').waitFor();
      await untilTrue(page, 'document.activeElement.id === "key"');
      await looksGood(page, 'key');
      await filesInput(page).setInputFiles((await scenePhotos(1)).slice(0, 1));
      await addCategories(page, ['green', 'blue']);
      expect(sent).toEqual([]);
      await page.getByLabel('API key').fill('wrong');
      await page.keyboard.press('Enter');
      await page
        .locator('#key-reason.fault')
        .getByText('The API key is not the one of this service.')
        .waitFor();
      await page.getByLabel('API key').fill(key);
      await page.getByRole('button', { name: 'Use this key' }).click();
      await untilSorted(page, 1);
      expect(await page.evaluate('localStorage.length + document.cookie.length')).toBe(0);
      expect(String(await page.evaluate('JSON.stringify(sessionStorage)'))).not.toContain(key);
      expect(await page.locator('#key-form').isVisible()).toBe(false);
    }));
});
