import { expect, test } from 'bun:test';
import { readFile } from 'node:fs/promises';
import type { Page } from 'playwright-core';
import { heic } from '../../media/sample-heics.ts';
import { bmp } from '../../media/sample-pictures.ts';
import { rawFile } from '../../media/sample-raws.ts';
import { onDisk, type SampleFile, sceneColours, scenePhotos, textFile } from './sample-files.ts';
import {
  classify,
  describeInBrowser,
  filesInput,
  takeScreenshot,
  untilClassified,
  untilTrue,
  useStage,
} from './visit.ts';

const hostileName = '<img src=x onerror=alert(1)>.png';

/** Headings of the groups shown, each with the names of its photos. */
async function groupsOf(page: Page): Promise<Record<string, string[]>> {
  const groups: Record<string, string[]> = {};
  for (const group of await page.locator('.group').all()) {
    groups[String(await group.locator('.title').textContent())] = await group
      .locator('.photo')
      .allTextContents();
  }
  return groups;
}

/** URLs of all later requests for classification. */
function requestsOf(page: Page): string[] {
  const addresses: string[] = [];
  page.on('request', (request) => {
    if (request.method() === 'POST') addresses.push(request.url());
  });
  return addresses;
}

const seaBlue = [35, 70, 200] as const;

/** Waits until a tile is drawn. @returns how much the colour in its middle differs, 0 to 255 */
async function tileDifference(page: Page, index: number, colour: readonly number[]): Promise<number> {
  const canvas = `document.querySelectorAll('.photo canvas')[${index}]`;
  await untilTrue(page, `${canvas}.width > 0`);
  const pixel = await page.evaluate(`[...${canvas}.getContext('2d').getImageData(120, 120, 1, 1).data]`);
  return Math.max(...colour.map((value, channel) => Math.abs(value - (pixel as number[])[channel]!)));
}

async function saved(page: Page, format: 'JSON' | 'CSV'): Promise<{ name: string; text: string }> {
  const download = page.waitForEvent('download');
  await page.getByRole('button', { name: `Save as ${format}` }).click();
  const file = await download;
  return { name: file.suggestedFilename(), text: await readFile(await file.path(), 'utf8') };
}

