import { DecodeError } from './decode-error.ts';
import { Intermediate } from './intermediate.ts';
import type { Orientation, Size } from './picture-header.ts';

export interface BuiltinDecodeOptions {
  /** What the header declared; a picture that turns out larger is refused before memory is taken for it. */
  readonly declaredPixels: number;
  readonly orientation?: Orientation;
  /** Size after the orientation. Pictures keep theirs where this is left out. */
  readonly resized?: Size;
}

/**
 * Decodes a JPEG, PNG, still WebP, GIF or plain BMP with `Bun.Image`, off the main thread: turns it upright,
 * resizes it with Pillow's antialiased bicubic filter (±1 of 255).
 *
 * A JPEG that is made smaller is shrunk by the inverse DCT first, to the smallest n/8 that is not below
 * `resized`: ask for `shrunkSize` first and resize that in a second step.
 * @returns the pixels as a PNG for `StoredPng`
 * @throws DecodeError
 */
export async function decodeBuiltin(bytes: Uint8Array, options: BuiltinDecodeOptions): Promise<Intermediate> {
  const { declaredPixels, orientation = 1, resized } = options;
  const resizedPixels = resized ? resized.width * resized.height : 0;
  // maxPixels bounds the input, the output, and what lies between the two passes of a resize: with the
  // ratio kept, that is never the largest.
  const image = new Bun.Image(bytes, {
    autoOrient: false,
    maxPixels: Math.max(declaredPixels, resizedPixels),
  });
  turnUpright(image, orientation);
  if (resized) image.resize(resized.width, resized.height, { filter: 'cubic' });
  try {
    return new Intermediate(await image.png({ compressionLevel: 0 }).bytes());
  } catch (cause) {
    const reason = reasons.get((cause as { code?: string }).code ?? '');
    if (reason === undefined) throw cause;
    throw new DecodeError(reason, (cause as Error).message, { cause });
  }
}

const reasons: ReadonlyMap<string, DecodeError['reason']> = new Map([
  ['ERR_IMAGE_DECODE_FAILED', 'broken'],
  // The header promised fewer pixels: it contradicts the data.
  ['ERR_IMAGE_TOO_MANY_PIXELS', 'broken'],
  ['ERR_IMAGE_UNKNOWN_FORMAT', 'unsupported'],
  ['ERR_IMAGE_FORMAT_UNSUPPORTED', 'unsupported'],
]);

/** Rotation is done before mirroring, in whatever order they are asked for. */
function turnUpright(image: Bun.Image, orientation: Orientation): void {
  const degrees = { 1: 0, 2: 0, 3: 180, 4: 0, 5: 90, 6: 90, 7: 90, 8: 270 }[orientation];
  if (degrees !== 0) image.rotate(degrees);
  if (orientation === 2 || orientation === 5) image.flop();
  if (orientation === 4 || orientation === 7) image.flip();
}
