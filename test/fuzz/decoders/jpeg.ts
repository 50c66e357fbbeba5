import { concat, exifSegment, segment } from '../../media/sample-pictures.ts';
import { mutate } from '../../robustness/hostile/mutate.ts';
import type { Random } from '../../robustness/random.ts';
import { randomBytes, randomCodeLengths, randomLength } from './bits.ts';

const SOS = 0xda;
const DHT = 0xc4;
const DQT = 0xdb;
const DRI = 0xdd;
const DAC = 0xcc;
const ADOBE = 0xee;
const SOI = [0xff, 0xd8];
const EOI = [0xff, 0xd9];

interface Piece {
  /** 0 where it is entropy-coded data. */
  readonly marker: number;
  bytes: Uint8Array;
}

/** Segments, and the entropy-coded data between them. */
function split(picture: Uint8Array): Piece[] {
  const pieces: Piece[] = [];
  let at = 2;
  while (at + 4 <= picture.length && picture[at] === 0xff) {
    const marker = picture[at + 1]!;
    if (marker === 0xd9) break;
    const end = at + 2 + ((picture[at + 2]! << 8) | picture[at + 3]!);
    pieces.push({ marker, bytes: picture.slice(at + 4, end) });
    at = end;
    if (marker !== SOS) continue;
    while (at < picture.length && !(picture[at] === 0xff && isMarker(picture[at + 1]))) at += 1;
    pieces.push({ marker: 0, bytes: picture.slice(end, at) });
  }
  return pieces;
}

function isMarker(code: number | undefined): boolean {
  return code !== undefined && code !== 0 && !(code >= 0xd0 && code <= 0xd7);
}

function join(pieces: readonly Piece[]): Uint8Array {
  return concat(
    SOI,
    ...pieces.map(({ marker, bytes }) => (marker === 0 ? bytes : segment(marker, bytes.subarray(0, 65_533)))),
    EOI,
  );
}

/** Random bits as they lie in a scan: 0xff is followed by 0, sometimes a restart marker stands between. */
function entropy(length: number, random: Random): Uint8Array {
  const bytes: number[] = [];
  const restarts = random.chance(0.2);
  let restart = 0;
  const few = random.chance(0.2) ? random.pick([0, 0x55, 0xaa, 0xfe]) : undefined;
  for (let left = length; left > 0; left--) {
    const byte = few ?? random.below(256);
    bytes.push(byte);
    if (byte === 0xff) bytes.push(0);
    if (restarts && random.chance(0.02)) bytes.push(0xff, 0xd0 | (restart++ & 7));
  }
  return Uint8Array.from(bytes);
}

function huffmanTable(kind: number, id: number, random: Random): Uint8Array {
  const alphabet = kind === 0 ? random.pick([12, 16, 17, 256]) : 256;
  const lengths = randomCodeLengths(alphabet, 16, random);
  const counts = new Array<number>(16).fill(0);
  const symbols: number[] = [];
  for (let length = 1; length <= 16; length++) {
    for (const [symbol, own] of lengths.entries()) {
      if (own !== length) continue;
      counts[length - 1]! += 1;
      symbols.push(symbol);
    }
  }
  // A code of ones alone is not allowed: the longest one goes.
  const last = counts.findLastIndex((count) => count > 0);
  if (random.chance(0.95)) {
    counts[last]! -= 1;
    symbols.pop();
  }
  if (random.chance(0.05)) counts[random.below(16)] = random.below(256);
  return concat([(kind << 4) | id], counts, symbols);
}

function quantisationTable(id: number, random: Random): Uint8Array {
  const wide = random.chance(0.1);
  const values = random.chance(0.5)
    ? randomBytes(wide ? 128 : 64, random)
    : new Uint8Array(wide ? 128 : 64).fill(random.pick([0, 1, 16, 255]));
  return concat([((wide ? 1 : 0) << 4) | id], values);
}

const frames = [0xc0, 0xc1, 0xc2, 0xc2, 0xc2, 0xc9, 0xca, 0xca, 0xc3, 0xcb] as const;

