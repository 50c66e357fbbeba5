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
  untilTrue,
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
      expect(await page.locator('#files-note').textContent()).toBe(
        '3 photos added. 1 file not used: 1 camera raw picture. 2 other files in the folder left out.',
      );
      await classify(page, 'green, blue, yellow');
      await untilClassified(page);
      expect((await page.locator('.photo').allTextContents()).sort()).toEqual(['a.jpg', 'b.jpg', 'c.jpg']);
      const paths = page.locator('.photo');
      expect(await paths.nth(1).getAttribute('title')).toBe('holiday/day 1/b.jpg');
    }));

  test('photos and a list of categories go where they belong', () =>
    stage.visit(async (page) => {
      const [photo] = await scenePhotos(1);
      const files = [join(stage.folder, 'one.jpg'), join(stage.folder, 'cats.json')];
      await writeFile(files[0]!, photo!.buffer);
      await writeFile(files[1]!, '{"categories": ["a cat, sitting", "something green"]}');
      await drop(page, files);
      await page.getByText('1 photo added.').waitFor();
      expect(await page.getByRole('textbox', { name: 'Categories' }).inputValue()).toBe(
        '"a cat, sitting"\nsomething green',
      );
      await page.getByText('2 categories').waitFor();
    }));

  test.each([
    ['cats.csv', Buffer.from('category\r\ngreen;blue\r\n'), 'green\nblue'],
    ['cats.txt', Buffer.from('\ufeffgreen\tblue', 'utf16le'), 'green\nblue'],
    ['cats.json', Buffer.from('["green"'), '["green"'],
  ])('%s is read into the field', (name, buffer, text) =>
    stage.visit(async (page) => {
      await page.locator('#labels-input').setInputFiles([{ name, mimeType: 'text/plain', buffer }]);
      await untilTrue(page, `document.getElementById('labels').value !== ''`);
      expect(await page.getByRole('textbox', { name: 'Categories' }).inputValue()).toBe(text);
    }),
  );

  test('of several videos one is taken, and the others are not passed over in silence', () =>
    stage.visit(async (page) => {
      const video = (name: string) => ({ ...textFile(name, name), mimeType: 'video/mp4' });
      await filesInput(page).setInputFiles([video('a.mp4'), video('b.mp4'), video('c.mov')]);
      await page.getByText('Video c.mov added. 2 files not used: 2 videos.').waitFor();
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
      await page.getByText('1 photo added. 1 file not used: 1 video.').waitFor();
      await page.getByText('Which files are not used, and why').press('Enter');
      await page.getByText('clips/film.mp4').waitFor();
      await takeScreenshot(page, 'not-used');
      await page.getByRole('button', { name: 'Remove all' }).click();
      await page.getByText('clips/film.mp4').waitFor({ state: 'hidden' });
    });
  });

  test('all of it is removed again', () =>
    stage.visit(async (page) => {
      await filesInput(page).setInputFiles(await scenePhotos(1));
      await page.getByText('6 photos added.').waitFor();
      await page.getByRole('button', { name: 'Remove all' }).click();
      await page.locator('.tile').first().waitFor({ state: 'hidden' });
      expect(await page.locator('#files-summary').textContent()).toBe('');
      await filesInput(page).setInputFiles([textFile('x.txt', 'green, blue')]);
      await page.getByText('2 categories').waitFor();
    }));
});
