import { makeThumbnail, type Thumbnail } from '../../../src/media/video/thumbnail.ts';
import type { Colour } from '../../fixtures/colour-pictures.ts';

const size = { width: 32, height: 16 };

/** A small picture of stripes, so that it is not blank; `shift` moves them. */
export function striped(colour: Colour, shift = 0, depth = 30): Thumbnail {
  const pixels = new Uint8Array(size.width * size.height * 3);
  for (let at = 0; at < pixels.length; at++) {
    const x = Math.floor(at / 3) % size.width;
    const stripe = (Math.floor((x + shift) / 4) % 2) * depth;
    pixels[at] = Math.max(0, colour[at % 3]! - stripe);
  }
  return makeThumbnail({ ...size, pixels });
}

/** A picture of one colour. */
export function flat(colour: Colour): Thumbnail {
  return striped(colour, 0, 0);
}
