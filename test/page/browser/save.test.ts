import { expect, test } from 'bun:test';
import { readFile } from 'node:fs/promises';
import type { Page } from 'playwright-core';
import { looksGood } from './axe.ts';
import { readZip } from './read-zip.ts';
import { type SampleFile, scenePhotos } from './sample-files.ts';
import { addCategories, untilSorted } from './sorting.ts';
import { describeInBrowser, filesInput, untilTrue, useStage } from './visit.ts';

/** Six photos: of two green ones, both have the same name. */
async function photos(): Promise<readonly SampleFile[]> {
  const [meadow, sea, desert, evening] = await scenePhotos(1);
  const [, otherMeadow] = await scenePhotos(2);
  return [
    { ...meadow!, name: 'IMG_1.jpg' },
    { ...otherMeadow!, name: 'IMG_1.jpg' },
    { ...sea!, name: 'Größe 海.jpg' },
    { ...desert!, name: 'desert.jpg' },
    { ...evening!, name: 'con.jpg' },
  ];
}

const categories = ['green', 'something blue', 'yellow/golden', 'red'];

async function sort(page: Page, files: readonly SampleFile[]): Promise<void> {
  await filesInput(page).setInputFiles(files);
  await addCategories(page, categories);
  // Each photo then has a group.
  await page.getByRole('slider', { name: 'Strictness' }).fill('0');
  await page.locator('#tab-label-3').waitFor();
  await untilSorted(page, files.length);
  await untilTrue(page, 'document.querySelector("#tab-unsure .count").textContent.trim() === "0"');
}

const openMenu = (page: Page) => page.getByRole('button', { name: 'Save photos' }).click();

/** Puts the browser's private folder in the place of the dialog for folders. */
const pickPrivateFolder = 'window.showDirectoryPicker = () => navigator.storage.getDirectory()';

/** Paths and sizes in that folder. */
const listing = (page: Page) =>
  page.evaluate(`(async () => {
    const list = async (folder, path) => {
      const found = [];
      for await (const [name, handle] of folder.entries()) {
        if (handle.kind === 'directory') found.push(...await list(handle, path + name + '/'));
        else found.push(path + name + ' ' + (await handle.getFile()).size);
      }
      return found.sort();
    };
    return await list(await navigator.storage.getDirectory(), '');
  })()`) as Promise<string[]>;

describeInBrowser('photos are taken away', () => {
  const stage = useStage();

  test('as a ZIP with a folder for each group and every byte of the files', () =>
    stage.visit(async (page) => {
      const files = await photos();
      await sort(page, files);
      await openMenu(page);
      await page.getByText(/^5 photos, [\d.]+ KB\. Each group is a folder\.$/).waitFor();
      const download = page.waitForEvent('download');
      await page.getByRole('button', { name: 'Download as ZIP' }).click();
      const saved = await download;
      expect(saved.suggestedFilename()).toBe('photos.zip');
      const entries = new Map(readZip(await saved.path()).map(({ name, bytes }) => [name, bytes]));
      expect([...entries.keys()].sort()).toEqual([
        'green/IMG_1 (2).jpg',
        'green/IMG_1.jpg',
        'red/con_.jpg',
        'something blue/Größe 海.jpg',
        'yellow_golden/desert.jpg',
      ]);
      const bytesOf = (bytes: Uint8Array | undefined) => Buffer.from(bytes ?? []).toString('base64');
      expect([...entries.values()].map(bytesOf).sort()).toEqual(
        files.map(({ buffer }) => bytesOf(buffer)).sort(),
      );
      expect(bytesOf(entries.get('something blue/Größe 海.jpg'))).toBe(bytesOf(files[2]?.buffer));
      await page.getByText('5 photos saved.').waitFor();
      // What is saved may be left without a question.
      await page.reload();
    }));

  test('one group alone, under its name', () =>
    stage.visit(async (page) => {
      await sort(page, await photos());
      await openMenu(page);
      await page.getByLabel('Photos of').selectOption({ label: 'green (2)' });
      const download = page.waitForEvent('download');
      await page.getByRole('button', { name: 'Download as ZIP' }).click();
      const saved = await download;
      expect(saved.suggestedFilename()).toBe('green.zip');
      expect(
        readZip(await saved.path())
          .map(({ name }) => name)
          .sort(),
      ).toEqual(['green/IMG_1 (2).jpg', 'green/IMG_1.jpg']);
    }));

  test('into folders, never over another file, and not twice', () =>
    stage.visit(async (page) => {
      await page.evaluate(pickPrivateFolder);
      await page.evaluate(`(async () => {
        const folder = await navigator.storage.getDirectory();
        const green = await folder.getDirectoryHandle('green', { create: true });
        const handle = await green.getFileHandle('IMG_1.jpg', { create: true });
        const writable = await handle.createWritable();
        await writable.write('another');
        await writable.close();
      })()`);
      const files = await photos();
      await sort(page, files);
      await openMenu(page);
      await page.getByRole('button', { name: 'Save into folders…' }).click();
      await page.getByText('5 photos saved.').waitFor();
      const sizes = files.map(({ buffer }) => buffer.length);
      const found = await listing(page);
      expect(found.map((line) => line.replace(/ \d+$/, ''))).toEqual([
        'green/IMG_1 (2) (2).jpg',
        'green/IMG_1 (2).jpg',
        'green/IMG_1.jpg',
        'red/con_.jpg',
        'something blue/Größe 海.jpg',
        'yellow_golden/desert.jpg',
      ]);
      expect(found).toContain('green/IMG_1.jpg 7');
      expect(found).toContain(`something blue/Größe 海.jpg ${sizes[2]}`);
      await page.getByRole('button', { name: 'Save into folders…' }).click();
      await untilTrue(page, 'document.querySelector(".save-menu .ways").hidden === false');
      await page.getByText('5 photos saved.').waitFor();
      expect(await listing(page)).toEqual(found);
    }));

  test('as a list of names; the menu is for everybody', () =>
    stage.visit(
      async (page) => {
        await sort(page, await photos());
        await openMenu(page);
        expect(await page.evaluate('document.activeElement.id')).toBe('save-which');
        await looksGood(page, 'save');
        await page.getByRole('button', { name: 'Copy list of names' }).click();
        await page.getByText('The list is copied.').waitFor();
        const text = String(await page.evaluate('navigator.clipboard.readText()'));
        expect(text).toContain('something blue\nGröße 海.jpg\n');
        await page.keyboard.press('Escape');
        await page.getByRole('group', { name: 'Save photos' }).waitFor({ state: 'hidden' });
        expect(await page.evaluate('document.activeElement.textContent')).toBe('Save photos');
      },
      { permissions: ['clipboard-read', 'clipboard-write'] },
    ));

  test('the answers alone, too', () =>
    stage.visit(async (page) => {
      await sort(page, await photos());
      await openMenu(page);
      const download = page.waitForEvent('download');
      await page.getByRole('button', { name: 'Save the answers as JSON' }).click();
      const saved = await download;
      expect(saved.suggestedFilename()).toBe('photos.json');
      expect(JSON.parse(await readFile(await saved.path(), 'utf8'))).toMatchObject({ model: 'demo' });
    }));
});
