import type { PictureHeader } from '../../../native/image/picture-header.ts';
import { ByteView } from './byte-view.ts';

const EXTENSION = 0x21;
const IMAGE = 0x2c;
const COLOUR_TABLE_FLAG = 0x80;

/**
 * Reads a GIF's first frame: the picture is that frame, also where it is smaller than the canvas. Frames
 * that come after it are not looked at.
 */
export function readGifHeader(bytes: Uint8Array): PictureHeader {
  const view = new ByteView(bytes, 'gif', 'little');
  let at = 13 + colourTableBytes(view.uint8(10));
  while (view.uint8(at) === EXTENSION) at = endOfSubBlocks(view, at + 2);
  if (view.uint8(at) !== IMAGE) throw view.broken('has no frame');
  const width = view.uint16(at + 5);
  const height = view.uint16(at + 7);
  if (width === 0 || height === 0) throw view.broken(`declares ${width} × ${height} pixels`);
  const codeSize = at + 10 + colourTableBytes(view.uint8(at + 9));
  endOfSubBlocks(view, codeSize + 1);

  return {
    format: 'gif',
    width,
    height,
    orientation: 1,
    // The reference drops the transparent colour's transparency before it resizes.
    alpha: false,
    rare: false,
    grey: false,
    coefficientBytes: 0,
  };
}

function colourTableBytes(flags: number): number {
  return flags & COLOUR_TABLE_FLAG ? 3 << ((flags & 7) + 1) : 0;
}

/** Offset behind a chain of sub-blocks, each with its length before it, up to an empty one. */
function endOfSubBlocks(view: ByteView, from: number): number {
  let at = from;
  for (let length = view.uint8(at); length !== 0; length = view.uint8(at)) at += 1 + length;
  return at + 1;
}
