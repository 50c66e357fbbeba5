import { expect, test } from 'bun:test';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Page } from 'playwright-core';
import { scenePhotos, textFile } from './sample-files.ts';
import {
  classify,
  describeInBrowser,
  filesInput,
  takeScreenshot,
  untilClassified,
  useStage,
} from './visit.ts';

/** Drops files and folders onto the page, as a file manager does. */
async function drop(page: Page, files: readonly string[]): Promise<void> {
  const client = await page.context().newCDPSession(page);
  const data = { items: [], files: [...files], dragOperationsMask: 1 };
  // The banner moves the page: a drop on another element than the one dragged over is ignored.
  await page.locator('#banner').waitFor();
  for (const type of ['dragEnter', 'dragOver', 'drop'] as const) {
    await client.send('Input.dispatchDragEvent', { type, x: 300, y: 300, data });
  }
}

describeInBrowser('what is dropped on the page', () => {
  const stage = useStage();

  test('a folder gives its photos, whatever depth they lie in, and nothing else', () =>
    stage.visit(async (page) => {
      const folder = join(stage.folder, 'holiday');
      await mkdir(join(folder, 'day 1'), { recursive: true });
      const [a, b, c] = await scenePhotos(1);
      await writeFile(join(folder, 'a.jpg'), a!.buffer);
      await writeFile(join(folder, 'day 1', 'b.jpg'), b!.buffer);
      await writeFile(join(folder, 'day 1', 'c.jpg'), c!.buffer);
      await writeFile(join(folder, '.DS_Store'), 'x');
      await writeFile(join(folder, 'notes.txt'), 'x');
      await writeFile(join(folder, 'raw.x3f'), 'x');
      await drop(page, [folder]);
      await page.locator('#files-note:not(:empty)').waitFor();
      // Everything that is left out has a name and a reason.
      expect(await page.locator('#files-note').textContent()).toBe(
        '3 files left out: 2 other files, 1 camera raw picture.',
      );
      await page.locator('#files-note').click();
      expect(await page.locator('#files-unused-list li').allTextContents()).toEqual([
        'holiday/.DS_Store It is neither a picture nor a video.',
        'holiday/notes.txt It is neither a picture nor a video.',
        'holiday/raw.x3f Camera raw pictures are not accepted.',
      ]);
      await classify(page, 'green, blue, yellow');
      await untilClassified(page);
      expect((await page.locator('.photo .name').allTextContents()).sort()).toEqual([
        'holiday/a.jpg',
        'holiday/day 1/b.jpg',
        'holiday/day 1/c.jpg',
      ]);
      await takeScreenshot(page, 'folder');
    }));

  test('photos and a list of categories go where they belong', () =>
    stage.visit(async (page) => {
      const [photo] = await scenePhotos(1);
      const files = [join(stage.folder, 'one.jpg'), join(stage.folder, 'cats.json')];
      await writeFile(files[0]!, photo!.buffer);
      await writeFile(files[1]!, '{"categories": ["a cat, sitting", "something green"]}');
      await drop(page, files);
      await page.locator('.tile').waitFor();
      expect(await page.locator('.chip-text').allTextContents()).toEqual([
        'a cat, sitting',
        'something green',
      ]);
    }));

  test.each<[string, Buffer, readonly string[]]>([
    ['cats.csv', Buffer.from('category\r\ngreen;blue\r\n'), ['green', 'blue']],
    ['cats.txt', Buffer.from('\ufeffgreen\tblue', 'utf16le'), ['green', 'blue']],
    ['cats.json', Buffer.from('{"categories": {"dog": ["a dog", "a puppy"]}}'), ['dog = a dog | a puppy']],
  ])('%s becomes chips', (name, buffer, chips) =>
    stage.visit(async (page) => {
      await page.locator('#labels-input').setInputFiles([{ name, mimeType: 'text/plain', buffer }]);
      await page.locator('.chip').first().waitFor();
      expect(await page.locator('.chip-text').allTextContents()).toEqual([...chips]);
    }),
  );

  test('a list that cannot be read is said', () =>
    stage.visit(async (page) => {
      const buffer = Buffer.from('["green"');
      await page.locator('#labels-input').setInputFiles([{ name: 'cats.json', mimeType: '', buffer }]);
      await page.getByText('cats.json: This starts like JSON, but is not valid JSON.').waitFor();
    }));

  test('chips are written, pasted, changed and removed by keyboard alone', () =>
    stage.visit(async (page) => {
      const chips = () => page.locator('.chip-text').allTextContents();
      const field = page.getByRole('textbox', { name: 'Categories' });
      await field.focus();
      await page.keyboard.type('dog,cat,');
      await page.keyboard.type('a bird');
      await page.keyboard.press('Enter');
      expect(await chips()).toEqual(['dog', 'cat', 'a bird']);
      await page.keyboard.press('Backspace');
      expect(await chips()).toEqual(['dog', 'cat']);
      await page.evaluate(`{
        const data = new DataTransfer();
        data.setData('text/plain', 'a fish\\na tree\\ndog');
        const paste = new ClipboardEvent('paste', { clipboardData: data, bubbles: true, cancelable: true });
        document.getElementById('labels').dispatchEvent(paste);
      }`);
      expect(await chips()).toEqual(['dog', 'cat', 'a fish', 'a tree']);
      await page.keyboard.press('ArrowLeft');
      await page.keyboard.press('ArrowLeft');
      await page.keyboard.press('Delete');
      expect(await chips()).toEqual(['dog', 'cat', 'a tree']);
      await page.keyboard.press('Home');
      await page.keyboard.press('Enter');
      await page.keyboard.type('a wolf');
      await page.keyboard.press('Enter');
      expect(await chips()).toEqual(['a wolf', 'cat', 'a tree']);
      expect(await page.evaluate('document.activeElement.textContent')).toBe('a wolf');
      await page.keyboard.press('Enter');
      await page.keyboard.type('nothing');
      await page.keyboard.press('Escape');
      expect(await chips()).toEqual(['a wolf', 'cat', 'a tree']);
      await page.keyboard.press('End');
      await page.keyboard.press('ArrowRight');
      expect(await page.evaluate('document.activeElement.id')).toBe('labels');
    }));

  test('of several videos one is taken, and the others are not passed over in silence', () =>
    stage.visit(async (page) => {
      const video = (name: string) => ({ ...textFile(name, name), mimeType: 'video/mp4' });
      await filesInput(page).setInputFiles([video('a.mp4'), video('b.mp4'), video('c.mov')]);
      await page.getByText('2 files left out: 2 videos.', { exact: true }).waitFor();
      await page.locator('#video-name').filter({ hasText: 'c.mov' }).waitFor();
    }));

  test('a folder of nothing but a video gives the video; among photos it is left out', async () => {
    const folder = join(stage.folder, 'clips');
    await mkdir(folder);
    await writeFile(join(folder, 'film.mp4'), 'x');
    await stage.visit(async (page) => {
      await drop(page, [folder]);
      await page.getByText('Video film.mp4 added.').waitFor();
    });
    const [photo] = await scenePhotos(1);
    await writeFile(join(folder, 'a.jpg'), photo!.buffer);
    await stage.visit(async (page) => {
      await drop(page, [folder]);
      await page.getByText('1 file left out: 1 video.', { exact: true }).press('Enter');
      await page.getByText('clips/film.mp4').waitFor();
      await takeScreenshot(page, 'not-used');
      await page.getByText('Add', { exact: true }).click();
      await page.getByRole('button', { name: 'Remove all' }).click();
      await page.getByText('clips/film.mp4').waitFor({ state: 'hidden' });
    });
  });

  test('all of it is removed again', () =>
    stage.visit(async (page) => {
      await filesInput(page).setInputFiles(await scenePhotos(1));
      await page.locator('.tile').nth(5).waitFor();
      await page.getByText('Add', { exact: true }).click();
      await page.getByRole('button', { name: 'Remove all' }).click();
      await page.locator('.tile').first().waitFor({ state: 'hidden' });
      expect(await page.locator('#files-summary').textContent()).toBe('');
      await filesInput(page).setInputFiles([textFile('x.txt', 'green, blue')]);
      await page.locator('.chip').nth(1).waitFor();
    }));
});
