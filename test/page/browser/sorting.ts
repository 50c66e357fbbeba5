import type { Page } from 'playwright-core';
import { untilTrue } from './visit.ts';

/** Writes categories as a person does. */
export async function addCategories(page: Page, names: readonly string[]): Promise<void> {
  const field = page.getByRole('textbox', { name: 'Categories' });
  for (const name of names) {
    await field.fill(name);
    await field.press('Enter');
  }
}

/** Waits until every photo stands in a group, or is known not to be usable. */
export async function untilSorted(page: Page, photos: number): Promise<void> {
  const counts = '[...document.querySelectorAll("#photo-tabs [role=tab]:not(#tab-all) .count")]';
  const sum = `${counts}.reduce((sum, { textContent }) => sum + Number(textContent.replace(",", "")), 0)`;
  await untilTrue(page, `document.getElementById("progress").hidden && ${sum} === ${photos}`);
}

/** Searches the video that was added, and waits for the answer. */
export async function searchVideo(page: Page, categories: readonly string[]): Promise<void> {
  await addCategories(page, categories);
  await page.getByRole('button', { name: 'Search the video' }).click();
  await untilSearched(page);
}

export async function untilSearched(page: Page): Promise<void> {
  await untilTrue(
    page,
    '!document.getElementById("video-answer").hidden || !document.getElementById("video-fault").hidden',
  );
  await untilTrue(page, 'document.getElementById("progress").hidden');
}
