import { readdir, rename } from 'node:fs/promises';
import { extname, join } from 'node:path';
import { cacheFolder } from '../cache-folder.ts';
import { paintScene } from './scene.ts';

export type PhotoKind = '12mp' | 'cropped' | '500px' | 'phone';

export interface Photo {
  readonly name: string;
  readonly path: string;
  readonly bytes: Uint8Array;
}

/** Photos of one kind: different ones, so that no cache of a processor or program sees the same twice in a row. */
export interface PhotoSet {
  readonly kind: PhotoKind;
  readonly photos: readonly Photo[];
  readonly meanBytes: number;
}

interface Recipe {
  /** Size of the scene as it is painted. */
  readonly painted: readonly [width: number, height: number];
  readonly saved: readonly [width: number, height: number];
  readonly grain: number;
  readonly quality: number;
}

const recipes: Readonly<Record<PhotoKind, Recipe>> = {
  // A smaller photograph scaled up: about 1.1 MB.
  '12mp': { painted: [1344, 1008], saved: [4032, 3024], grain: 3, quality: 88 },
  // As people cut them: no side can be divided by anything that decoders like.
  cropped: { painted: [1344, 1008], saved: [4029, 3021], grain: 3, quality: 88 },
  // About 50 KB.
  '500px': { painted: [500, 375], saved: [500, 375], grain: 8, quality: 88 },
  // Sharp to the pixel, with the sensor's noise in it: about 5 MB.
  phone: { painted: [4032, 3024], saved: [4032, 3024], grain: 9, quality: 94 },
};

export const photoKinds = Object.keys(recipes) as readonly PhotoKind[];

/** Different photos a kind. */
const PHOTOS = 8;

/** Paints the photos of a kind, or reads those painted before. */
export async function madePhotos(kind: PhotoKind): Promise<PhotoSet> {
  const folder = await cacheFolder('photos', kind);
  const photos: Photo[] = [];
  for (let seed = 1; seed <= PHOTOS; seed++) {
    const name = `${kind}-${seed}.jpg`;
    const path = join(folder, name);
    if (!(await Bun.file(path).exists())) await writeWhole(path, await takePhoto(recipes[kind], seed));
    photos.push({ name, path, bytes: await Bun.file(path).bytes() });
  }
  return photoSet(kind, photos);
}

/** Of a sharp photo with a sensor's noise, saved at quality 94. */
const BYTES_PER_PIXEL = 0.43;

/** A photo of so many bytes, within some percent, as phones take them. It is made once. */
export async function photoOfBytes(bytes: number, seed: number): Promise<Uint8Array> {
  const path = join(await cacheFolder('photos', 'by-size'), `${bytes}-${seed}.jpg`);
  if (!(await Bun.file(path).exists())) {
    const height = Math.round(Math.sqrt((bytes / BYTES_PER_PIXEL) * 0.75));
    const size = [Math.round((height * 4) / 3), height] as const;
    await writeWhole(path, await takePhoto({ painted: size, saved: size, grain: 9, quality: 94 }, seed));
  }
  return await Bun.file(path).bytes();
}

async function takePhoto(recipe: Recipe, seed: number): Promise<Uint8Array> {
  const { painted, saved, grain, quality } = recipe;
  const scene = new Bun.Image(paintScene({ seed, width: painted[0], height: painted[1], grain }));
  return await saveAs(scene, saved, quality);
}

async function saveAs(image: Bun.Image, [width, height]: readonly [number, number], quality: number) {
  return await image.resize(width, height, { filter: 'cubic' }).jpeg({ quality }).bytes();
}

/**
 * Photos of one's own: phone photos are those as they are, the other kinds are made of them as a person
 * would, by scaling.
 */
export async function givenPhotos(kind: PhotoKind, folder: string): Promise<PhotoSet> {
  const names = (await readdir(folder))
    .filter((name) => /^\.(?:jpe?g|png|webp)$/i.test(extname(name)))
    .sort();
  if (names.length === 0) throw new Error(`There is no JPEG, PNG or WebP in ${folder}.`);
  const scaled = await cacheFolder('photos', 'given', Bun.hash(folder).toString(36), kind);
  const photos: Photo[] = [];
  for (const name of names) {
    const bytes = await Bun.file(join(folder, name)).bytes();
    if (kind === 'phone') {
      photos.push({ name, path: join(folder, name), bytes });
      continue;
    }
    const path = join(scaled, `${name}.jpg`);
    const image = new Bun.Image(bytes);
    const { width, height } = await image.metadata();
    // To as many pixels, whatever the shape: 12 megapixels are 12 megapixels.
    const [savedWidth, savedHeight] = recipes[kind].saved;
    const scale = Math.sqrt((savedWidth * savedHeight) / (width * height));
    const size = [Math.round(width * scale), Math.round(height * scale)] as const;
    const photo = await saveAs(image, size, recipes[kind].quality);
    await writeWhole(path, photo);
    photos.push({ name: `${name}.jpg`, path, bytes: photo });
  }
  return photoSet(kind, photos);
}

function photoSet(kind: PhotoKind, photos: readonly Photo[]): PhotoSet {
  const total = photos.reduce((sum, { bytes }) => sum + bytes.byteLength, 0);
  return { kind, photos, meanBytes: total / photos.length };
}

/** A run that is interrupted leaves no half file behind. */
async function writeWhole(path: string, bytes: Uint8Array): Promise<void> {
  const partial = `${path}.${process.pid}.part`;
  await Bun.write(partial, bytes);
  await rename(partial, path);
}