/** A JPEG whose tables, scan script and entropy-coded data are all random, but mostly well-formed. */
function makeJpeg(random: Random): Uint8Array {
  const frame = random.pick(frames);
  const components = random.pick([1, 3, 3, 3, 4, 2]);
  const side = () => (random.chance(0.9) ? 1 + random.below(120) : 1 + random.below(1500));
  const [width, height] = [side(), side()];
  const sampling = Array.from({ length: components }, (_, index) =>
    index === 0 || random.chance(0.2)
      ? ((1 + random.below(random.chance(0.1) ? 4 : 2)) << 4) | (1 + random.below(random.chance(0.1) ? 4 : 2))
      : 0x11,
  );
  const ids = Array.from({ length: components }, (_, index) =>
    random.chance(0.05) ? random.below(5) : index + 1,
  );
  const precision = random.chance(0.97) ? 8 : random.pick([2, 7, 12, 16, 0, 255]);
  const pieces: Piece[] = [];
  const put = (marker: number, bytes: Uint8Array) => pieces.push({ marker, bytes });
  if (random.chance(0.3)) put(ADOBE, concat('Adobe', [0, 100, 0, 0, 0, 0, random.below(4)]));
  if (random.chance(0.3)) put(0xe0, concat('JFIF\0', [1, 1, 0, 0, 1, 0, 1, 0, 0]));
  for (let id = 0; id < 4; id++) {
    if (id < 2 || random.chance(0.1)) put(DQT, quantisationTable(id, random));
  }
  put(
    frame,
    concat(
      [precision, height >> 8, height & 0xff, width >> 8, width & 0xff, components],
      ...sampling.map((factors, index) => [
        ids[index]!,
        factors,
        random.chance(0.95) ? random.below(2) : random.below(5),
      ]),
    ),
  );
  const tables = () => {
    for (const kind of [0, 1]) for (const id of [0, 1]) put(DHT, huffmanTable(kind, id, random));
  };
  tables();
  if (random.chance(0.2)) put(DRI, Uint8Array.of(0, random.below(12)));
  if (frame >= 0xc9 && random.chance(0.4)) {
    put(DAC, Uint8Array.of(random.pick([0, 1, 16, 17, 0x1f]), random.below(256), 16, random.below(70)));
  }
  const progressive = frame === 0xc2 || frame === 0xca;
  const lossless = frame === 0xc3 || frame === 0xcb;
  const scans = progressive
    ? 1 + random.below(random.chance(0.05) ? 99 : 12)
    : random.chance(0.7)
      ? 1
      : components;
  const minimum = Math.ceil((Math.ceil(width / 8) * Math.ceil(height / 8) * components * 2) / 8 / scans);
  for (let scan = 0; scan < scans; scan++) {
    const dc = !progressive || scan === 0 || random.chance(0.3);
    const all = dc && (scans === 1 || random.chance(progressive ? 0.7 : 0.1));
    const first = random.below(components);
    const selected = all ? ids : [ids[progressive ? first : scan % components]!];
    let [start, end] = dc ? [0, progressive ? 0 : 63] : [1 + random.below(63), 63];
    if (!dc && random.chance(0.7)) end = start + random.below(64 - start);
    if (lossless) [start, end] = [1 + random.below(7), 0];
    if (random.chance(0.02)) [start, end] = [random.below(256), random.below(256)];
    const high = progressive && random.chance(0.5) ? random.below(4) : 0;
    const low = high > 0 && random.chance(0.9) ? high - 1 : progressive ? random.below(4) : 0;
    if (random.chance(0.1)) tables();
    put(
      SOS,
      concat(
        [selected.length],
        ...selected.map((id) => [
          id,
          random.chance(0.95) ? (random.below(2) << 4) | random.below(2) : random.below(256),
        ]),
        [start, end, (high << 4) | low],
      ),
    );
    pieces.push({ marker: 0, bytes: entropy(minimum + randomLength(1500, random), random) });
  }
  return join(pieces);
}

/** Damages a JPEG's tables, scan script, sizes and entropy-coded data, and leaves its segments whole. */
function damage(seed: Uint8Array, random: Random): Uint8Array {
  const pieces = split(seed);
  if (pieces.length === 0) return mutate(seed, random);
  for (let left = 1 + random.below(4); left > 0; left--) {
    const at = random.below(pieces.length);
    const piece = pieces[at]!;
    switch (random.below(10)) {
      case 0:
        if (piece.marker === 0) piece.bytes = entropy(piece.bytes.length, random);
        break;
      case 1:
        pieces.splice(at, 1);
        break;
      case 2:
        pieces.splice(random.below(pieces.length), 0, { marker: piece.marker, bytes: piece.bytes.slice() });
        break;
      case 3: {
        // Another process: arithmetic in place of Huffman coding, progressive in place of sequential, lossless.
        const frame = pieces.findIndex(({ marker }) => marker >= 0xc0 && marker <= 0xcb && marker !== DHT);
        if (frame >= 0) pieces[frame] = { marker: random.pick(frames), bytes: pieces[frame]!.bytes };
        break;
      }
      case 4:
        pieces.splice(random.below(pieces.length), 0, {
          marker: DRI,
          bytes: Uint8Array.of(0, random.below(20)),
        });
        break;
      case 5:
        pieces.splice(random.below(pieces.length), 0, {
          marker: DHT,
          bytes: huffmanTable(random.below(2), random.below(4), random),
        });
        break;
      case 6:
        pieces.splice(0, 0, { marker: ADOBE, bytes: concat('Adobe', [0, 100, 0, 0, 0, 0, random.below(4)]) });
        break;
      case 7: {
        // Scans change places.
        const other = random.below(pieces.length);
        [pieces[at], pieces[other]] = [pieces[other]!, piece];
        break;
      }
      default:
        piece.bytes = mutate(piece.bytes, random, 3);
    }
    if (pieces.length === 0) return seed;
  }
  const picture = join(pieces);
  return random.chance(0.2)
    ? concat(picture.subarray(0, 2), exifSegment(1 + random.below(8)), picture.subarray(2))
    : picture;
}

export function hostileJpeg(seeds: readonly Uint8Array[], random: Random): Uint8Array {
  const kind = random.below(10);
  if (kind < 4) return makeJpeg(random);
  if (kind < 5) return mutate(makeJpeg(random), random, 3);
  if (kind < 9) return damage(random.pick(seeds), random);
  return mutate(random.pick(seeds), random);
}
