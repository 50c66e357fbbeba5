import type { Rectangle, Size } from '../../../../native/geometry.ts';
import { takeTurns } from '../../../turns.ts';
import { ByteView, ordinaryPicture, type PictureHeader } from './picture-header.ts';

const EXTENSION = 0x21;
const GRAPHIC_CONTROL = 0xf9;
const TRANSPARENT_FLAG = 1;
const IMAGE = 0x2c;
const TRAILER = 0x3b;
const COLOUR_TABLE_FLAG = 0x80;
/** Comments and metadata before the first frame have a few KB. */
const MAX_EXTENSION_BLOCKS = 1_000_000;
/** Encoders fill their blocks with 255 bytes each: 263,000 blocks for the largest picture. */
const MAX_PIXEL_BLOCKS = 10_000_000;
/** Placing a frame on its canvas holds both, and the copy that is resized. */
const PLACING_BYTES_A_PIXEL = 12;

/** The first frame of a GIF. */
interface GifFrame {
  /** Its place on the canvas. */
  readonly place: Rectangle;
  /** All of the picture. */
  readonly canvas: Size;
  /** Offset of the number that says how many bits the first codes have. The codes follow, in blocks. */
  readonly codeSizeAt: number;
  /** Where the blocks of codes end. */
  readonly end: number;
  /** The empty block at their end is missing, or may not be their end: pixels may be missing. */
  readonly isDoubtful: boolean;
  /** Offset of the flags that say that a colour is transparent; undefined: none is. */
  readonly transparencyAt: number | undefined;
  /** [red, green, blue] of the canvas beside the frame. */
  readonly ground: readonly [number, number, number];
}

/**
 * Reads the first frame of a GIF. The picture is the canvas with that frame on it; a frame that is larger enlarges the
 * canvas. Later frames are not read.
 */
export function readGifHeader(bytes: Uint8Array): PictureHeader {
  const { canvas, place, isDoubtful, transparencyAt } = readFrame(bytes);
  const isPlaced = !coversCanvas({ place, canvas });
  return {
    ...ordinaryPicture,
    format: 'gif',
    ...canvas,
    // Without alpha: the reference drops the transparent colour's transparency before it resizes.
    ...((transparencyAt !== undefined || isPlaced) && { seeThrough: true }),
    ...(isDoubtful && { unproven: true }),
    coefficientBytes: isPlaced ? canvas.width * canvas.height * PLACING_BYTES_A_PIXEL : 0,
  };
}

function readFrame(bytes: Uint8Array): GifFrame {
  const view = new ByteView(bytes, 'gif', 'little');
  const globalTable = { at: 13, bytes: colourTableBytes(view.uint8(10)) };
  let at = globalTable.at + globalTable.bytes;
  let blocks = MAX_EXTENSION_BLOCKS;
  let transparencyAt: number | undefined;
  while (view.uint8(at) === EXTENSION) {
    if (view.uint8(at + 1) === GRAPHIC_CONTROL) {
      transparencyAt = view.uint8(at + 3) & TRANSPARENT_FLAG ? at + 3 : undefined;
    }
    const chain = walkSubBlocks(view, at + 2, blocks);
    view.require(chain.end);
    at = chain.end;
    // The empty block at a chain's end counts as well.
    blocks -= 1 + chain.blocks;
    if (blocks < 0) throw inTooManyBlocks(view);
  }
  if (view.uint8(at) !== IMAGE) throw view.broken('has no frame');
  const [left, top] = [view.uint16(at + 1), view.uint16(at + 3)];
  const [width, height] = [view.uint16(at + 5), view.uint16(at + 7)];
  if (width === 0 || height === 0) throw view.broken(`declares ${width} × ${height} pixels`);
  const localTable = { at: at + 10, bytes: colourTableBytes(view.uint8(at + 9)) };
  const codeSizeAt = localTable.at + localTable.bytes;
  view.require(codeSizeAt + 1);
  const { end } = walkSubBlocks(view, codeSizeAt + 1, MAX_PIXEL_BLOCKS);

  const table = localTable.bytes > 0 ? localTable : globalTable;
  // As the reference has it: the transparent colour, or else the first one.
  const colour = transparencyAt === undefined ? 0 : view.uint8(transparencyAt + 3);
  const entry = table.at + colour * 3;
  const ground = colour * 3 < table.bytes ? [bytes[entry]!, bytes[entry + 1]!, bytes[entry + 2]!] : undefined;
  return {
    place: { left, top, width, height },
    canvas: {
      width: Math.max(view.uint16(6), left + width),
      height: Math.max(view.uint16(8), top + height),
    },
    codeSizeAt,
    end,
    // Zeros in place of data that never arrived begin with an empty block, too.
    isDoubtful: end !== view.length && ![EXTENSION, IMAGE, TRAILER].includes(bytes[end]!),
    transparencyAt,
    // Without a table, colours are shades of grey.
    ground: (ground ?? (table.bytes > 0 ? [0, 0, 0] : [colour, colour, colour])) as [number, number, number],
  };
}

