import type { Container } from '../../native/av/demuxer.ts';
import { type PictureFormat, pictureFormats } from '../contract/formats.ts';
import { readAvifHeader } from './picture/format/avif.ts';
import { bmpHeaderLengths, readBmpHeader } from './picture/format/bmp.ts';
import { readGifHeader } from './picture/format/gif.ts';
import { readHeicHeader } from './picture/format/heic.ts';
import { readJpegHeader } from './picture/format/jpeg.ts';
import { latin1, type PictureHeader } from './picture/format/picture-header.ts';
import { readPngHeader } from './picture/format/png.ts';
import { isRawTiff, readRawHeader } from './picture/format/raw.ts';
import { readTiffHeader } from './picture/format/tiff.ts';
import { readWebpHeader } from './picture/format/webp.ts';
import { unsupportedPicture } from './picture/picture-errors.ts';

/** A kind of file, recognised by its content. */
interface Content {
  /** Its name with an article: `a HEIC picture`. */
  readonly name: string;
  /** Set for a picture that is accepted. */
  readonly format?: PictureFormat;
  /** Set for a video that is accepted: the demuxer that reads it. */
  readonly container?: Container;
}

/** [offset, bytes as Latin-1] pairs that a file of this kind has. */
type Signature = readonly (readonly [offset: number, bytes: string])[];

const riff = (kind: string): Signature => [
  [0, 'RIFF'],
  [8, kind],
];
const startsWith = (bytes: string): Signature => [[0, bytes]];
const box = (type: string): Signature => [[4, type]];
/** Packets of 188 bytes, of 192 with a time before each (M2TS), or of 204 with a checksum behind each. */
const transportPackets = (bytes: number, first: number): Signature =>
  [0, 1, 2, 3].map((packet) => [first + packet * bytes, 'G'] as const);

/**
 * `builtin`: Bun.Image, in this process. It shrinks a JPEG first; a GIF is made opaque first.
 * `tiff`: our own reader, in a child process, because it works without a pause.
 * `library`: @napi-rs/image, in a child process, because it aborts its process on some damaged files.
 * `libav`: node-av, in a child process for the same reason.
 */
type PictureDecoder = 'builtin' | 'builtin jpeg' | 'builtin gif' | IsolatedDecoder;
type IsolatedDecoder = 'tiff' | 'library' | 'libav';

interface AcceptedPicture {
  /** Empty for AVIF and HEIC, which are recognised by their brands. */
  readonly any: readonly Signature[];
  readonly read: (bytes: Uint8Array) => PictureHeader;
  readonly decoder: PictureDecoder;
}

// Two letters are weak evidence; the header's length comes in addition. The reserved bytes in between may be anything.
const bitmaps = bmpHeaderLengths.map(
  (bytes): Signature => [
    [0, 'BM'],
    [14, `${String.fromCharCode(bytes)}\0\0\0`],
  ],
);

const pictures: Readonly<Record<PictureFormat, AcceptedPicture>> = {
  jpeg: { any: [startsWith('\xff\xd8\xff')], read: readJpegHeader, decoder: 'builtin jpeg' },
  png: { any: [startsWith('\x89PNG\r\n\x1a\n')], read: readPngHeader, decoder: 'builtin' },
  webp: { any: [riff('WEBP')], read: readWebpHeader, decoder: 'builtin' },
  gif: { any: ['GIF87a', 'GIF89a'].map(startsWith), read: readGifHeader, decoder: 'builtin gif' },
  bmp: { any: bitmaps, read: readBmpHeader, decoder: 'builtin' },
  tiff: {
    any: ['II*\0', 'MM\0*', 'II+\0', 'MM\0+'].map(startsWith),
    read: (bytes) => (isRawTiff(bytes) ? readRawHeader(bytes) : readTiffHeader(bytes)),
    decoder: 'tiff',
  },
  avif: { any: [], read: readAvifHeader, decoder: 'library' },
  heic: { any: [], read: readHeicHeader, decoder: 'libav' },
  // CR2, ORF, RW2 and RAF. CR3 is recognised by its brand; all others begin like any TIFF.
  raw: {
    any: [[[8, 'CR\x02\0']], ...['IIRO', 'IIRS', 'MMOR', 'IIU\0', 'FUJIFILMCCD-RAW'].map(startsWith)],
    read: readRawHeader,
    decoder: 'builtin jpeg',
  },
};

