import { resizeAndCrop } from '../../../src/clip/preprocessing.ts';
import { createPictureLoader } from '../../../src/media/picture/picture.ts';
import { createPictureProcesses } from '../../../src/media/picture/picture-process.ts';
import { answerParent, childInput } from './child.ts';
import { measureRate, type Rate } from './rate.ts';

/** Decodes photos over and over, as the service does but for everything around it. */

export interface DecodeInput {
  readonly paths: readonly string[];
  readonly seconds: number;
  /** Photos under way at a time; each is measured by itself. */
  readonly concurrency: readonly number[];
}

export type DecodeRates = readonly (Rate & { readonly concurrency: number })[];

const RESOLUTION = 224;

const { paths, seconds, concurrency } = childInput<DecodeInput>();
const loadPicture = createPictureLoader({
  geometry: (width, height) => resizeAndCrop(width, height, RESOLUTION),
  limits: { imageBytes: Number.MAX_SAFE_INTEGER, imagePixels: Number.MAX_SAFE_INTEGER },
  isolated: createPictureProcesses({ processes: Math.max(...concurrency), memoryBytes: 800 * 1024 ** 2 }),
});
const photos = await Promise.all(paths.map((path) => Bun.file(path).bytes()));

let next = 0;
const decodeOne = async (target: Uint8Array) => {
  await loadPicture(photos[next++ % photos.length] as Uint8Array, target);
  return 1;
};

const rates: DecodeRates[number][] = [];
for (const width of concurrency) {
  const targets = Array.from({ length: width }, () => new Uint8Array(RESOLUTION * RESOLUTION * 3));
  await Promise.all(targets.map(decodeOne));
  const workers = targets.map((target) => () => decodeOne(target));
  rates.push({ concurrency: width, ...(await measureRate(seconds, workers)) });
}
answerParent(rates satisfies DecodeRates);