describeInBrowser('photos on the page', () => {
  const stage = useStage();
  const photos: Promise<SampleFile[]> = scenePhotos(2);

  test('are sorted by category; what cannot be used stands apart, with the reason', () =>
    stage.visit(async (page) => {
      const cut = { ...(await photos)[0]!, name: 'cut.jpg' };
      cut.buffer = cut.buffer.subarray(0, 3000);
      const files = [...(await photos), cut, textFile(hostileName, 'no picture')];
      await filesInput(page).setInputFiles(files);
      await page.getByText(`${files.length} photos added.`).waitFor();
      await classify(page, `${sceneColours.join('\n')}\npink`);
      await untilClassified(page);
      const groups = await groupsOf(page);
      expect(Object.keys(groups)).toEqual(['Could not be used', ...sceneColours]);
      expect(groups.blue?.toSorted()).toEqual(['sea-0.jpg', 'sea-1.jpg']);
      expect(groups['Could not be used']).toEqual(['cut.jpg', hostileName]);
      expect(await page.locator('.tile .note:not([hidden])').allTextContents()).toEqual([
        expect.stringContaining('truncated'),
        expect.stringContaining('JPEG, PNG, WebP'),
      ]);
      expect(await page.getByText('Category without a match: pink').isVisible()).toBe(true);
      await takeScreenshot(page, 'photos');
    }));

  test('that are cut off are used, with a warning at the tile, in the dialog and in what is saved', () =>
    stage.visit(async (page) => {
      const [whole] = await photos;
      const cut = {
        ...whole!,
        name: 'cut.jpg',
        buffer: whole!.buffer.subarray(0, whole!.buffer.length - 80),
      };
      await filesInput(page).setInputFiles([whole!, cut]);
      await classify(page, 'green, blue');
      await untilClassified(page);
      const sentence = /^The JPEG picture is cut off: \d % of its pixels are missing/;
      expect(await page.locator('.tile .note:not([hidden])').allTextContents()).toEqual([
        expect.stringMatching(sentence),
      ]);
      await untilTrue(
        page,
        '[...document.querySelectorAll(".photo canvas")].every(({ width }) => width > 0)',
      );
      expect(await page.locator('.photo canvas.unshowable').count()).toBe(0);
      await page.getByRole('button', { name: 'cut.jpg' }).click();
      expect(await page.locator('dialog .note').textContent()).toMatch(sentence);
      await takeScreenshot(page, 'cut');
      await page.keyboard.press('Escape');
      expect(JSON.parse((await saved(page, 'JSON')).text).warnings).toEqual([
        { file: 'cut.jpg', warning: expect.stringMatching(sentence) },
      ]);
    }));

  test('that are transparent lie on white, as for the model, in dark colours, too', () =>
    stage.visit(
      async (page) => {
        const buffer = Buffer.from(await new Bun.Image(bmp(64, 64, () => [0, 0, 0, 0])).png().bytes());
        await filesInput(page).setInputFiles([{ name: 'empty.png', mimeType: 'image/png', buffer }]);
        await classify(page, 'white, black');
        await untilClassified(page);
        expect(await groupsOf(page)).toEqual({ white: ['empty.png'] });
        expect(await tileDifference(page, 0, [255, 255, 255, 255])).toBe(0);
      },
      { colorScheme: 'dark' },
    ));

  test('camera raw files that the browser cannot show are sorted, with thumbnails', () =>
    stage.visit(async (page) => {
      const blue = await new Bun.Image(bmp(480, 320, () => [...seaBlue, 255])).jpeg().bytes();
      const kinds = ['DNG', 'NEF', 'CR2', 'ARW', 'RAF'] as const;
      const files = kinds.map((kind) => ({
        name: `a.${kind.toLowerCase()}`,
        mimeType: '',
        buffer: Buffer.from(rawFile(kind, { jpegs: [blue, blue, blue] })),
      }));
      await filesInput(page).setInputFiles(files);
      await page.getByText(`${files.length} photos added.`).waitFor();
      await classify(page, 'blue\nred');
      await untilClassified(page);
      const groups = await groupsOf(page);
      expect(groups.blue?.toSorted()).toEqual(files.map(({ name }) => name).toSorted());
      for (const index of kinds.keys()) expect(await tileDifference(page, index, seaBlue)).toBeLessThan(10);
    }));

  test('the best photo of each category is shown', () =>
    stage.visit(async (page) => {
      await filesInput(page).setInputFiles(await photos);
      await classify(page, 'something blue, something red');
      await untilClassified(page);
      await page.getByLabel('Best photos per category').check();
      await page.getByRole('spinbutton', { name: 'Show top' }).fill('1');
      await page.locator('.tile').nth(2).waitFor({ state: 'detached' });
      const groups = await groupsOf(page);
      expect(groups['something blue']).toEqual([expect.stringMatching(/^sea-\d/)]);
      expect(groups['something red']).toEqual([expect.stringMatching(/^evening-\d/)]);
    }));

  test('the README shows them', () =>
    stage.visit(
      async (page) => {
        await filesInput(page).setInputFiles(await scenePhotos(5));
        await classify(
          page,
          `something blue, green\nyellow sand\na red evening, purple flowers, a dark night`,
        );
        await untilClassified(page);
        await page.getByLabel('Best photos per category').check();
        await page.locator('.tile').nth(17).waitFor();
        expect(await page.locator('.tile').count()).toBe(18);
        await takeScreenshot(page, 'page');
      },
      { viewport: { width: 1120, height: 1000 } },
    ));

  test('minimum score and count change what is shown without asking again', () =>
    stage.visit(async (page) => {
      await filesInput(page).setInputFiles((await photos).slice(0, 4));
      await classify(page, 'yellow, orange, green, blue');
      await untilClassified(page);
      const requests = requestsOf(page);
      expect(Object.keys(await groupsOf(page))).toEqual(['green', 'blue']);
      const lines = page.locator('.tile').first().locator('.lines li');
      expect(await lines.count()).toBe(3);
      await page.getByRole('spinbutton', { name: 'Show top' }).fill('1');
      await lines.nth(1).waitFor({ state: 'detached' });
      // No score reaches 100 %.
      await page.getByRole('slider', { name: 'Minimum score' }).fill('100');
      await page.getByText('No category reaches 100 %.').waitFor();
      expect(Object.keys(await groupsOf(page))).toEqual(['None of these']);
      expect(requests).toEqual([]);
    }));

  test('a template is asked for anew, with the photos that are there; further photos alone', () =>
    stage.visit(async (page) => {
      const paths = await onDisk(stage.folder, (await photos).slice(0, 4));
      await filesInput(page).setInputFiles(paths.slice(0, 3));
      await classify(page, 'green, blue');
      await untilClassified(page);
      const requests = requestsOf(page);
      await page.getByText('Prompt template (advanced)').click();
      await page.getByLabel('Template').fill('a photo of something {}');
      await page.getByText('The template changed: all 3 photos will be sent again.').waitFor();
      await page.getByRole('button', { name: 'Classify' }).click();
      await untilClassified(page);
      expect(requests.map((address) => new URL(address).searchParams.get('template'))).toEqual([
        'a photo of something {}',
      ]);
      await page.getByRole('textbox', { name: 'Categories' }).fill('green');
      await page.getByText('The categories changed: all 3 photos will be sent again.').waitFor();
      await page.getByRole('textbox', { name: 'Categories' }).fill('green, blue');
      await filesInput(page).setInputFiles(paths.slice(2));
      await page.getByText('1 photo added. 1 photo already added.').waitFor();
      await page.getByText('1 photo will be sent.').waitFor();
      await page.getByRole('button', { name: 'Classify' }).click();
      await untilClassified(page);
      expect(Object.values(await groupsOf(page)).flat()).toHaveLength(4);
    }));

  test('are saved as JSON and as CSV', () =>
    stage.visit(async (page) => {
      await filesInput(page).setInputFiles((await photos).slice(0, 4));
      await classify(page, 'green, blue');
      await untilClassified(page);
      const json = await saved(page, 'JSON');
      expect(json.name).toBe('photos.json');
      expect(JSON.parse(json.text)).toMatchObject({
        model: 'demo',
        results: [
          { file: 'meadow-0.jpg', category: 'green' },
          { file: 'meadow-1.jpg', category: 'green' },
          { file: 'sea-0.jpg', category: 'blue' },
          { file: 'sea-1.jpg', category: 'blue' },
        ],
        errors: [],
      });
      const csv = await saved(page, 'CSV');
      expect(csv.name).toBe('photos.csv');
      expect(csv.text).toMatch(/^\ufefffile,category,score,similarity,error\r\nmeadow-\d\.jpg,green,/);
    }));

  test('one of them is looked at alone, by keyboard', () =>
    stage.visit(async (page) => {
      await filesInput(page).setInputFiles((await photos).slice(0, 2));
      await classify(page, 'green, blue');
      await untilClassified(page);
      const first = page.locator('.photo').first();
      await first.focus();
      await page.keyboard.press('Enter');
      const dialog = page.getByRole('dialog');
      const name = String(await first.textContent());
      await dialog.getByRole('heading', { name }).waitFor();
      expect(await dialog.locator('.lines').textContent()).toMatch(/green[\s\S]*similarity[\s\S]*blue/);
      await untilTrue(page, 'document.querySelector("dialog img").naturalWidth === 480');
      await takeScreenshot(page, 'dialog');
      await page.keyboard.press('ArrowRight');
      await dialog.getByRole('heading', { name }).waitFor({ state: 'detached' });
      await page.keyboard.press('Escape');
      expect(await dialog.isVisible()).toBe(false);
      expect(await page.evaluate('document.activeElement.textContent')).toBe(name);
    }));

  test('of a format that the browser cannot show are tiles with its name until thumbnails come', () =>
    stage.visit(async (page) => {
      const buffer = Buffer.from(heic(64, 48, () => [...seaBlue, 255]));
      await filesInput(page).setInputFiles([{ name: 'sea.HEIC', mimeType: 'image/heic', buffer }]);
      await page.locator('.photo canvas.named').waitFor();
      await page.locator('.photo').click();
      await page.getByText('This browser cannot show this HEIC picture. The service can read it.').waitFor();
      await page.keyboard.press('Escape');
      await classify(page, sceneColours.join('\n'));
      await untilClassified(page);
      expect(await groupsOf(page)).toEqual({ blue: ['sea.HEIC'] });
      expect(await tileDifference(page, 0, seaBlue)).toBeLessThan(10);
      expect(await page.locator('.photo canvas.unshowable').count()).toBe(0);
      await page.locator('.photo').click();
      await page.getByText('The service has made a small one of the part that the model sees.').waitFor();
      await untilTrue(page, 'document.querySelector("dialog img").naturalWidth === 224');
      await takeScreenshot(page, 'unshowable');
    }));
});
