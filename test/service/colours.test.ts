import { describe, expect, test } from 'bun:test';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { readWindow, StoredPng } from '../../native/image/builtin-decoder.ts';
import type { CategorizeDetails } from '../../src/contract/schemas.ts';
import {
  bitmap,
  type Colour,
  colourPicture,
  encodePicture,
  type PictureFormat,
  withOrientation,
} from '../fixtures/colour-pictures.ts';
import { heic } from '../media/sample-heics.ts';
import { box } from '../media/sample-heifs.ts';
import { avif, bmp, type Rgba, tiff } from '../media/sample-pictures.ts';
import { rawFile } from '../media/sample-raws.ts';
import { useDemoService } from './demo-service.ts';
import { startService } from './service.ts';

const colours: Readonly<Record<string, Colour>> = {
  red: [205, 25, 35],
  green: [40, 150, 50],
  blue: [35, 70, 200],
  yellow: [245, 215, 40],
  orange: [245, 140, 30],
  purple: [120, 40, 160],
  pink: [250, 160, 195],
  brown: [110, 65, 30],
  black: [12, 12, 14],
  white: [245, 245, 242],
  grey: [128, 128, 130],
};
const formats: readonly PictureFormat[] = ['jpeg', 'png', 'webp'];

const demo = useDemoService();

/** Sends pictures and categories as a browser's form does. */
async function post(
  path: string,
  pictures: Readonly<Record<string, Uint8Array>>,
  categories: readonly string[],
): Promise<Response> {
  const form = new FormData();
  for (const [name, bytes] of Object.entries(pictures)) form.append('files', new File([bytes], name));
  form.append('categories', new File([JSON.stringify({ categories })], 'categories.json'));
  return await fetch(`${demo.service.url}${path}`, { method: 'POST', body: form });
}

describe('the service with the demo model', () => {
  test('names the demo model, so that nobody takes it for CLIP', async () => {
    const health = await (await fetch(`${demo.service.url}/health`)).json();
    expect(JSON.stringify(health)).toContain('demo');
  });

  test('sorts colour photos of every format, by colours in any phrasing', async () => {
    const pictures: Record<string, Uint8Array> = {};
    const expected: Record<string, string> = {};
    const phrase = (colour: string) => `a photo of something ${colour}`;
    for (const [index, [name, colour]] of Object.entries(colours).entries()) {
      const format = formats[index % formats.length] as PictureFormat;
      pictures[`${name}.${format}`] = await colourPicture(colour, format);
      expected[`${name}.${format}`] = phrase(name);
    }
    const response = await post('/categorize', pictures, Object.keys(colours).map(phrase));
    expect(await response.json()).toEqual(expected);
    expect(response.status).toBe(200);
  });

  test('finds the best photo for every category', async () => {
    const pictures: Record<string, Uint8Array> = {};
    const expected: Record<string, string> = {};
    for (const [name, colour] of Object.entries(colours)) {
      pictures[`${name}.jpg`] = await colourPicture(colour);
      expected[`the ${name.toUpperCase()} one`] = `${name}.jpg`;
    }
    const response = await post('/image', pictures, Object.keys(expected));
    expect(await response.json()).toEqual(expected);
  });

  test('takes photos with every EXIF orientation', async () => {
    // The demo model cannot tell up from down; that the turn is the right one is the parity tests' to show.
    const wide = await encodePicture(
      bitmap(480, 160, (x) => (x >= 160 && x < 320 ? [205, 25, 35] : [35, 70, 200])),
      'jpeg',
    );
    const pictures = Object.fromEntries(
      [1, 2, 3, 4, 5, 6, 7, 8].map((orientation) => [
        `${orientation}.jpg`,
        withOrientation(wide, orientation),
      ]),
    );
    const response = await post('/categorize', pictures, ['blue', 'red']);
    // The middle square is what counts, upright or lying.
    expect(await response.json()).toEqual(
      Object.fromEntries(Object.keys(pictures).map((name) => [name, 'red'])),
    );
  });
});

describe('thumbnails', () => {
  /** Red above blue. */
  const flag = (_: number, y: number): Rgba => (y < 32 ? [205, 25, 35, 255] : [35, 70, 200, 255]);

  test('show the upright square of pictures that browsers do not show, whatever their names', async () => {
    const shown = await new Bun.Image(bmp(256, 256, (x, y) => flag(x, y / 4))).jpeg().bytes();
    const lying = { properties: [box('irot', [1])] };
    const response = await post(
      '/categorize?details=true&thumbnails=true',
      {
        'a.jpg': heic(64, 64, flag),
        'b.heic': shown,
        'c.heic': heic(64, 64, (x) => flag(0, 63 - x), lying),
        'd.tif': await tiff(96, 64, flag),
        'e.nef': rawFile('NEF', { jpegs: [shown, shown, shown] }),
        'f.avif': await avif(64, 64, flag),
        'g.heic': new Uint8Array(100),
      },
      ['red', 'blue'],
    );
    const { thumbnails } = (await response.json()) as CategorizeDetails;
    expect(thumbnails?.map(({ file }) => file)).toEqual(['a.jpg', 'c.heic', 'd.tif', 'e.nef']);
    for (const { image } of thumbnails ?? []) {
      const png = await new Bun.Image(Uint8Array.fromBase64(image)).png({ compressionLevel: 0 }).bytes();
      const { width, height } = new StoredPng(png);
      expect([width, height]).toEqual([224, 224]);
      const pixels = readWindow(new StoredPng(png), { left: 112, top: 0, width: 1, height: 224 });
      const [top, bottom] = [pixels.subarray(20 * 4, 20 * 4 + 3), pixels.subarray(200 * 4, 200 * 4 + 3)];
      for (const [channel, value] of [205, 25, 35].entries()) {
        expect(top[channel]).toBeWithin(value - 12, value + 12);
      }
      for (const [channel, value] of [35, 70, 200].entries()) {
        expect(bottom[channel]).toBeWithin(value - 12, value + 12);
      }
    }
  });
});

describe('the service as a process', () => {
  test('a setting that cannot be used is named, and nothing starts', async () => {
    const fault = await startService({ CLIP_CACHE: join(demo.folder, 'cache'), PORT: 'eighty' }).catch(
      (reason: unknown) => reason,
    );
    expect(String(fault)).toContain('PORT=\\"eighty\\" must be a whole number');
  });

  test('a port that another program has is named, with what to do', async () => {
    const { port } = new URL(demo.service.url);
    const cache = join(demo.folder, 'other');
    const settings = { CLIP_MODEL: 'demo', CLIP_CACHE: cache, PORT: port };
    const fault = await startService(settings).catch((reason: unknown) => reason);
    expect(String(fault)).toContain(`cannot listen on 127.0.0.1:${port}: another program uses this port`);
    expect(String(fault)).not.toContain('stack');
    // It was opened while the model was being compiled.
    expect(await readdir(join(cache, 'compiled'))).toEqual([]);
  });
});
