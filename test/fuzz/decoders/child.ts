import { openSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { ExifOrientation } from '../../../native/geometry.ts';
import { DecodeError, decodeBuiltin } from '../../../native/image/builtin-decoder.ts';
import { resizeAndCrop } from '../../../src/clip/preprocessing.ts';
import { ServiceError } from '../../../src/errors.ts';
import { giveBack } from '../../../src/garbage.ts';
import { prepareGif } from '../../../src/media/picture/format/gif.ts';
import { shownSize } from '../../../src/media/picture/format/picture-header.ts';
import { decodeSquare } from '../../../src/media/picture/picture.ts';
import { readPictureHeader } from '../../../src/media/sniff.ts';
import { createRandom, type Random } from '../../robustness/random.ts';
import { keepInput, keptInput } from '../watched-child.ts';
import { hostileBmp } from './bmp.ts';
import { hostileGif } from './gif.ts';
import { hostileJpeg } from './jpeg.ts';
import { hostilePng } from './png.ts';
import { type BuiltinFormat, loadSeeds } from './seeds.ts';
import { hostileWebp } from './webp.ts';

/**
 * Decodes hostile pictures of one format, over and over, until it is ended or dies.
 *
 *   bun test/fuzz/decoders/child.ts FORMAT SEED INPUT_FILE FINDINGS_FOLDER [FOLDER_OF_SEEDS...]
 *
 * The picture that is being decoded is always in INPUT_FILE; see `keepInput`.
 */

/** The model's own; and a small one, towards which small JPEGs are shrunk while they are decoded. */
const sides = [224, 32, 32] as const;
/** Larger ones only seldom: a hundred small pictures find more in the same time. */
const LARGE_PIXELS = 500_000;
const MAXIMUM_PIXELS = 16_000_000;

const makers: Readonly<Record<BuiltinFormat, (seeds: readonly Uint8Array[], random: Random) => Uint8Array>> =
  {
    jpeg: hostileJpeg,
    png: hostilePng,
    webp: hostileWebp,
    gif: hostileGif,
    bmp: hostileBmp,
  };

const [format, seed, inputFile, findings, ...folders] = process.argv.slice(2);
const random = createRandom(Number(seed));
const seeds = await loadSeeds(format as BuiltinFormat, folders);
const make = makers[format as BuiltinFormat];
const descriptor = openSync(inputFile!, 'w');
const counts = { inputs: 0, headers: 0, decoded: 0, direct: 0, directDecoded: 0, unsteady: 0, exceptions: 0 };
let reportedAt = performance.now();

for (;;) {
  const bytes = make(seeds, random);
  keepInput(descriptor, bytes);
  counts.inputs += 1;
  try {
    await decodeAsTheServiceDoes(bytes);
    if (random.chance(0.3)) await decodeAnyhow(bytes);
  } catch (fault) {
    counts.exceptions += 1;
    save('exception', String((fault as Error).stack));
  }
  if (performance.now() - reportedAt > 5000) {
    reportedAt = performance.now();
    console.log(JSON.stringify(counts));
    Bun.gc(true);
  }
}

async function decodeAsTheServiceDoes(bytes: Uint8Array): Promise<void> {
  const header = orRefused(() => readPictureHeader(bytes));
  if (!header || !isAffordable(header.width * header.height)) return;
  counts.headers += 1;
  const shown = shownSize(header);
  const side = random.pick(sides);
  const target = new Uint8Array(side * side * 3);
  const place = resizeAndCrop(shown.width, shown.height, side);
  if (!(await orBroken(() => decodeSquare(bytes, { header, place }, target)))) return;
  counts.decoded += 1;
  if (!random.chance(0.05)) return;
  const again = new Uint8Array(target.length);
  // Memory that was never written to would show in one picture what was in another.
  const isDecoded = await orBroken(() => decodeSquare(bytes, { header, place }, again));
  if (isDecoded && Buffer.compare(target, again) === 0) return;
  counts.unsteady += 1;
  save('unsteady', 'The same picture was decoded to different pixels.');
}

/** Also what our own reading of the header refuses, at sizes and orientations that the header does not ask for. */
async function decodeAnyhow(bytes: Uint8Array): Promise<void> {
  // Of an empty one `Bun.Image` says that it was taken away.
  if (bytes.length === 0) return;
  counts.direct += 1;
  const header = orRefused(() => readPictureHeader(bytes));
  const declaredPixels = random.chance(0.95) ? LARGE_PIXELS : MAXIMUM_PIXELS;
  const readable =
    header?.format === 'gif' && random.chance(0.5)
      ? await prepareGif(bytes, { keepTransparency: false, signal: undefined }).then(
          (gif) => gif.bytes,
          () => bytes,
        )
      : bytes;
  const resized = random.chance(0.7)
    ? { width: 1 + random.below(400), height: 1 + random.below(400) }
    : undefined;
  const options = { declaredPixels, orientation: (1 + random.below(8)) as ExifOrientation };
  const isDecoded = await orBroken(async () => {
    giveBack(await decodeBuiltin(readable, { ...options, ...(resized && { resized }) }));
  });
  if (isDecoded) counts.directDecoded += 1;
}

function isAffordable(pixels: number): boolean {
  return pixels <= LARGE_PIXELS || (pixels <= MAXIMUM_PIXELS && random.chance(0.02));
}

function orRefused<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch (fault) {
    if (fault instanceof ServiceError) return undefined;
    throw fault;
  }
}

/** Whether it was decoded: pictures that are refused as broken are answered as they should be. */
async function orBroken(decode: () => Promise<unknown>): Promise<boolean> {
  try {
    await decode();
    return true;
  } catch (fault) {
    if (fault instanceof DecodeError) return false;
    throw fault;
  }
}

function save(kind: string, note: string): void {
  const name = join(findings!, `${format}-${kind}-${seed}-${counts.inputs}`);
  writeFileSync(name, keptInput(inputFile!));
  writeFileSync(`${name}.txt`, note);
}
