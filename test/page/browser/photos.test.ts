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

/** Headings of the groups shown, each with the names of its photos. A guess or a folder is not part of a name. */
async function groupsOf(page: Page): Promise<Record<string, string[]>> {
  const groups: Record<string, string[]> = {};
  for (const group of await page.locator('.group').all()) {
    groups[String(await group.locator('.title').textContent())] = await group
      .locator('.photo .name')
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
  await page.getByRole('button', { name: 'Save photos' }).click();
  const download = page.waitForEvent('download');
  await page.getByRole('button', { name: `Save the answers as ${format}` }).click();
  const file = await download;
  await page.keyboard.press('Escape');
  return { name: file.suggestedFilename(), text: await readFile(await file.path(), 'utf8') };
}

/** Chooses a group. */
async function select(page: Page, name: string): Promise<void> {
  await page.getByRole('tab', { name: new RegExp(`^${name} \\d`) }).click();
}

const tabsOf = (page: Page) => page.getByRole('tab').allTextContents();
describeInBrowser('photos on the page', () => {
  const stage = useStage();
  const photos: Promise<SampleFile[]> = scenePhotos(2);

  test('are sorted by category; what cannot be used is one line at the end, with a reason for each', () =>
    stage.visit(async (page) => {
      const cut = { ...(await photos)[0]!, name: 'cut.jpg' };
      cut.buffer = cut.buffer.subarray(0, 3000);
      await filesInput(page).setInputFiles([...(await photos), cut, textFile(hostileName, 'no picture')]);
      await classify(page, `${sceneColours.join('\n')}\npink`);
      await untilClassified(page);
      const groups = await groupsOf(page);
      expect(Object.keys(groups)).toEqual(sceneColours);
      expect(groups.blue?.toSorted()).toEqual(['sea-0.jpg', 'sea-1.jpg']);
      expect(await tabsOf(page)).toEqual([
        'All 14 photos',
        ...sceneColours.map((name) => `${name} 2 photos`),
        'pink 0 photos',
        'Unsure 0 photos',
        'Could not be used 2 photos',
      ]);
      expect(await page.getByText('Nothing found for pink.').isVisible()).toBe(true);
      await page.getByText('2 of 14 files could not be used.').waitFor();
      await takeScreenshot(page, 'photos');
      await page.getByRole('button', { name: 'Show the files that could not be used' }).click();
      expect(await groupsOf(page)).toEqual({ 'Could not be used': ['cut.jpg', hostileName] });
      expect(await page.locator('.tile .note:not([hidden])').allTextContents()).toEqual([
        expect.stringContaining('truncated'),
        expect.stringContaining('JPEG, PNG, WebP'),
      ]);
      // Neither can become better.
      expect(await page.getByRole('button', { name: 'Try again' }).count()).toBe(0);
      await takeScreenshot(page, 'broken');
    }));

  test('the results begin near the top, on a laptop and on a phone, too', () =>
    stage.visit(async (page) => {
      await filesInput(page).setInputFiles(await photos);
      await classify(page, sceneColours.join(', '));
      await untilClassified(page);
      await page.locator('#labels').blur();
      for (const [width, height] of [
        [1200, 900],
        [1366, 768],
        [390, 844],
      ] as const) {
        await page.setViewportSize({ width, height });
        await page.evaluate('scrollTo(0, 0)');
        const banner = (await page.locator('#banner').boundingBox())!.height;
        const heading = (await page.locator('.group').first().boundingBox())!;
        const tile = (await page.locator('.tile').first().boundingBox())!;
        expect(heading.y - banner).toBeLessThan(width > 1000 ? 160 : 195);
        expect(tile.y + tile.height).toBeLessThan(height);
      }
    }));

  test('the field for words stays one line on a phone, and shows all of its hint', () =>
    stage.visit(
      async (page) => {
        await filesInput(page).setInputFiles(await photos);
        await classify(page, 'green, blue, something red, a dark picture, bright and yellow');
        await untilClassified(page);
        const field = page.locator('#labels');
        await field.focus();
        const box = (await page.locator('#word-box').boundingBox())!;
        const tabs = (await page.locator('#photo-tabs').boundingBox())!;
        expect(box.y + box.height).toBeLessThan(tabs.y);
        expect(await field.getAttribute('placeholder')).toBe('Add a word');
        expect((await field.boundingBox())!.width).toBeGreaterThan(100);
        await field.fill('purple');
        await field.press('Enter');
        const added = (await page.getByRole('button', { name: 'purple', exact: true }).boundingBox())!;
        expect(added.x).toBeGreaterThan(box.x);
        expect(added.x + added.width).toBeLessThan((await field.boundingBox())!.x);
      },
      { viewport: { width: 390, height: 844 } },
    ));

  test('the unfolded field for words does not cover why one of them cannot be used', () =>
    stage.visit(async (page) => {
      await filesInput(page).setInputFiles(await photos);
      await classify(page, 'green, blue, something red, a dark picture, bright and yellow, purple and white');
      await untilClassified(page);
      await page.locator('#labels').fill('word '.repeat(120));
      await page.locator('#labels').press('Enter');
      await page.getByText('takes at most 77 tokens').waitFor();
      const box = (await page.locator('#word-box').boundingBox())!;
      const fault = (await page.locator('#labels-fault').boundingBox())!;
      expect(fault.y + fault.height).toBeLessThanOrEqual(box.y);
    }));

  test('the unfolded field for words does not cover that two of them mean the same', async () => {
    for (const [width, height] of [
      [1200, 900],
      [390, 844],
    ] as const) {
      await stage.visit(
        async (page) => {
          await filesInput(page).setInputFiles(await photos);
          await classify(page, 'green, blue, something red, a dark picture, bright and yellow, red, purple');
          const note = page.getByText(/^“something red” and “red” mean almost the same/);
          await note.waitFor();
          await page.locator('#labels').focus();
          const below = (await note.boundingBox())!;
          const box = (await page.locator('#word-box').boundingBox())!;
          expect(below.y + below.height).toBeLessThanOrEqual(box.y);
        },
        { viewport: { width, height } },
      );
    }
  });

  test('a group of one photo has its whole name and number above it, on a phone, too', () =>
    stage.visit(
      async (page) => {
        await filesInput(page).setInputFiles((await photos).filter(({ name }) => name.endsWith('-0.jpg')));
        await classify(page, 'green and fresh meadows, bright and yellow deserts, blue');
        await untilClassified(page);
        const headings = page.locator('.group.label h3');
        expect(await headings.allTextContents()).toEqual([
          'green and fresh meadows 1',
          expect.stringMatching(/^bright and yellow deserts \d$/),
          expect.stringMatching(/^blue \d$/),
        ]);
        for (const heading of await headings.all()) {
          const hidden = await heading.evaluate(({ scrollWidth, clientWidth, scrollHeight, clientHeight }) =>
            Math.max(scrollWidth - clientWidth, scrollHeight - clientHeight),
          );
          expect(hidden).toBeLessThanOrEqual(0);
        }
      },
      { viewport: { width: 390, height: 844 } },
    ));

  test('the group that is shown is marked in forced colours', () =>
    stage.visit(
      async (page) => {
        await filesInput(page).setInputFiles(await photos);
        await classify(page, 'green, blue');
        await untilClassified(page);
        await select(page, 'blue');
        const border = (key: string) =>
          page.evaluate(`getComputedStyle(document.getElementById("tab-${key}")).borderBottomColor`);
        const others = await Promise.all(['all', 'label-0', 'unsure'].map(border));
        expect(new Set(others).size).toBe(1);
        expect(others).not.toContain(await border('label-1'));
      },
      { forcedColors: 'active' },
    ));

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
      await page.getByRole('button', { name: /^cut\.jpg, green/ }).click();
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
      await classify(page, 'blue\nred');
      await untilClassified(page);
      const groups = await groupsOf(page);
      expect(groups.blue?.toSorted()).toEqual(files.map(({ name }) => name).toSorted());
      for (const index of kinds.keys()) expect(await tileDifference(page, index, seaBlue)).toBeLessThan(10);
    }));

  test('a group shown alone comes with the photos that nearly belong to it', () =>
    stage.visit(async (page) => {
      await filesInput(page).setInputFiles(await photos);
      await classify(page, 'something blue, something red');
      await untilClassified(page);
      await select(page, 'something blue');
      const groups = await groupsOf(page);
      expect(Object.keys(groups)).toEqual(['something blue', 'Nearly']);
      expect(groups['something blue']?.slice(0, 2).toSorted()).toEqual(['sea-0.jpg', 'sea-1.jpg']);
      expect(groups.Nearly?.length).toBeGreaterThan(0);
      await takeScreenshot(page, 'group');
    }));

  // Other tests check what it shows.
  test.if(Boolean(process.env.PAGE_SCREENSHOTS))('the README shows them', () =>
    stage.visit(
      async (page) => {
        await filesInput(page).setInputFiles(await scenePhotos(5));
        await classify(
          page,
          `something blue, green\nyellow sand\na red evening, purple flowers, a dark night`,
        );
        await untilClassified(page);
        await page.locator('#labels').blur();
        expect(await page.locator('.tile').count()).toBe(30);
        await takeScreenshot(page, 'page');
      },
      { viewport: { width: 1120, height: 900 } },
    ),
  );

  test('strictness decides between a group and “unsure”, without asking again', () =>
    stage.visit(async (page) => {
      const all = await photos;
      await filesInput(page).setInputFiles([...all.slice(0, 2), ...all.slice(-2)]);
      await classify(page, 'green, purple flowers');
      await untilClassified(page);
      const requests = requestsOf(page);
      await page.getByRole('tab', { name: 'Unsure 2 photos' }).click();
      await page.getByText(/^No word fits these clearly better/).waitFor();
      expect(await groupsOf(page)).toEqual({
        Unsure: [expect.stringMatching(/^night/), expect.stringMatching(/^night/)],
      });
      expect(await page.locator('.photo .guess:not([hidden])').allTextContents()).toEqual([
        ' purple flowers?',
        ' purple flowers?',
      ]);
      await takeScreenshot(page, 'unsure');
      await page.getByRole('slider', { name: 'Strictness' }).fill('0');
      await page.getByRole('tab', { name: 'purple flowers 2 photos' }).waitFor();
      await page.getByRole('tab', { name: 'Unsure 0 photos' }).waitFor();
      expect(requests).toEqual([]);
    }));

  test('words take effect while they are typed; each is asked for once, and no photo is sent again', () =>
    stage.visit(async (page) => {
      await filesInput(page).setInputFiles(await photos);
      await classify(page, 'green, blue');
      await untilClassified(page);
      const requests = requestsOf(page);
      const field = page.getByRole('textbox', { name: 'Categories' });
      await field.pressSequentially('red');
      await page.getByRole('tab', { name: 'red 2 photos' }).waitFor();
      await page.keyboard.press('Backspace');
      await field.press('Enter');
      await page.getByRole('tab', { name: /^re \d/ }).waitFor();
      const asked = requests.length;
      await field.press('Backspace');
      await page.getByRole('tab', { name: /^re \d/ }).waitFor({ state: 'detached' });
      // Known words need no request.
      await page.getByRole('button', { name: 'green', exact: true }).click();
      await page.getByRole('textbox', { name: 'Edit the category' }).fill('red');
      await page.keyboard.press('Enter');
      await page.getByRole('tab', { name: 'red 2 photos' }).waitFor();
      expect(await page.locator('.chip').allTextContents()).toEqual(['red×', 'blue×']);
      expect(requests).toHaveLength(asked);
      expect(requests.every((address) => !address.includes('thumbnails'))).toBe(true);
    }));

  test('the sentence around the words asks for words alone; another part of the photos sends them again', () =>
    stage.visit(async (page) => {
      const paths = await onDisk(stage.folder, (await photos).slice(0, 4));
      await filesInput(page).setInputFiles(paths.slice(0, 3));
      await classify(page, 'green, blue');
      await untilClassified(page);
      const requests = requestsOf(page);
      const parameters = (name: string) => requests.map((address) => new URL(address).searchParams.get(name));
      await page.getByText('Options', { exact: true }).click();
      await page.getByLabel('Sentence around each word').selectOption('own');
      await page.getByLabel('Sentence with {} for the word').fill('a photo of something {}');
      await untilClassified(page);
      expect(parameters('template')).toEqual(['a photo of something {}']);
      await page.getByText(/^A change sends all 3 photos \(.* KB\) again\.$/).waitFor();
      await takeScreenshot(page, 'options');
      await page.keyboard.press('Escape');
      await filesInput(page).setInputFiles(paths.slice(2));
      await page.getByText('1 photo already added.').first().waitFor();
      await untilClassified(page);
      expect(parameters('thumbnails')).toEqual([null, 'true']);
      expect(Object.values(await groupsOf(page)).flat()).toHaveLength(4);
    }));

  test('a photo may be in several groups', () =>
    stage.visit(async (page) => {
      await filesInput(page).setInputFiles((await photos).slice(0, 2));
      await classify(page, 'green, something green');
      await untilClassified(page);
      await page.getByText('Options', { exact: true }).click();
      await page.getByLabel('A photo may be in several groups').check();
      await page.locator('.tile').nth(3).waitFor();
      const groups = await groupsOf(page);
      expect(groups.green?.toSorted()).toEqual(groups['something green']!.toSorted());
    }));

  test('of one category have a hint, and words of one meaning, too', () =>
    stage.visit(async (page) => {
      await filesInput(page).setInputFiles((await photos).slice(0, 2));
      await classify(page, 'green');
      await page.getByText(/^With one word, a photo fits or it does not/).waitFor();
      await classify(page, 'green green');
      await page.getByText(/^“green” and “green green” mean almost the same/).waitFor();
      expect(await page.locator('.chip.alike').count()).toBe(2);
    }));

  test('are moved by hand: in the dialog, by key, by drag; the corrections are saved', () =>
    stage.visit(async (page) => {
      await filesInput(page).setInputFiles((await photos).slice(0, 4));
      await classify(page, 'green, blue, red');
      await untilClassified(page);
      await page.getByRole('button', { name: /^meadow-0/ }).focus();
      await page.keyboard.press('m');
      await page.getByRole('combobox', { name: 'Group' }).selectOption('red');
      await page.keyboard.press('Escape');
      await page.getByRole('button', { name: 'meadow-0.jpg, red, moved here by hand' }).waitFor();
      await page
        .getByRole('button', { name: /^meadow-1/ })
        .dragTo(page.getByRole('tab', { name: /^Unsure/ }));
      await page.getByRole('tab', { name: 'Unsure 1 photo' }).waitFor();
      const json = JSON.parse((await saved(page, 'JSON')).text);
      expect(json.results).toMatchObject([
        { file: 'meadow-0.jpg', category: 'red', moved: true },
        { file: 'meadow-1.jpg', category: null, moved: true },
        { file: 'sea-0.jpg', category: 'blue' },
        { file: 'sea-1.jpg', category: 'blue' },
      ]);
      await takeScreenshot(page, 'moved');
      await page.getByRole('button', { name: /^meadow-0/ }).click();
      await page.getByRole('combobox', { name: 'Group' }).selectOption('auto');
      await page.keyboard.press('Escape');
      await page.getByRole('button', { name: /^meadow-0.jpg, green/ }).waitFor();
    }));

  test('are removed one by one, with the focus on the next', () =>
    stage.visit(async (page) => {
      await filesInput(page).setInputFiles((await photos).slice(0, 4));
      await classify(page, 'green, blue');
      await untilClassified(page);
      const names = await page.locator('.photo .name').allTextContents();
      await page.locator('.photo').first().focus();
      await page.keyboard.press('Delete');
      await page.locator('.tile').nth(3).waitFor({ state: 'detached' });
      expect(await page.locator('.photo .name').allTextContents()).toEqual(names.slice(1));
      expect(await page.evaluate('document.activeElement.querySelector(".name").textContent')).toBe(
        names[1]!,
      );
      await page.locator('.tile').last().hover();
      await page.getByRole('button', { name: `Remove ${names[3]}` }).click();
      await page.locator('.tile').nth(2).waitFor({ state: 'detached' });
    }));

  test('the arrow keys lead through all groups; Tab passes the photos in one step', () =>
    stage.visit(async (page) => {
      await filesInput(page).setInputFiles(await photos);
      await classify(page, sceneColours.join(', '));
      await untilClassified(page);
      const focused = () => page.evaluate('document.activeElement.querySelector(".name")?.textContent');
      const names = await page.locator('.photo .name').allTextContents();
      await page.locator('.photo').first().focus();
      await page.keyboard.press('ArrowRight');
      expect(await focused()).toBe(names[1]!);
      // Three groups of two stand in each row.
      await page.keyboard.press('ArrowDown');
      expect(await focused()).toBe(names[7]!);
      await page.keyboard.press('End');
      expect(await focused()).toBe(names.at(-1)!);
      await page.keyboard.press('Tab');
      expect(await page.evaluate('document.activeElement.className')).not.toBe('photo');
    }));

  test('a reload keeps words, sentence and strictness; answers that were not saved are not lost unasked', () =>
    stage.visit(async (page) => {
      await classify(page, 'green, a dog');
      await page.getByText('Options', { exact: true }).click();
      await page.getByLabel('Sentence around each word').selectOption('photo');
      await page.getByLabel('A photo may be in several groups').check();
      await page.reload();
      expect(await page.locator('.chip-text').allTextContents()).toEqual(['green', 'a dog']);
      expect(await page.locator('#sentence').inputValue()).toBe('photo');
      expect(await page.locator('#several').isChecked()).toBe(true);
      const isGuarded = () =>
        page.evaluate('!dispatchEvent(new Event("beforeunload", { cancelable: true }))');
      expect(await isGuarded()).toBe(false);
      await filesInput(page).setInputFiles((await photos).slice(0, 2));
      await untilClassified(page);
      expect(await isGuarded()).toBe(true);
      await saved(page, 'CSV');
      expect(await isGuarded()).toBe(false);
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
        others: true,
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
      expect(csv.text).toMatch(/^\ufefffile,category,score,similarity,moved,error\r\nmeadow-\d\.jpg,green,/);
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
      const name = String(await first.locator('.name').textContent());
      await dialog.getByRole('heading', { name }).waitFor();
      expect(await dialog.locator('.lines').textContent()).toMatch(/green.*%.*blue/);
      await untilTrue(page, 'document.querySelector("dialog img").naturalWidth === 480');
      await takeScreenshot(page, 'dialog');
      await page.keyboard.press('ArrowRight');
      await dialog.getByRole('heading', { name }).waitFor({ state: 'detached' });
      await page.keyboard.press('Escape');
      expect(await dialog.isVisible()).toBe(false);
      expect(await page.evaluate('document.activeElement.textContent')).toBe(name);
    }));

  test('one of them is shown from its head, however many categories there are', () =>
    stage.visit(
      async (page) => {
        await filesInput(page).setInputFiles((await photos).slice(0, 2));
        await classify(page, Array.from({ length: 60 }, (_, place) => `green ${place}`).join(', '));
        await untilClassified(page);
        await page.locator('.photo').first().click();
        const dialog = page.getByRole('dialog');
        expect(await dialog.locator('.lines li').count()).toBe(10);
        await dialog.getByRole('button', { name: 'Show all 60' }).click();
        expect(await dialog.locator('.lines li').count()).toBe(60);
        for (const part of ['h2', '.picture', '.foot']) {
          const box = (await dialog.locator(part).first().boundingBox())!;
          expect(box.y).toBeGreaterThanOrEqual(0);
          expect(box.y).toBeLessThan(768);
        }
        expect(await page.evaluate('document.querySelector("dialog").scrollTop')).toBe(0);
        await takeScreenshot(page, 'dialog-many');
      },
      { viewport: { width: 1366, height: 768 } },
    ));

  test('of a format that the browser cannot show have thumbnails of the service', () =>
    stage.visit(async (page) => {
      const buffer = Buffer.from(heic(64, 48, () => [...seaBlue, 255]));
      await filesInput(page).setInputFiles([{ name: 'sea.HEIC', mimeType: 'image/heic', buffer }]);
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
