import { crc32, deflateSync, inflateSync } from 'node:zlib';
import { chunk, concat, exif, uint32be } from '../../media/sample-pictures.ts';
import { mutate } from '../../robustness/hostile/mutate.ts';
import type { Random } from '../../robustness/random.ts';
import { randomBytes, randomLength } from './bits.ts';

const SIGNATURE = '\x89PNG\r\n\x1a\n';
const depths: Readonly<Record<number, readonly number[]>> = {
  0: [1, 2, 4, 8, 16],
  2: [8, 16],
  3: [1, 2, 4, 8],
  4: [8, 16],
  6: [8, 16],
};
const samplesOf: Readonly<Record<number, number>> = { 0: 1, 2: 3, 3: 1, 4: 2, 6: 4 };
const passes = [
  [0, 0, 8, 8],
  [4, 0, 8, 8],
  [0, 4, 4, 8],
  [2, 0, 4, 4],
  [0, 2, 2, 4],
  [1, 0, 2, 2],
  [0, 1, 1, 2],
] as const;

interface Chunk {
  type: string;
  data: Uint8Array;
}

function split(picture: Uint8Array): Chunk[] {
  const view = new DataView(picture.buffer, picture.byteOffset, picture.byteLength);
  const chunks: Chunk[] = [];
  for (let at = 8; at + 12 <= picture.length; ) {
    const length = view.getUint32(at);
    const type = Buffer.from(picture.subarray(at + 4, at + 8)).toString('latin1');
    chunks.push({ type, data: picture.slice(at + 8, at + 8 + length) });
    at += 12 + length;
  }
  return chunks;
}

function join(chunks: readonly Chunk[]): Uint8Array {
  return concat(SIGNATURE, ...chunks.map(({ type, data }) => chunk(type, data)));
}

/** Rows with random filters, of the passes that a picture has. */
function rawRows(
  width: number,
  height: number,
  bits: number,
  interlaced: boolean,
  random: Random,
): Uint8Array {
  const rows: Uint8Array[] = [];
  const filters = random.chance(0.9) ? 5 : 256;
  const flat = random.chance(0.3);
  for (const [left, top, stepX, stepY] of interlaced ? passes : [[0, 0, 1, 1] as const]) {
    if (left >= width) continue;
    const columns = Math.ceil((width - left) / stepX);
    const bytes = Math.ceil((columns * bits) / 8);
    for (let y = top; y < height; y += stepY) {
      rows.push(concat([random.below(filters)], flat ? new Uint8Array(bytes) : randomBytes(bytes, random)));
    }
  }
  return concat(...rows);
}

function compress(rows: Uint8Array, random: Random): Uint8Array {
  const level = random.below(10);
  const strategy = random.below(5);
  return new Uint8Array(deflateSync(rows, { level, strategy, windowBits: 9 + random.below(7) }));
}

const ancillary: Readonly<Record<string, (random: Random) => Uint8Array>> = {
  gAMA: (random) => Uint8Array.from(uint32be(random.pick([0, 1, 45_455, 100_000, 2 ** 31, 2 ** 32 - 1]))),
  cHRM: (random) => randomBytes(random.pick([32, 31, 33]), random),
  sRGB: (random) => Uint8Array.of(random.below(6)),
  sBIT: (random) => randomBytes(random.below(6), random),
  bKGD: (random) => randomBytes(random.below(7), random),
  hIST: (random) => randomBytes(randomLength(520, random), random),
  tRNS: (random) => randomBytes(randomLength(300, random), random),
  PLTE: (random) => randomBytes(3 * (1 + random.below(256)) + (random.chance(0.1) ? 1 : 0), random),
  pHYs: (random) => randomBytes(9, random),
  sPLT: (random) =>
    concat('name\0', [random.pick([8, 16, 9])], randomBytes(randomLength(200, random), random)),
  tIME: (random) => randomBytes(7, random),
  tEXt: (random) => concat('key\0', randomBytes(randomLength(100, random), random)),
  zTXt: (random) => concat('key\0\0', compress(randomBytes(randomLength(100, random), random), random)),
  iTXt: (random) => concat('key\0', [random.below(2), 0], 'en\0k\0', randomBytes(20, random)),
  iCCP: (random) => concat('name\0\0', compress(randomBytes(randomLength(3000, random), random), random)),
  eXIf: (random) => exif(random.below(10)),
  acTL: (random) => concat(uint32be(random.below(5)), uint32be(0)),
  fcTL: (random) => randomBytes(26, random),
  fdAT: (random) => randomBytes(randomLength(100, random), random),
  offs: (random) => randomBytes(random.below(20), random),
};

