import { unsupportedPicture } from '../picture-errors.ts';
import { ByteView, ordinaryPicture, type PictureHeader } from './picture-header.ts';

const FILE_HEADER_BYTES = 14;
const CORE_HEADER_BYTES = 12;
const INFO_HEADER_BYTES = 40;
const V4_HEADER_BYTES = 108;
const ALPHA_MASK_OFFSET = 66;

const UNCOMPRESSED = 0;
const RLE8 = 1;
const RLE4 = 2;
const BITFIELDS = 3;
const ALPHA_BITFIELDS = 6;

/** Reads a BMP's header, Windows' or OS/2's. */
export function readBmpHeader(bytes: Uint8Array): PictureHeader {
  const view = new ByteView(bytes, 'bmp', 'little');
  const pixelsOffset = view.uint32(10);
  const headerBytes = view.uint32(FILE_HEADER_BYTES);
  const core = headerBytes === CORE_HEADER_BYTES;
  if (!core && headerBytes < INFO_HEADER_BYTES) throw view.broken('has an unknown kind of header');
  view.require(FILE_HEADER_BYTES + headerBytes);
  const width = core ? view.uint16(18) : view.int32(18);
  // A negative height means that the top row comes first.
  const height = Math.abs(core ? view.uint16(20) : view.int32(22));
  const bitsPerPixel = view.uint16(core ? 24 : 28);
  const compression = core ? UNCOMPRESSED : view.uint32(30);
  if (width <= 0 || height === 0) throw view.broken(`declares ${width} × ${height} pixels`);
  if (![UNCOMPRESSED, RLE8, RLE4, BITFIELDS, ALPHA_BITFIELDS].includes(compression)) {
    throw unsupportedPicture('a BMP that wraps a JPEG or PNG');
  }
  if (compression !== RLE8 && compression !== RLE4) {
    const rowBytes = Math.ceil((width * bitsPerPixel) / 32) * 4; // rows end on a multiple of 4
    view.require(pixelsOffset + rowBytes * height);
  }

  const masked = compression === BITFIELDS && headerBytes >= V4_HEADER_BYTES;
  return {
    ...ordinaryPicture,
    format: 'bmp',
    width,
    height,
    alpha: bitsPerPixel === 32 && masked && view.uint32(ALPHA_MASK_OFFSET) !== 0,
    rare: core || bitsPerPixel < 24 || (compression !== UNCOMPRESSED && compression !== BITFIELDS),
  };
}