interface Row extends Content {
  readonly any: readonly Signature[];
}

/** All other kinds of file that have a signature. */
const otherSignatures: readonly Row[] = [
  { name: 'a camera’s raw picture (X3F)', any: [startsWith('FOVb')] },
  { name: 'a JPEG XL picture', any: [startsWith('\xff\x0a'), box('JXL \r\n')] },
  { name: 'a JPEG 2000 picture', any: [box('jP  \r\n'), startsWith('\xff\x4f\xff\x51')] },
  { name: 'a Photoshop document', any: [startsWith('8BPS')] },
  { name: 'a Windows icon', any: [startsWith('\0\0\x01\0')] },
  { name: 'an OpenEXR picture', any: [startsWith('\x76\x2f\x31\x01')] },
  { name: 'a Radiance HDR picture', any: [startsWith('#?RADIANCE')] },
  { name: 'a QOI picture', any: [startsWith('qoif')] },
  { name: 'a PDF document', any: [startsWith('%PDF-')] },
  { name: 'a PostScript document', any: [startsWith('%!PS')] },
  { name: 'a Matroska or WebM video', container: 'matroska', any: [startsWith('\x1a\x45\xdf\xa3')] },
  { name: 'an AVI video', container: 'avi', any: [riff('AVI ')] },
  { name: 'a Flash video', any: [startsWith('FLV\x01')] },
  { name: 'a WMV or ASF file', any: [startsWith('\x30\x26\xb2\x75')] },
  { name: 'an MPEG program stream', any: [startsWith('\0\0\x01\xba')] },
  { name: 'an MPEG video stream', any: [startsWith('\0\0\x01\xb3')] },
  {
    name: 'an MPEG transport stream',
    container: 'mpegts',
    any: [transportPackets(188, 0), transportPackets(192, 4), transportPackets(204, 0)],
  },
  { name: 'a WAV sound', any: [riff('WAVE')] },
  { name: 'an MP3 sound', any: [startsWith('ID3')] },
  { name: 'an Ogg file', any: [startsWith('OggS')] },
  { name: 'a playlist', any: [startsWith('#EXTM3U')] },
  { name: 'a ZIP archive (or an office document)', any: [startsWith('PK\x03\x04')] },
  { name: 'a gzip archive', any: [startsWith('\x1f\x8b')] },
];

function accepted(format: PictureFormat): Row {
  const { title } = pictureFormats[format];
  return {
    name: `${/^[AEIOU]/.test(title) ? 'an' : 'a'} ${title} picture`,
    format,
    any: pictures[format].any,
  };
}

/** Tried in this order. TIFF comes late: raw pictures of cameras begin like one. BMP is a weak signature. */
const signatures: readonly Row[] = [
  ...(Object.keys(pictures) as PictureFormat[])
    .filter((format) => format !== 'tiff' && format !== 'bmp')
    .map(accepted),
  ...otherSignatures,
  accepted('tiff'),
];

/** Tried for files without a signature or brand. The first two begin with a box of the ISO base media file format. */
const weakSignatures: readonly Row[] = [
  {
    name: 'a QuickTime video',
    container: 'mov',
    any: ['moov', 'mdat', 'wide', 'free', 'skip', 'pnot', 'uuid'].map(box),
  },
  { name: 'an MP4 video', container: 'mov', any: [box('styp')] },
  accepted('bmp'),
];

/** Brands of the ISO base media file format. A file may have several: the first row that matches one decides. */
const brands: readonly (Content & { readonly pattern: RegExp })[] = [
  { ...accepted('avif'), pattern: /^avi[fs]$/ },
  { ...accepted('heic'), pattern: /^(?:hei[cxms]|hev[cxms])$/ },
  { ...accepted('raw'), pattern: /^crx $/ },
  // A HEIF's brand does not say how its picture is coded. It may turn out to be an AVIF.
  { ...accepted('heic'), pattern: /^(?:mif[123]|msf1)$/ },
  { name: 'a QuickTime video', pattern: /^qt {2}$/ },
  { name: 'an MP4 video', pattern: /^(?:isom|iso\d|mp4\d|avc1|M4V|dash|3g)/ },
];