function colourTableBytes(flags: number): number {
  return flags & COLOUR_TABLE_FLAG ? 3 << ((flags & 7) + 1) : 0;
}

function coversCanvas({ place, canvas }: Pick<GifFrame, 'place' | 'canvas'>): boolean {
  return place.width === canvas.width && place.height === canvas.height;
}

/**
 * Skips a chain of sub-blocks, each preceded by its length, up to and including the empty one.
 * @param maximum number of blocks in the chain
 * @returns the offset after the chain, beyond the file's end if that comes earlier; and the number of its blocks
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
  return { end: at + 1, blocks };
}

function inTooManyBlocks(view: ByteView) {
  return view.broken('is made of too many blocks of a byte or two');
}

/** The first frame, as a decoder reads it, and what belongs to the picture around it. */
export interface GifPicture extends Pick<GifFrame, 'place' | 'ground'> {
  /** A GIF of the frame alone, or the same bytes. */
  readonly bytes: Uint8Array;
  /** The frame is the whole picture. */
  readonly isWhole: boolean;
}

/**
 * Prepares a GIF for `Bun.Image`, which decodes the first frame and makes transparent pixels black. The reference shows
 * the palette's colour there.
 * @param keepTransparency leaves pixels transparent
 * @throws ServiceError image_broken if the file ends before the frame's last pixel; the signal's reason
 */
export async function prepareGif(
  bytes: Uint8Array,
  {
    keepTransparency,
    signal,
  }: { readonly keepTransparency: boolean; readonly signal: AbortSignal | undefined },
): Promise<GifPicture> {
  const frame = readFrame(bytes);
  const { place, ground, transparencyAt, isDoubtful } = frame;
  let prepared = bytes;
  if (isDoubtful) {
    await requirePixels(bytes, frame, signal);
    if (frame.end > bytes.length) prepared = withEnd(bytes, frame);
  }
  if (transparencyAt !== undefined && !keepTransparency) {
    prepared = prepared === bytes ? new Uint8Array(bytes) : prepared;
    prepared[transparencyAt]! &= ~TRANSPARENT_FLAG;
  }
  return { bytes: prepared, isWhole: coversCanvas(frame), place, ground };
}

/** The file with its last block shortened to what is there, an empty block and the trailer. */
function withEnd(bytes: Uint8Array, { codeSizeAt }: GifFrame): Uint8Array {
  const ended = new Uint8Array(bytes.length + 2);
  ended.set(bytes);
  ended[bytes.length + 1] = TRAILER;
  let at = codeSizeAt + 1;
  while (at + 1 + bytes[at]! < bytes.length) at += 1 + bytes[at]!;
  if (at < bytes.length) ended[at] = bytes.length - at - 1;
  return ended;
}

/** The longest codes. */
const MAX_CODE_BITS = 12;

/**
 * Counts the pixels that the codes of a doubtful file stand for. A decoder would fill in the missing ones.
 * @throws ServiceError image_broken if they are fewer than the frame's; the signal's reason
 */
async function requirePixels(
  bytes: Uint8Array,
  { place, codeSizeAt }: GifFrame,
  signal: AbortSignal | undefined,
): Promise<void> {
  const view = new ByteView(bytes, 'gif', 'little');
  const firstBits = view.uint8(codeSizeAt);
  if (firstBits > MAX_CODE_BITS - 1) throw view.broken('has codes that are too long');
  const clear = 1 << firstBits;
  const turns = takeTurns(signal);
  const declared = place.width * place.height;
  /** Pixels of each code. */
  const lengths = new Uint32Array(1 << MAX_CODE_BITS).fill(1, 0, clear);
  let next = clear + 2;
  let codeBits = firstBits + 1;
  let before = 0;
  let pixels = 0;
  let hasEnded = false;
  const take = (code: number): void => {
    if (code === clear) {
      next = clear + 2;
      codeBits = firstBits + 1;
      before = 0;
      return;
    }
    if (before > 0 && next < lengths.length) {
      lengths[next] = before + 1;
      next += 1;
      if (next === 1 << codeBits && codeBits < MAX_CODE_BITS) codeBits += 1;
    }
    hasEnded = code === clear + 1 || code >= next;
    if (hasEnded) return;
    before = lengths[code]!;
    pixels += before;
  };
  let word = 0;
  let wordBits = 0;
  for (let at = codeSizeAt + 1; bytes[at]; at += 1 + bytes[at]!) {
    if (turns.isOver) await turns.next();
    const end = Math.min(bytes.length, at + 1 + bytes[at]!);
    for (let index = at + 1; index < end; index++) {
      word |= bytes[index]! << wordBits;
      wordBits += 8;
      while (wordBits >= codeBits && !hasEnded && pixels < declared) {
        const code = word & ((1 << codeBits) - 1);
        word >>>= codeBits;
        wordBits -= codeBits;
        take(code);
      }
    }
    if (hasEnded || pixels >= declared) break;
  }
  if (pixels < declared) {
    throw view.truncated(`${declared} pixels are declared, but only ${pixels} are there`);
  }
}
