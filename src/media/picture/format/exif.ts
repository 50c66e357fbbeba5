import type { Orientation } from '../../../../native/image/bitmap.ts';
import { latin1 } from './byte-view.ts';

const ORIENTATION_TAG = 0x0112;
const ENTRY_BYTES = 12;

/**
 * Reads the orientation from EXIF data: a TIFF header and its first directory. Whatever is wrong with it,
 * the picture counts as upright: EXIF is advice.
 */
export function readExifOrientation(exif: Uint8Array): Orientation {
  const view = new DataView(exif.buffer, exif.byteOffset, exif.byteLength);
  try {
    const byteOrder = view.getUint16(0);
    if (byteOrder !== 0x4949 && byteOrder !== 0x4d4d) return 1;
    const littleEndian = byteOrder === 0x4949;
    const directory = view.getUint32(4, littleEndian);
    const entries = view.getUint16(directory, littleEndian);
    for (let index = 0; index < entries; index++) {
      const entry = directory + 2 + index * ENTRY_BYTES;
      if (view.getUint16(entry, littleEndian) === ORIENTATION_TAG) {
        return toOrientation(view.getUint16(entry + 8, littleEndian));
      }
    }
  } catch (fault) {
    if (!(fault instanceof RangeError)) throw fault;
  }
  return 1;
}

export function toOrientation(value: number): Orientation {
  return Number.isInteger(value) && value >= 1 && value <= 8 ? (value as Orientation) : 1;
}

const EXIF_PREFIX = 'Exif\0\0';

/** EXIF data as JPEG (always) and WebP (sometimes) carry it, after a prefix; undefined without one. */
export function withoutExifPrefix(data: Uint8Array): Uint8Array | undefined {
  return latin1(data, 0, EXIF_PREFIX.length) === EXIF_PREFIX ? data.subarray(EXIF_PREFIX.length) : undefined;
}
