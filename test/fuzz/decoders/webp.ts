import { concat, riff, riffChunk, webpExtension } from '../../media/sample-pictures.ts';
import { mutate } from '../../robustness/hostile/mutate.ts';
import type { Random } from '../../robustness/random.ts';
import { BitWriter, canonicalCodes, randomBytes, randomCodeLengths, randomLength } from './bits.ts';

const codeLengthOrder = [17, 18, 0, 1, 2, 3, 4, 5, 16, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15] as const;
/** A complete code for the 19 symbols that code lengths are told with: 13 of 4 bits, 6 of 5. */
const codeLengthLengths = Array.from({ length: 19 }, (_, symbol) => (symbol < 13 ? 4 : 5));
const codeLengthCodes = canonicalCodes(codeLengthLengths);

function writeSimpleCode(bits: BitWriter, symbols: readonly number[]): void {
  bits.put(1, 1);
  bits.put(symbols.length - 1, 1);
  const wide = symbols[0]! > 1;
  bits.put(wide ? 1 : 0, 1);
  bits.put(symbols[0]!, wide ? 8 : 1);
  if (symbols.length === 2) bits.put(symbols[1]!, 8);
}

interface RandomCode {
  readonly alphabet: number;
  /** Symbols that may have a code: the first ones. */
  readonly used?: number;
  /** Complete; otherwise it may be anything. */
  readonly sound: boolean;
}

function writeRandomCode(
  bits: BitWriter,
  { alphabet, used = alphabet, sound }: RandomCode,
  random: Random,
): void {
  if (random.chance(0.3)) {
    const symbols = Array.from({ length: 1 + random.below(2) }, () => random.below(Math.min(alphabet, 256)));
    writeSimpleCode(bits, symbols);
    return;
  }
  bits.put(0, 1);
  const lengths = randomCodeLengths(used, 15, random);
  while (lengths.length < alphabet) lengths.push(0);
  // Too many, too few or too long codes: tables are sized for complete ones.
  if (!sound && random.chance(0.3)) {
    for (let left = 1 + random.below(5); left > 0; left--) lengths[random.below(alphabet)] = random.below(16);
  }
  bits.put(19 - 4, 4);
  const odd = !sound && random.chance(0.1);
  for (const symbol of codeLengthOrder) bits.put(odd ? random.below(8) : codeLengthLengths[symbol]!, 3);
  const put = (symbol: number) => bits.putReversed(codeLengthCodes[symbol]!, codeLengthLengths[symbol]!);
  if (!sound && random.chance(0.2)) {
    bits.put(1, 1);
    const width = random.below(8);
    bits.put(width, 3);
    bits.putRandom(2 + 2 * width, random);
  } else bits.put(0, 1);
  for (let at = 0; at < alphabet; ) {
    let zeros = 0;
    while (at + zeros < alphabet && lengths[at + zeros] === 0) zeros += 1;
    if (zeros >= 11) {
      const run = Math.min(zeros, 138);
      put(18);
      bits.put(run - 11, 7);
      at += run;
    } else if (zeros >= 3) {
      put(17);
      bits.put(zeros - 3, 3);
      at += zeros;
    } else {
      put(lengths[at]!);
      at += 1;
    }
  }
}

/**
 * A picture within the picture (of predictors, colours, code groups), of codes of known lengths, so that what
 * follows it stays where the decoder looks for it.
 * @param channels what green, red, blue and alpha may be
 */
function writeSmallImage(
  bits: BitWriter,
  pixels: number,
  channels: readonly (readonly number[])[],
  random: Random,
) {
  bits.put(0, 1); // no colour cache
  // Two equal symbols would be a code without bits.
  const choices = channels.map((values) => [
    ...new Set(Array.from({ length: 1 + random.below(2) }, () => random.pick(values))),
  ]);
  for (const values of choices) writeSimpleCode(bits, values);
  writeSimpleCode(bits, [0]); // distances
  const perPixel = choices.filter((values) => values.length === 2).length;
  for (let left = pixels * perPixel; left > 0; left -= 16) bits.putRandom(Math.min(16, left), random);
  return choices;
}

const anyByte = Array.from({ length: 256 }, (_, value) => value);

/** A lossless picture's data, from its transforms on. */
function finishLossless(bits: BitWriter, width: number, height: number, random: Random): Uint8Array {
  let columns = width;
  const blocks = (size: number) => Math.ceil(columns / 2 ** size) * Math.ceil(height / 2 ** size);
  const order = [0, 1, 2, 3].filter(() => random.chance(0.4)).sort(() => random.below(3) - 1);
  if (random.chance(0.02)) order.push(random.below(4));
  for (const transform of order) {
    bits.put(1, 1);
    bits.put(transform, 2);
    if (transform === 2) continue;
    if (transform === 3) {
      const colours = 1 + (random.chance(0.6) ? random.below(17) : random.below(256));
      bits.put(colours - 1, 8);
      writeSmallImage(bits, colours, [anyByte, anyByte, anyByte, anyByte], random);
      if (colours <= 2) columns = Math.ceil(columns / 8);
      else if (colours <= 4) columns = Math.ceil(columns / 4);
      else if (colours <= 16) columns = Math.ceil(columns / 2);
      continue;
    }
    const size = 2 + random.below(8);
    bits.put(size - 2, 3);
    const predictors = random.chance(0.8) ? anyByte.slice(0, 14) : anyByte;
    writeSmallImage(
      bits,
      blocks(size),
      [transform === 0 ? predictors : anyByte, anyByte, anyByte, anyByte],
      random,
    );
  }
  bits.put(0, 1);
  let cacheColours = 0;
  if (random.chance(0.5)) {
    const size = random.chance(0.95) ? 1 + random.below(11) : random.below(16);
    bits.put(1, 1);
    bits.put(size, 4);
    cacheColours = 2 ** size;
  } else bits.put(0, 1);
  let groups = 1;
  if (random.chance(0.4)) {
    bits.put(1, 1);
    const size = 2 + random.below(8);
    bits.put(size - 2, 3);
    const few = Array.from({ length: 1 + random.below(6) }, (_, index) => index);
    const [green] = writeSmallImage(
      bits,
      blocks(size),
      [few, random.chance(0.95) ? [0] : [0, 1], [0], [255]],
      random,
    );
    groups = Math.max(...green!) + 1;
  } else bits.put(0, 1);
  const sound = random.chance(0.7);
  for (let group = 0; group < groups; group++) {
    const greens = 256 + 24 + Math.min(cacheColours, 2048);
    // Copies of what comes before the first pixel are refused: seldom do all codes stand for colours alone.
    const used = random.chance(0.6) ? 256 : greens;
    writeRandomCode(bits, { alphabet: greens, used, sound }, random);
    for (const alphabet of [256, 256, 256, 40]) writeRandomCode(bits, { alphabet, sound }, random);
  }
  const length = random.chance(0.8) ? columns * height * (1 + random.below(5)) : randomLength(2000, random);
  return concat(bits.finish(), randomBytes(length, random));
}

