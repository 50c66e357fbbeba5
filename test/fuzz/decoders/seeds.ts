import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { bmp, cutOut, jpeg, webp } from '../../media/sample-pictures.ts';
import { loadMedia } from '../../robustness/hostile/media.ts';

/** The formats that are decoded in the service's own process. */
export const builtinFormats = ['jpeg', 'png', 'webp', 'gif', 'bmp'] as const;
export type BuiltinFormat = (typeof builtinFormats)[number];

const endings: Readonly<Record<BuiltinFormat, RegExp>> = {
  jpeg: /\.jpe?g$/,
  png: /\.png$/,
  webp: /\.webp$/,
  gif: /\.gif$/,
  bmp: /\.bmp$/,
};

/** Larger ones take most of the time, and go no other way. */
const MAXIMUM_BYTES = 60_000;

/**
 * Sound pictures that mutations start from: those of the tests, and those of further folders.
 * @param folders paths
 */
export async function loadSeeds(
  format: BuiltinFormat,
  folders: readonly string[],
): Promise<readonly Uint8Array[]> {
  const ending = endings[format];
  const made = (await loadMedia()).filter(({ name }) => ending.test(name)).map(({ bytes }) => bytes);
  const found = [join(import.meta.dir, '../../golden/images'), ...folders].flatMap((folder) =>
    readdirSync(folder)
      .filter((name) => ending.test(name))
      .map((name) => new Uint8Array(readFileSync(join(folder, name)))),
  );
  return [...made, ...found, ...(await more(format))].filter((bytes) => bytes.length <= MAXIMUM_BYTES);
}

async function more(format: BuiltinFormat): Promise<Uint8Array[]> {
  if (format === 'jpeg')
    return [await jpeg(16, 16), await jpeg(130, 9, true)].map((bytes) => Uint8Array.from(bytes));
  if (format !== 'webp') return [];
  const lossy = [
    [16, 16, 50],
    [61, 47, 5],
    [130, 70, 90],
    [33, 200, 30],
  ].map(([width, height, quality]) =>
    new Bun.Image(bmp(width!, height!, cutOut)).webp({ quality: quality! }).bytes(),
  );
  return [...(await Promise.all(lossy)), await webp(130, 70)].map((bytes) => Uint8Array.from(bytes));
}
