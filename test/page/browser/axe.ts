import { expect } from 'bun:test';
import axe from 'axe-core';
import type { Page } from 'playwright-core';
import { takeScreenshot } from './visit.ts';

interface Violation {
  readonly id: string;
  readonly nodes: readonly { readonly html: string; readonly failureSummary?: string }[];
}

/** All violations that axe finds, of any severity. */
export async function violationsOf(page: Page): Promise<string[]> {
  await page.evaluate(axe.source);
  const { violations } = (await page.evaluate('axe.run()')) as { violations: readonly Violation[] };
  return violations.flatMap(({ id, nodes }) =>
    nodes.map(({ html, failureSummary }) => `${id}: ${html.slice(0, 200)} ${failureSummary}`),
  );
}

/**
 * Looks at the page as it is, in light, in dark and on a phone: axe finds nothing wrong, and all fits into the width.
 * @param name of the screenshots
 */
export async function looksGood(page: Page, name: string): Promise<void> {
  const before = page.viewportSize() ?? { width: 1200, height: 900 };
  for (const [scheme, width, height] of [
    ['light', 1200, 900],
    ['dark', 1200, 900],
    ['light', 390, 844],
  ] as const) {
    await page.emulateMedia({ colorScheme: scheme });
    await page.setViewportSize({ width, height });
    await takeScreenshot(page, `${name}-${scheme}-${width}`, true);
    expect(await violationsOf(page)).toEqual([]);
    expect(await page.evaluate('document.scrollingElement.scrollWidth')).toBe(width);
  }
  await page.setViewportSize(before);
}
