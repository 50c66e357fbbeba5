import {
  ByteView,
  latin1,
  ordinaryPicture,
  type PictureHeader,
  readExifOrientation,
  withoutExifPrefix,
} from './picture-header.ts';

const RIFF_HEADER_BYTES = 12;
const CHUNK_HEADER_BYTES = 8;
/** A still picture has up to eight chunks, an animation one for each frame. */
const MAX_CHUNKS = 100_000;
const ALPHA_FLAG = 0x10;
const ANIMATION_FLAG = 0x02;

/** Reads a WebP's header (lossy, lossless or extended), and walks its chunks to the end. */
export function readWebpHeader(bytes: Uint8Array): PictureHeader {
  const view = new ByteView(bytes, 'webp', 'little');
  const end = 8 + view.uint32(4);
  view.require(end);

  let size: Pick<PictureHeader, 'width' | 'height' | 'alpha'> | undefined;
  let animated = false;
  let exif: Uint8Array | undefined;
  let chunks = 0;
  for (let at = RIFF_HEADER_BYTES; at + CHUNK_HEADER_BYTES <= end; ) {
    chunks += 1;
    if (chunks > MAX_CHUNKS) throw view.broken(`has more than ${MAX_CHUNKS} chunks`);
    const type = view.fourCc(at);
    const length = view.uint32(at + 4);
    const data = at + CHUNK_HEADER_BYTES;
    view.require(data + length);
    if (type === 'VP8X') {
      const flags = view.uint8(data);
      animated = (flags & ANIMATION_FLAG) !== 0;
      size = {
        width: view.uint24(data + 4) + 1,
        height: view.uint24(data + 7) + 1,
        alpha: (flags & ALPHA_FLAG) !== 0,
      };
    } else if (type === 'VP8 ') {
      size ??= lossySize(view, data);
    } else if (type === 'VP8L') {
      size ??= losslessSize(view, data);
    } else if (type === 'EXIF') {
      exif = bytes.subarray(data, data + length);
    }
    at = data + length + (length % 2);
  }
  if (!size) throw view.broken('has no pixel data');
  if (size.width === 0 || size.height === 0) {
    throw view.broken(`declares ${size.width} × ${size.height} pixels`);
  }
  return {
    ...ordinaryPicture,
    format: 'webp',
    ...size,
    orientation: exif ? readExifOrientation(withoutExifPrefix(exif) ?? exif) : 1,
    rare: animated,
  };
}

/** A key frame's header: 3 bytes of tag, 3 of start code, 14 bits each of width and height. */
function lossySize(view: ByteView, data: number) {
  return { width: view.uint16(data + 6) & 0x3fff, height: view.uint16(data + 8) & 0x3fff, alpha: false };
}

/** A signature byte, 14 bits each of width − 1 and height − 1, one bit for alpha. */
function losslessSize(view: ByteView, data: number) {
  const bits = view.uint32(data + 1);
  return {
    width: (bits & 0x3fff) + 1,
    height: ((bits >>> 14) & 0x3fff) + 1,
    alpha: ((bits >>> 28) & 1) === 1,
  };
}

/** @param head at least the first 21 bytes of a WebP */
export function isAnimatedWebp(head: Uint8Array): boolean {
  return latin1(head, RIFF_HEADER_BYTES, 4) === 'VP8X' && ((head[20] ?? 0) & ANIMATION_FLAG) !== 0;
}
