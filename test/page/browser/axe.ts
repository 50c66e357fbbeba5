import { expect } from 'bun:test';
import axe from 'axe-core';
import type { Page } from 'playwright-core';
import { takeScreenshot } from './visit.ts';

interface Violation {
  readonly id: string;
  readonly nodes: readonly { readonly html: string; readonly failureSummary?: string }[];
}

/** The rules that can be broken by a colour alone. */
const colourRules = ['color-contrast', 'link-in-text-block'];

/**
 * All violations that axe finds, of any severity.
 * @param what `colours`: the page was looked at in full, and only its colours have changed since
 */
export async function violationsOf(
  page: Page,
  what: 'everything' | 'colours' = 'everything',
): Promise<string[]> {
  if (await page.evaluate('typeof axe === "undefined"')) await page.evaluate(axe.source);
  // For other results than violations, axe would describe each element of the page.
  const options = {
    resultTypes: ['violations'],
    ...(what === 'colours' && { runOnly: { type: 'rule', values: colourRules } }),
  };
  const violations = await page.evaluate(
    `axe.run(${JSON.stringify(options)}).then(({ violations }) => violations)`,
  );
  return (violations as readonly Violation[]).flatMap(({ id, nodes }) =>
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
    expect(await violationsOf(page, scheme === 'dark' ? 'colours' : 'everything')).toEqual([]);
    expect(await page.evaluate('document.scrollingElement.scrollWidth')).toBe(width);
  }
  await page.setViewportSize(before);
}
