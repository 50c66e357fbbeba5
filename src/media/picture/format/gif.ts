import { ByteView, ordinaryPicture, type PictureHeader } from './picture-header.ts';

const EXTENSION = 0x21;
const GRAPHIC_CONTROL = 0xf9;
const TRANSPARENT_FLAG = 1;
const IMAGE = 0x2c;
const COLOUR_TABLE_FLAG = 0x80;
/** Comments and metadata before the first frame have a few KB. */
const MAX_EXTENSION_BLOCKS = 1_000_000;
/** Encoders fill their blocks with 255 bytes each: 263,000 blocks for the largest picture. */
const MAX_PIXEL_BLOCKS = 10_000_000;

/**
 * Reads the first frame of a GIF. The picture is that frame, even if it is smaller than the canvas. Later frames are
 * not read.
 */
export function readGifHeader(bytes: Uint8Array): PictureHeader {
  const view = new ByteView(bytes, 'gif', 'little');
  let at = 13 + colourTableBytes(view.uint8(10));
  let blocks = MAX_EXTENSION_BLOCKS;
  while (view.uint8(at) === EXTENSION) {
    const chain = walkSubBlocks(view, at + 2, blocks);
    at = chain.end;
    // The empty block at a chain's end counts as well.
    blocks -= 1 + chain.blocks;
    if (blocks < 0) throw inTooManyBlocks(view);
  }
  if (view.uint8(at) !== IMAGE) throw view.broken('has no frame');
  const width = view.uint16(at + 5);
  const height = view.uint16(at + 7);
  if (width === 0 || height === 0) throw view.broken(`declares ${width} × ${height} pixels`);
  const codeSize = at + 10 + colourTableBytes(view.uint8(at + 9));
  walkSubBlocks(view, codeSize + 1, MAX_PIXEL_BLOCKS);

  // Without alpha: the reference drops the transparent colour's transparency before it resizes.
  return { ...ordinaryPicture, format: 'gif', width, height };
}

function colourTableBytes(flags: number): number {
  return flags & COLOUR_TABLE_FLAG ? 3 << ((flags & 7) + 1) : 0;
}

/**
 * Skips a chain of sub-blocks, each preceded by its length, up to and including the empty one.
 * @param maximum number of blocks in the chain
 * @returns the offset after the chain, and the number of its blocks
 */
function walkSubBlocks(view: ByteView, from: number, maximum: number): { end: number; blocks: number } {
  const { bytes } = view;
  let at = from;
  let blocks = 0;
  for (let length = bytes[at]; length; length = bytes[at]) {
    at += 1 + length;
    blocks += 1;
    if (blocks > maximum) throw inTooManyBlocks(view);
  }
  view.require(at + 1);
  return { end: at + 1, blocks };
}

function inTooManyBlocks(view: ByteView) {
  return view.broken('is made of too many blocks of a byte or two');
}

/**
 * Makes the first frame of a GIF opaque. `Bun.Image` makes transparent pixels black; the reference shows the palette's
 * colour there.
 * @returns the same bytes if nothing is transparent, else a changed copy
 */
export function opaqueGif(bytes: Uint8Array): Uint8Array {
  let at = 13 + colourTableBytes(bytes[10]!);
  let opaque = bytes;
  while (bytes[at] === EXTENSION) {
    if (bytes[at + 1] === GRAPHIC_CONTROL && bytes[at + 3]! & TRANSPARENT_FLAG) {
      opaque = opaque === bytes ? new Uint8Array(bytes) : opaque;
      opaque[at + 3]! &= ~TRANSPARENT_FLAG;
    }
    at += 2;
    while (bytes[at]) at += 1 + bytes[at]!;
    at += 1;
  }
  return opaque;
}
