import type { Orientation, PictureHeader } from '../../../native/image/picture-header.ts';
import { unsupportedPicture } from '../picture-errors.ts';
import { ByteView } from './byte-view.ts';
import { readExifOrientation, withoutExifPrefix } from './exif.ts';

const MARKER = 0xff;
const TEM = 0x01;
const SOI = 0xd8;
const EOI = 0xd9;
const SOS = 0xda;
const APP1 = 0xe1;

const BLOCK_SIDE = 8;
const COEFFICIENTS_A_BLOCK = 64;
const COEFFICIENT_BYTES = 2;

/**
 * A progressive picture has about 10 scans, at most some 60. Every scan costs a pass over all of the
 * picture, however few bytes it has: thousands of empty ones would keep a decoder busy for hours.
 */
const MAXIMUM_SCANS = 100;

interface Frame {
  readonly width: number;
  readonly height: number;
  readonly components: number;
  readonly progressive: boolean;
  readonly huffman: boolean;
  /** 8 × 8 blocks of all components. */
  readonly blocks: number;
}

interface Scans {
  count: number;
  entropyBytes: number;
  /** Every scan has all components: no coefficients need to be kept. */
  interleaved: boolean;
}

/**
 * Reads a JPEG's header, and walks its markers to the end of the picture. What follows there (further
 * pictures of an MPO, a gain map, a motion photo's video) is not looked at; thumbnails within segments
 * are passed over with them.
 *
 * libjpeg fills what is missing with grey and only warns, so a missing end is noticed here. A picture that
 * has its end but lost bytes in its middle cannot be told from a sound one without decoding it.
 */
export function readJpegHeader(bytes: Uint8Array): PictureHeader {
  const view = new ByteView(bytes, 'jpeg', 'big');
  const scans: Scans = { count: 0, entropyBytes: 0, interleaved: true };
  let frame: Frame | undefined;
  let orientation: Orientation | undefined;

  for (let at = nextMarker(view, 0); view.bytes[at] !== EOI; at = nextMarker(view, at)) {
    const marker = view.uint8(at);
    at += 1;
    if (marker === SOI || marker === TEM || isRestart(marker)) continue;
    const end = at + view.uint16(at);
    if (end < at + 2) throw view.broken('has a segment without a length');
    view.require(end);
    if (isFrame(marker)) {
      if (frame) throw view.broken('has two frame headers');
      frame = readFrame(view, marker, at + 2);
    } else if (marker === APP1) {
      const exif = withoutExifPrefix(bytes.subarray(at + 2, end));
      if (exif) orientation ??= readExifOrientation(exif);
    } else if (marker === SOS) {
      if (!frame) throw view.broken('has pixel data before its size');
      scans.count += 1;
      if (scans.count > MAXIMUM_SCANS) {
        throw view.broken(`has more than ${MAXIMUM_SCANS} scans; at most that many are accepted`);
      }
      scans.interleaved &&= view.uint8(at + 2) === frame.components;
      at = endOfScan(view, end);
      scans.entropyBytes += at - end;
      continue;
    }
    at = end;
  }
  if (!frame) throw view.broken('has no frame header');
  requirePixelData(view, frame, scans);

  return {
    format: 'jpeg',
    width: frame.width,
    height: frame.height,
    orientation: orientation ?? 1,
    alpha: false,
    rare: false,
    grey: false,
    coefficientBytes:
      frame.progressive || !scans.interleaved ? frame.blocks * COEFFICIENTS_A_BLOCK * COEFFICIENT_BYTES : 0,
  };
}

/** Offset of the next marker's code; stray bytes before it are passed over, as libjpeg does. */
function nextMarker(view: ByteView, from: number): number {
  const { bytes } = view;
  let at = from;
  do {
    at = bytes.indexOf(MARKER, at);
    if (at === -1) throw withoutEnd(view);
    while (bytes[at] === MARKER) at += 1;
    if (at === bytes.length) throw withoutEnd(view);
  } while (bytes[at] === 0);
  return at;
}

/** Offset of the marker that ends the entropy-coded data which begins at `from`. */
function endOfScan(view: ByteView, from: number): number {
  const { bytes } = view;
  for (let at = from; ; at += 2) {
    at = bytes.indexOf(MARKER, at);
    if (at === -1) throw withoutEnd(view);
    // Before a marker any number of fill bytes may stand.
    while (bytes[at + 1] === MARKER) at += 1;
    const code = bytes[at + 1];
    if (code === undefined) throw withoutEnd(view);
    if (code !== 0 && !isRestart(code)) return at;
  }
}

function isRestart(marker: number): boolean {
  return marker >= 0xd0 && marker <= 0xd7;
}

/** SOF0 to SOF15, among which three codes mean something else. */
function isFrame(marker: number): boolean {
  return marker >= 0xc0 && marker <= 0xcf && ![0xc4, 0xc8, 0xcc].includes(marker);
}

function readFrame(view: ByteView, marker: number, at: number): Frame {
  const process = marker & 0xf;
  if (![0, 1, 2, 9, 10].includes(process)) throw unsupportedPicture('a lossless or hierarchical JPEG');
  const precision = view.uint8(at);
  if (precision !== 8) throw unsupportedPicture(`a JPEG of ${precision} bits a channel`);
  const height = view.uint16(at + 1);
  const width = view.uint16(at + 3);
  if (width === 0 || height === 0) throw view.broken(`declares ${width} × ${height} pixels`);
  const components = view.uint8(at + 5);
  const sampling = Array.from({ length: components }, (_, index) => {
    const factors = view.uint8(at + 7 + index * 3);
    return { horizontal: factors >> 4, vertical: factors & 0xf };
  });
  if (sampling.some(({ horizontal, vertical }) => horizontal === 0 || vertical === 0)) {
    throw view.broken('declares a component without samples');
  }
  const horizontalMaximum = Math.max(...sampling.map(({ horizontal }) => horizontal));
  const verticalMaximum = Math.max(...sampling.map(({ vertical }) => vertical));
  const blocks = sampling.reduce(
    (sum, { horizontal, vertical }) =>
      sum +
      Math.ceil((width * horizontal) / horizontalMaximum / BLOCK_SIDE) *
        Math.ceil((height * vertical) / verticalMaximum / BLOCK_SIDE),
    0,
  );
  return { width, height, components, progressive: process % 8 === 2, huffman: process < 8, blocks };
}

/**
 * No Huffman code is shorter than a bit. A sequential block takes two codes at least, a progressive one a
 * code in its first scan: less data than that cannot be the whole picture.
 */
function requirePixelData(view: ByteView, frame: Frame, scans: Scans): void {
  const minimumBits = frame.blocks * (frame.progressive ? 1 : 2);
  if (scans.entropyBytes === 0 || (frame.huffman && scans.entropyBytes * 8 < minimumBits)) {
    throw view.truncated(
      `${frame.width} × ${frame.height} pixels are declared, but only ${scans.entropyBytes} bytes hold pixels`,
    );
  }
}

function withoutEnd(view: ByteView) {
  return view.truncated('it ends before its end-of-image marker');
}
