import { ServiceError } from '../../src/errors.ts';
import {
  createPictureLoader,
  type LoadPictureOptions,
  type PictureLoaderOptions,
} from '../../src/media/picture/picture.ts';
import { createPictureProcesses } from '../../src/media/picture/picture-process.ts';
import { bmp, type Rgba } from './sample-pictures.ts';

export const side = 16;
/** As the service has them. They end with the tests. */
export const isolated = createPictureProcesses({ processes: 2, memoryBytes: 800 * 1024 ** 2 });
export const limits = { imageBytes: 1_000_000, imagePixels: 1_000_000 };

/** The short side fits, the middle of the long one is kept; rounding does not matter here. */
export function geometry(width: number, height: number) {
  const short = Math.min(width, height);
  const resizedWidth = Math.trunc((width * side) / short);
  const resizedHeight = Math.trunc((height * side) / short);
  return {
    resizedWidth,
    resizedHeight,
    cropLeft: (resizedWidth - side) >> 1,
    cropTop: (resizedHeight - side) >> 1,
  };
}

export async function load(
  bytes: Uint8Array,
  options: Partial<PictureLoaderOptions> = {},
  asked?: LoadPictureOptions,
): Promise<Uint8Array> {
  const target = new Uint8Array(side * side * 3);
  await createPictureLoader({ geometry, limits, isolated, ...options })(bytes, target, asked);
  return target;
}

/** The error that loading ends with. */
export async function fault(
  bytes: Uint8Array,
  options: Partial<PictureLoaderOptions> = {},
): Promise<{ code: string; message: string }> {
  const thrown = await load(bytes, options).then(
    () => undefined,
    (error: unknown) => error,
  );
  if (!(thrown instanceof ServiceError))
    throw new Error('It did not end with a ServiceError.', { cause: thrown });
  return thrown;
}

export function meanDifference(a: Uint8Array, b: Uint8Array): number {
  return a.reduce((sum, value, at) => sum + Math.abs(value - b[at]!), 0) / a.length;
}

/** Smooth, so that any two decoders agree on it. */
export const gradient = (x: number, y: number): Rgba => [x * 6, y * 7, 255 - x * 3 - y * 2, 255];
export const [width, height] = [40, 30];
export const reference = await load(bmp(width, height, gradient));
