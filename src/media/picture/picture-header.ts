import type { PictureFormat, PictureHeader } from '../../../native/image/bitmap.ts';
import { recognise } from '../sniff.ts';
import { readAvifHeader } from './format/avif.ts';
import { readBmpHeader } from './format/bmp.ts';
import { readGifHeader } from './format/gif.ts';
import { readJpegHeader } from './format/jpeg.ts';
import { readPngHeader } from './format/png.ts';
import { readTiffHeader } from './format/tiff.ts';
import { readWebpHeader } from './format/webp.ts';
import { unsupportedPicture } from './picture-errors.ts';

const readers: Readonly<Record<PictureFormat, (bytes: Uint8Array) => PictureHeader>> = {
  jpeg: readJpegHeader,
  png: readPngHeader,
  webp: readWebpHeader,
  gif: readGifHeader,
  bmp: readBmpHeader,
  tiff: readTiffHeader,
  avif: readAvifHeader,
};

/**
 * Reads a picture's header without decoding it, and makes sure that the file is there up to its end.
 * @throws ServiceError image_unsupported, image_broken, image_too_large (where a format has its own limit)
 */
export function readPictureHeader(bytes: Uint8Array): PictureHeader {
  const content = recognise(bytes);
  if ('other' in content) throw unsupportedPicture(content.other);
  return readers[content.format](bytes);
}
