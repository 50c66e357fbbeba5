import { afterAll, beforeAll, describe, expect } from 'bun:test';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Browser, BrowserContext, Page } from 'playwright-core';
import { demoCache } from '../../fixtures/demo-cache.ts';
import { type Service, startService } from '../../service/service.ts';
import { chromiumPath, startBrowser } from './chromium.ts';

/** Tests that need a browser. Without one they are skipped, and `chromium.ts` prints a warning. */
export const describeInBrowser = describe.if(chromiumPath !== undefined);

/** What a visitor has that others have not. */
export interface Visitor {
  /** Of the page. Default: the service's. */
  readonly address?: string;
  readonly viewport?: { readonly width: number; readonly height: number };
  readonly colorScheme?: 'light' | 'dark';
  readonly forcedColors?: 'active' | 'none';
  readonly permissions?: readonly string[];
}

/** A browser, the real service with the demo model, and a folder for what a test writes. */
export interface Stage {
  readonly service: Service;
  readonly folder: string;
  /**
   * Opens the page in a new tab, and closes it afterwards. Errors and warnings of the browser fail the test. The page
   * keeps its settings for a tab only, so that each tab is a new visitor. A browser context for each would take more
   * time than most tests, as it starts processes of its own.
   */
  visit(act: (page: Page) => Promise<void>, visitor?: Visitor): Promise<void>;
}

/** Sets the stage for the tests of one `describe`. */
export function useStage(environment: Readonly<Record<string, string>> = {}): Stage {
  let folder = '';
  let service: Service | undefined;
  let browser: Browser | undefined;
  let context: BrowserContext | undefined;

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'classify-images-page-'));
    [browser, service] = await Promise.all([
      startBrowser(),
      startService({ CLIP_MODEL: 'demo', CLIP_CACHE: demoCache(), ...environment }),
    ]);
    context = await browser.newContext({
      viewport: { width: 1200, height: 900 },
      colorScheme: 'light',
      // The CPU paints each frame of an animation, and nothing compares them.
      reducedMotion: 'reduce',
    });
    // Below the limit of the test, so that a failed wait reports its condition.
    context.setDefaultTimeout(120_000);
    await service.ready();
  });
  afterAll(async () => {
    await browser?.close();
    await service?.[Symbol.asyncDispose]();
    await rm(folder, { recursive: true, force: true });
  });

  return {
    get service() {
      if (!service) throw new Error('the service has not started');
      return service;
    },
    get folder() {
      return folder;
    },
    async visit(act, { address, viewport, colorScheme, forcedColors, permissions = [] } = {}) {
      if (!context || !service) throw new Error('the stage is not set');
      await context.clearPermissions();
      await context.grantPermissions(permissions);
      await using page = await context.newPage();
      if (viewport) await page.setViewportSize(viewport);
      await page.emulateMedia({ ...(colorScheme && { colorScheme }), ...(forcedColors && { forcedColors }) });
      const complaints: string[] = [];
      page.on('pageerror', ({ message }) => complaints.push(message));
      page.on('dialog', (dialog) => complaints.push(`a dialog: ${dialog.message()}`));
      page.on('console', (message) => {
        // The page shows refusals of the service, and the tests look for them there.
        const isRefusal = /^Failed to load resource: (?:the server responded|net::)/.test(message.text());
        if (/error|warning/.test(message.type()) && !isRefusal) complaints.push(message.text());
      });
      await page.goto(address ?? service.url);
      await act(page);
      expect(complaints).toEqual([]);
    },
  };
}

/**
 * Writes a screenshot into the folder PAGE_SCREENSHOTS, if it is set. The README's picture:
 * `PAGE_SCREENSHOTS=test/page/screenshots bun test test/page/browser/photos.test.ts -t 'the README shows them'`
 */
export async function takeScreenshot(page: Page, name: string, fullPage = false): Promise<void> {
  const folder = process.env.PAGE_SCREENSHOTS;
  if (!folder) return;
  // Thumbnails are drawn when they become visible.
  await page.waitForTimeout(700);
  await page.screenshot({ path: join(folder, `${name}.png`), fullPage });
}

/** Adds categories, one a line or separated by commas, and has a video searched. */
export async function classify(page: Page, categories: string): Promise<void> {
  await page.getByRole('textbox', { name: 'Categories' }).fill(categories.replaceAll('\n', ', '));
  await page.keyboard.press('Enter');
  const search = page.getByRole('button', { name: 'Search the video' });
  if (await page.locator('#video-results').isVisible()) await search.click();
}

/** Waits until everything is sent and has its answer. */
export async function untilClassified(page: Page): Promise<void> {
  await page.locator('#results[aria-busy=false]').waitFor();
}

export const filesInput = (page: Page) => page.locator('#files-input');

/**
 * Waits until an expression is true in the page. Playwright's own wait evaluates within the page, which the content
 * policy forbids.
 */
export async function untilTrue(page: Page, expression: string): Promise<void> {
  while (!(await page.evaluate(expression))) await Bun.sleep(20);
}
