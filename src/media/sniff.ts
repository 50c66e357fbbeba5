import type { PictureFormat } from '../../native/image/bitmap.ts';
import { latin1 } from './picture/format/byte-view.ts';

/** What a file is by its content: a format that is decoded here, or a name for anything else. */
export type Content = { readonly format: PictureFormat } | { readonly other: string };

/** [offset, bytes as Latin-1] that a file of this kind has. */
type Signature = readonly [offset: number, bytes: string][];

const pictures: readonly [PictureFormat, Signature][] = [
  ['jpeg', [[0, '\xff\xd8\xff']]],
  ['png', [[0, '\x89PNG\r\n\x1a\n']]],
  [
    'webp',
    [
      [0, 'RIFF'],
      [8, 'WEBP'],
    ],
  ],
  ['gif', [[0, 'GIF87a']]],
  ['gif', [[0, 'GIF89a']]],
];

/** Two letters are little evidence: whatever writes BMPs leaves the reserved field at 0. */
const bitmap: Signature = [
  [0, 'BM'],
  [6, '\0\0\0\0'],
];

/** Checked before TIFF: cameras' raw pictures and others begin like one. */
const others: readonly [what: string, Signature][] = [
  ['a camera’s raw picture (CR2)', [[8, 'CR\x02\0']]],
  ['a camera’s raw picture (ORF)', [[0, 'IIRO']]],
  ['a camera’s raw picture (ORF)', [[0, 'IIRS']]],
  ['a camera’s raw picture (RW2)', [[0, 'IIU\0']]],
  ['a camera’s raw picture (RAF)', [[0, 'FUJIFILMCCD-RAW']]],
  ['a camera’s raw picture (X3F)', [[0, 'FOVb']]],
  ['a JPEG XL picture', [[0, '\xff\x0a']]],
  ['a JPEG XL picture', [[4, 'JXL \r\n']]],
  ['a JPEG 2000 picture', [[4, 'jP  \r\n']]],
  ['a JPEG 2000 picture', [[0, '\xff\x4f\xff\x51']]],
  ['a Photoshop document', [[0, '8BPS']]],
  ['a Windows icon', [[0, '\0\0\x01\0']]],
  ['an OpenEXR picture', [[0, '\x76\x2f\x31\x01']]],
  ['a Radiance HDR picture', [[0, '#?RADIANCE']]],
  ['a QOI picture', [[0, 'qoif']]],
  ['a PDF document', [[0, '%PDF-']]],
  ['a PostScript document', [[0, '%!PS']]],
  ['a Matroska or WebM video', [[0, '\x1a\x45\xdf\xa3']]],
  [
    'an AVI video',
    [
      [0, 'RIFF'],
      [8, 'AVI '],
    ],
  ],
  ['a Flash video', [[0, 'FLV\x01']]],
  ['an MPEG video', [[0, '\0\0\x01\xba']]],
  [
    'an MPEG transport stream',
    [
      [0, 'G'],
      [188, 'G'],
      [376, 'G'],
    ],
  ],
  [
    'a WAV sound',
    [
      [0, 'RIFF'],
      [8, 'WAVE'],
    ],
  ],
  ['an MP3 sound', [[0, 'ID3']]],
  ['an Ogg sound or video', [[0, 'OggS']]],
  ['a zip archive (or an office document)', [[0, 'PK\x03\x04']]],
  ['a gzip archive', [[0, '\x1f\x8b']]],
];

const tiffs: readonly Signature[] = [[[0, 'II*\0']], [[0, 'MM\0*']], [[0, 'II+\0']], [[0, 'MM\0+']]];

/** Brands of the ISO base media file format, by what the file is. */
const brands: readonly [what: Content, pattern: RegExp][] = [
  [{ format: 'avif' }, /^avi[fs]$/],
  [{ other: 'a HEIC picture' }, /^(?:hei[cxms]|hev[cxms])$/],
  [{ other: 'a camera’s raw picture (CR3)' }, /^crx $/],
  [{ other: 'a HEIF picture' }, /^(?:mif[12]|msf1)$/],
  [{ other: 'a QuickTime video' }, /^qt {2}$/],
  [{ other: 'an MP4 video' }, /^(?:isom|iso\d|mp4\d|avc1|M4V|dash|3g)/],
];

/** Of a file's compatible brands so many are looked at; real files have up to 20. */
const MAXIMUM_BRANDS = 1000;

/** How much of a file is looked at to tell whether it is text. */
const TEXT_SAMPLE_BYTES = 1024;

/** Decides by content, never by name or declared type. */
export function recognise(bytes: Uint8Array): Content {
  const has = (signature: Signature) =>
    signature.every(([offset, text]) => latin1(bytes, offset, text.length) === text);

  const picture = pictures.find(([, signature]) => has(signature));
  if (picture) return { format: picture[0] };
  const other = others.find(([, signature]) => has(signature));
  if (other) return { other: other[0] };
  if (tiffs.some(has)) return { format: 'tiff' };
  if (latin1(bytes, 4, 4) === 'ftyp') return recogniseBrand(bytes);
  if (['moov', 'mdat', 'wide'].includes(latin1(bytes, 4, 4))) return { other: 'a QuickTime video' };
  if (has(bitmap)) return { format: 'bmp' };
  return { other: recogniseText(bytes) ?? 'of no known picture format' };
}

/** A file may be several things at once: the brands are asked in our order, not in the file's. */
function recogniseBrand(bytes: Uint8Array): Content {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const end = Math.min(bytes.length, Math.max(view.getUint32(0), 16), 16 + 4 * MAXIMUM_BRANDS);
  const found: string[] = [];
  // The major brand, 4 bytes of version, then the compatible ones.
  for (let at = 8; at + 4 <= end; at += 4) if (at !== 12) found.push(latin1(bytes, at, 4));
  const brand = brands.find(([, pattern]) => found.some((name) => pattern.test(name)));
  return brand?.[0] ?? { other: 'of no known picture format' };
}

function recogniseText(bytes: Uint8Array): string | undefined {
  const sample = latin1(bytes, 0, TEXT_SAMPLE_BYTES);
  if (/<svg[\s>]/i.test(sample)) return 'an SVG drawing';
  if (/^\s*(?:<!doctype html|<html)/i.test(sample)) return 'an HTML page';
  // No control characters but tab, line feed, form feed and carriage return.
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is looked for
  return /^[^\0-\x08\x0b\x0e-\x1f\x7f]*$/.test(sample) ? 'text' : undefined;
}