function randomSide(random: Random): number {
  if (random.chance(0.9)) return 1 + random.below(70);
  return 1 + random.below(random.chance(0.5) ? 300 : 1200);
}

function makeLossless(random: Random): Uint8Array {
  const [width, height] = [randomSide(random), randomSide(random)];
  const bits = new BitWriter();
  bits.put(0x2f, 8);
  bits.put(width - 1, 14);
  bits.put(height - 1, 14);
  bits.put(random.below(2), 1);
  bits.put(0, 3);
  const data = finishLossless(bits, width, height, random);
  const picture = riffChunk('VP8L', random.chance(0.1) ? mutate(data, random, 2) : data);
  return random.chance(0.2)
    ? riff(webpExtension(width, height, random.pick([0, 0x10])), picture)
    : riff(picture);
}

interface Frame {
  readonly width: number;
  readonly height: number;
  readonly data: Uint8Array;
}

/** The lossy frame of a WebP, if it has one. */
function lossyFrame(picture: Uint8Array): Frame | undefined {
  const at = Buffer.from(picture.buffer, picture.byteOffset, picture.length).indexOf('VP8 ', 12, 'latin1');
  if (at < 0) return undefined;
  const view = new DataView(picture.buffer, picture.byteOffset, picture.byteLength);
  const data = picture.slice(at + 8, at + 8 + view.getUint32(at + 4, true));
  const frame = new DataView(data.buffer);
  return { data, width: frame.getUint16(6, true) & 0x3fff, height: frame.getUint16(8, true) & 0x3fff };
}

/** Bytes of the tag, the start code and the size. */
const FRAME_HEADER_BYTES = 10;

function damageFrame({ data, width, height }: Frame, random: Random): Frame {
  let rest: Uint8Array = data.slice(FRAME_HEADER_BYTES);
  const header = data.slice(0, FRAME_HEADER_BYTES);
  switch (random.below(5)) {
    case 0:
      // Arithmetic coding makes sense of anything: other filters, segments, partitions, probabilities.
      for (let left = 1 + random.below(8); left > 0; left--)
        rest[random.below(Math.min(60, rest.length))] = random.below(256);
      break;
    case 1:
      rest = randomBytes(rest.length, random);
      break;
    case 2: {
      const first = random.below(1 << 19);
      header[0] = (header[0]! & 0x11) | (random.below(4) << 1) | ((first & 7) << 5);
      header[1] = (first >> 3) & 0xff;
      header[2] = random.chance(0.8) ? 0 : first >> 11;
      break;
    }
    case 3: {
      const [wider, higher] = [randomSide(random), randomSide(random)];
      const scaled = random.chance(0.2) ? 0xc000 : 0;
      new DataView(header.buffer).setUint16(6, wider | scaled, true);
      new DataView(header.buffer).setUint16(8, higher, true);
      return { width: wider, height: higher, data: concat(header, rest) };
    }
    default:
      rest = mutate(rest, random);
  }
  return { width, height, data: concat(header, rest) };
}

/** A lossy frame with opacity: uncompressed or lossless, filtered or not. */
function withAlpha({ width, height, data }: Frame, random: Random): Uint8Array {
  const compressed = random.chance(0.85);
  const head = [(compressed ? 1 : 0) | (random.below(4) << 2) | (random.below(2) << 4)];
  const plane = compressed
    ? finishLossless(new BitWriter(), width, height, random)
    : randomBytes(random.chance(0.8) ? width * height : 50, random);
  const alpha = riffChunk('ALPH', concat(head, random.chance(0.1) ? mutate(plane, random, 2) : plane));
  return riff(webpExtension(width, height, 0x10), alpha, riffChunk('VP8 ', data));
}

export function hostileWebp(seeds: readonly Uint8Array[], random: Random): Uint8Array {
  const kind = random.below(10);
  if (kind < 4) return makeLossless(random);
  if (kind < 8) {
    const frame = lossyFrame(random.pick(seeds));
    if (!frame) return makeLossless(random);
    const damaged = random.chance(0.8) ? damageFrame(frame, random) : frame;
    return random.chance(0.5) ? withAlpha(damaged, random) : riff(riffChunk('VP8 ', damaged.data));
  }
  const mutated = mutate(random.pick(seeds), random);
  // The length of it all right again, so that the rest is looked at.
  if (mutated.length >= 12) new DataView(mutated.buffer).setUint32(4, mutated.length - 8, true);
  return mutated;
}