/** A PNG of random colour type, depth, rows and ancillary chunks, mostly well-formed. */
function makePng(random: Random): Uint8Array {
  const colourType = random.pick([0, 2, 3, 4, 6]);
  const bitDepth = random.pick(depths[colourType]!);
  const interlaced = random.chance(0.4);
  const side = () => (random.chance(0.95) ? 1 + random.below(70) : 1 + random.below(700));
  const [width, height] = [side(), random.chance(0.1) ? 1 : side()];
  let rows = rawRows(width, height, bitDepth * samplesOf[colourType]!, interlaced, random);
  if (random.chance(0.1)) rows = rows.subarray(0, random.below(rows.length));
  if (random.chance(0.1)) rows = concat(rows, randomBytes(randomLength(3000, random), random));
  let data = compress(rows, random);
  if (random.chance(0.25)) data = mutate(data, random, 3);
  const header = Uint8Array.from([
    ...uint32be(width),
    ...uint32be(height),
    bitDepth,
    colourType,
    0,
    0,
    interlaced ? 1 : 0,
  ]);
  const extra = () => {
    const type = random.pick(Object.keys(ancillary));
    return { type, data: ancillary[type]!(random) };
  };
  const chunks: Chunk[] = [{ type: 'IHDR', data: header }];
  if (colourType === 3 && random.chance(0.95)) {
    const entries = random.chance(0.5) ? 2 ** bitDepth : 1 + random.below(256);
    chunks.push({ type: 'PLTE', data: randomBytes(entries * 3, random) });
    if (random.chance(0.5)) chunks.push({ type: 'tRNS', data: randomBytes(random.below(257), random) });
  } else if (random.chance(0.4)) {
    const bytes = random.chance(0.9) ? ({ 0: 2, 2: 6 }[colourType] ?? 2) : random.below(10);
    chunks.push({ type: 'tRNS', data: randomBytes(bytes, random) });
  }
  while (random.chance(0.4)) chunks.push(extra());
  for (const piece of pieces(data, random)) chunks.push({ type: 'IDAT', data: piece });
  while (random.chance(0.1)) chunks.push(extra());
  chunks.push({ type: 'IEND', data: new Uint8Array() });
  if (random.chance(0.1)) {
    const [a, b] = [random.below(chunks.length), random.below(chunks.length)];
    [chunks[a], chunks[b]] = [chunks[b]!, chunks[a]!];
  }
  return join(chunks);
}

function pieces(data: Uint8Array, random: Random): Uint8Array[] {
  if (random.chance(0.5)) return [data];
  const cut: Uint8Array[] = [];
  for (let at = 0; at < data.length; ) {
    const length = randomLength(data.length - at + 1, random);
    cut.push(data.subarray(at, at + length));
    at += length;
    if (cut.length > 200) return [...cut, data.subarray(at)];
  }
  return cut;
}

/** Damages a PNG's chunks or the rows within its compressed data, and makes the checksums right again. */
function damage(seed: Uint8Array, random: Random): Uint8Array {
  const chunks = split(seed);
  for (let left = 1 + random.below(3); left > 0; left--) {
    const at = random.below(chunks.length);
    const target = chunks[at]!;
    switch (random.below(6)) {
      case 0: {
        const first = chunks.findIndex(({ type }) => type === 'IDAT');
        if (first < 0) break;
        const idat = chunks.filter(({ type }) => type === 'IDAT').map(({ data }) => data);
        try {
          const rows = inflateSync(concat(...idat));
          chunks[first] = { type: 'IDAT', data: compress(mutate(rows, random), random) };
          for (let other = chunks.length - 1; other > first; other--) {
            if (chunks[other]!.type === 'IDAT') chunks.splice(other, 1);
          }
        } catch {
          // Damaged before: it stays as it is.
        }
        break;
      }
      case 1:
        chunks.splice(at, 1);
        break;
      case 2:
        chunks.splice(random.below(chunks.length + 1), 0, target);
        break;
      case 3: {
        const type = random.pick(Object.keys(ancillary));
        chunks.splice(1, 0, { type, data: ancillary[type]!(random) });
        break;
      }
      default:
        chunks[at] = { type: target.type, data: mutate(target.data, random, 3) };
    }
    if (chunks.length === 0) return seed;
  }
  return join(chunks);
}

export function hostilePng(seeds: readonly Uint8Array[], random: Random): Uint8Array {
  const kind = random.below(10);
  if (kind < 5) return makePng(random);
  if (kind < 9) return damage(random.pick(seeds), random);
  const mutated = mutate(random.pick(seeds), random);
  if (random.chance(0.7)) repairChecksums(mutated);
  return mutated;
}

/** Makes a damaged PNG's checksums right again, so that a decoder gets to see the damage. */
export function repairChecksums(bytes: Uint8Array): void {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (let at = 8; at + 12 <= bytes.length; ) {
    const end = at + 8 + view.getUint32(at);
    if (end + 4 > bytes.length) return;
    view.setUint32(end, crc32(bytes.subarray(at + 4, end)));
    at = end + 4;
  }
}
