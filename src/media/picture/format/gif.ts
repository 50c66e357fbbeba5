import { ByteView, type PictureHeader } from './picture-header.ts';

const EXTENSION = 0x21;
const IMAGE = 0x2c;
const COLOUR_TABLE_FLAG = 0x80;
/** Before the first frame there are comments and metadata, a few KB of them. */
const MAX_EXTENSION_BLOCKS = 1_000_000;
/** Encoders fill their blocks, with 255 bytes each: 263,000 for the largest picture. */
const MAX_PIXEL_BLOCKS = 10_000_000;

/**
 * Reads a GIF's first frame: the picture is that frame, also where it is smaller than the canvas. Frames
 * that come after it are not looked at.
 */
export function readGifHeader(bytes: Uint8Array): PictureHeader {
  const view = new ByteView(bytes, 'gif', 'little');
  let at = 13 + colourTableBytes(view.uint8(10));
  let blocks = MAX_EXTENSION_BLOCKS;
  while (view.uint8(at) === EXTENSION) {
    const chain = walkSubBlocks(view, at + 2, blocks);
    at = chain.end;
    // The empty block at a chain's end is one, too.
    blocks -= 1 + chain.blocks;
    if (blocks < 0) throw inTooManyPieces(view);
  }
  if (view.uint8(at) !== IMAGE) throw view.broken('has no frame');
  const width = view.uint16(at + 5);
  const height = view.uint16(at + 7);
  if (width === 0 || height === 0) throw view.broken(`declares ${width} × ${height} pixels`);
  const codeSize = at + 10 + colourTableBytes(view.uint8(at + 9));
  walkSubBlocks(view, codeSize + 1, MAX_PIXEL_BLOCKS);

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

/**
 * Passes over a chain of sub-blocks, each with its length before it, up to an empty one.
 * @param maximum blocks that it may have
 * @returns the offset behind it, and how many blocks there were
 */
function walkSubBlocks(view: ByteView, from: number, maximum: number): { end: number; blocks: number } {
  const { bytes } = view;
  let at = from;
  let blocks = 0;
  for (let length = bytes[at]; length; length = bytes[at]) {
    at += 1 + length;
    blocks += 1;
    if (blocks > maximum) throw inTooManyPieces(view);
  }
  view.require(at + 1);
  return { end: at + 1, blocks };
}

function inTooManyPieces(view: ByteView) {
  return view.broken('is made of too many pieces: most have a byte or two');
}