/** Major brands of still pictures. The demuxer gets every other file with a brand: videos have hundreds of brands. */
const stillBrands: ReadonlySet<string> = new Set([
  'avif',
  'avis',
  'heic',
  'heim',
  'heis',
  'heix',
  'mif1',
  'mif2',
  'mif3',
  'crx ',
]);

/** How many of a file's compatible brands are read; real files have up to 20. */
const MAX_BRANDS = 1000;

/** Bytes at a file's beginning that decide whether it is text. */
const TEXT_SAMPLE_BYTES = 1024;

/** Bytes of a file's beginning that are enough to recognise it. */
export const SNIFFED_BYTES = 16 + 4 * MAX_BRANDS;

const UNKNOWN = 'of an unknown format';

/** Decides by content, never by name or declared type. */
function recognise(bytes: Uint8Array): Content {
  const has = (signature: Signature) =>
    signature.every(([offset, text]) => latin1(bytes, offset, text.length) === text);

  const rowOf = (rows: readonly Row[]) => rows.find(({ any }) => any.some(has));
  const sure = rowOf(signatures);
  if (sure) return sure;
  if (latin1(bytes, 4, 4) === 'ftyp') return recogniseBrand(bytes);
  return rowOf(weakSignatures) ?? { name: recogniseText(bytes) ?? UNKNOWN };
}

function recogniseBrand(bytes: Uint8Array): Content {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const end = Math.min(bytes.length, Math.max(view.getUint32(0), 16), SNIFFED_BYTES);
  const found: string[] = [];
  // The major brand, 4 bytes of version, then the compatible brands.
  for (let at = 8; at + 4 <= end; at += 4) if (at !== 12) found.push(latin1(bytes, at, 4));
  const { name = UNKNOWN, format } =
    brands.find(({ pattern }) => found.some((brand) => pattern.test(brand))) ?? {};
  const isStill = stillBrands.has(latin1(bytes, 8, 4));
  return { name, ...(format && { format }), ...(!isStill && { container: 'mov' }) };
}

function recogniseText(bytes: Uint8Array): string | undefined {
  const sample = latin1(bytes, 0, TEXT_SAMPLE_BYTES);
  if (/<svg[\s>]/i.test(sample)) return 'an SVG drawing';
  if (/^\s*(?:<!doctype html|<html)/i.test(sample)) return 'an HTML page';
  // No control characters except tab, line feed, form feed and carriage return.
  // biome-ignore lint/suspicious/noControlCharactersInRegex: the pattern searches for control characters
  return /^[^\0-\x08\x0b\x0e-\x1f\x7f]*$/.test(sample) ? 'text' : undefined;
}

/**
 * Recognises a picture.
 * @param bytes the file, or at least its first `SNIFFED_BYTES`
 * @returns the accepted format, or what the file is instead, with its article
 */
export function recognisePicture(
  bytes: Uint8Array,
): { readonly format: PictureFormat } | { readonly other: string } {
  const { name, format } = recognise(bytes);
  return format ? { format } : { other: name };
}

/**
 * Decides which demuxer reads a video.
 * @param bytes the file, or at least its first `SNIFFED_BYTES`
 * @returns the demuxer's container, or what the file is instead, with its article
 */
export function recogniseVideo(
  bytes: Uint8Array,
): { readonly container: Container } | { readonly other: string } {
  const { name, container } = recognise(bytes);
  return container ? { container } : { other: name };
}

/**
 * Reads a picture's header without decoding it, and checks that the file is complete.
 * @throws ServiceError image_unsupported, image_broken, image_too_large (where a format has its own limit)
 */
export function readPictureHeader(bytes: Uint8Array): PictureHeader {
  const content = recognisePicture(bytes);
  if ('other' in content) throw unsupportedPicture(content.other);
  return pictures[content.format].read(bytes);
}

/** Whether a decoder works in another process. */
export function isIsolated(decoder: PictureDecoder): decoder is IsolatedDecoder {
  return decoder === 'tiff' || decoder === 'library' || decoder === 'libav';
}

/** The library also decodes the rare variants of other formats. */
export function decoderOf({ format, rare }: Pick<PictureHeader, 'format' | 'rare'>): PictureDecoder {
  return rare ? 'library' : pictures[format].decoder;
}
