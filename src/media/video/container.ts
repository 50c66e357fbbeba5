import type { Container } from '../../../native/av/demuxer.ts';

/** Bytes of a file's beginning that `sniffContainer` looks at. */
export const SNIFFED_BYTES = 64;

/** What a file's first bytes say it is. */
export type Sniffed =
  | { readonly container: Container }
  /** What it is instead, with its article, as far as anybody can tell. */
  | { readonly other: string | undefined };

/** The brands of ISO files that hold still pictures. */
const pictureBrands: Readonly<Record<string, string>> = {
  avif: 'an AVIF picture',
  avis: 'an AVIF picture',
  heic: 'a HEIC picture',
  heix: 'a HEIC picture',
  mif1: 'a HEIC picture',
};

/** The boxes that QuickTime files without a brand begin with. */
const quickTimeBoxes: ReadonlySet<string> = new Set(['moov', 'mdat', 'wide', 'free', 'skip', 'pnot', 'uuid']);

const otherMagic: readonly (readonly [offset: number, magic: string, name: string])[] = [
  [8, 'AVI ', 'an AVI video'],
  [8, 'WAVE', 'a WAV sound'],
  [8, 'WEBP', 'a WebP picture'],
  [0, 'FLV', 'an FLV video'],
  [0, 'OggS', 'an Ogg file'],
  [0, 'GIF8', 'a GIF picture'],
  [0, '\xff\xd8\xff', 'a JPEG picture'],
  [0, '\x89PNG', 'a PNG picture'],
  [0, '\x30\x26\xb2\x75', 'a WMV or ASF file'],
  [0, '\x00\x00\x01\xba', 'an MPEG program stream'],
  [0, '\x00\x00\x01\xb3', 'an MPEG video stream'],
  [0, 'ID3', 'an MP3 sound'],
  [0, '%PDF', 'a PDF document'],
  [0, 'PK\x03\x04', 'a ZIP archive'],
  [0, '#EXTM3U', 'a playlist'],
];
const EBML = '\x1a\x45\xdf\xa3';
const TRANSPORT_STREAM_SYNC = 'G';

/** Decides by its first bytes which demuxer may see a file; its name does not matter. */
export function sniffContainer(beginning: Uint8Array): Sniffed {
  const text = Buffer.from(beginning.buffer, beginning.byteOffset, beginning.byteLength).toString('latin1');
  const box = text.slice(4, 8);
  if (box === 'ftyp') {
    const picture = pictureBrands[text.slice(8, 12)];
    return picture ? { other: picture } : { container: 'mov' };
  }
  if (quickTimeBoxes.has(box) || box === 'styp') return { container: 'mov' };
  if (text.startsWith(EBML)) return { container: 'matroska' };
  const known = otherMagic.find(([offset, magic]) => text.startsWith(magic, offset));
  if (known) return { other: known[2] };
  return { other: text.startsWith(TRANSPORT_STREAM_SYNC) ? 'an MPEG transport stream' : undefined };
}
