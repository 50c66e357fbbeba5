import { inflateSync, zstdDecompressSync } from 'node:zlib';

/*
 * Compressions of TIFF. Each function decompresses a strip or tile into `target`, and returns how many bytes it wrote:
 * fewer than the target has if the data end or are damaged. Whatever the data declare, nothing is written beyond the
 * target, and nothing much larger is allocated.
 */

/** Runs of up to 128 equal bytes. */
export function unpackBits(data: Uint8Array, target: Uint8Array): number {
  let written = 0;
  for (let at = 0; at < data.length && written < target.length; ) {
    const code = data[at++]!;
    if (code < 128) {
      const length = Math.min(code + 1, data.length - at, target.length - written);
      target.set(data.subarray(at, at + length), written);
      at += code + 1;
      written += length;
    } else if (code > 128) {
      const value = data[at++];
      if (value === undefined) break;
      const end = Math.min(target.length, written + 257 - code);
      target.fill(value, written, end);
      written = end;
    }
  }
  return written;
}

export function inflate(data: Uint8Array, target: Uint8Array): number {
  return decompressWith(inflateSync, data, target);
}

export function decompressZstd(data: Uint8Array, target: Uint8Array): number {
  return decompressWith(zstdDecompressSync, data, target);
}

/** With a chunk of the largest output, the library allocates once. */
function decompressWith(
  decompress: typeof inflateSync | typeof zstdDecompressSync,
  data: Uint8Array,
  target: Uint8Array,
): number {
  const size = Math.max(64, target.length);
  try {
    const output = decompress(data, { maxOutputLength: size, chunkSize: size });
    target.set(output.subarray(0, target.length));
    return Math.min(output.length, target.length);
  } catch {
    return 0;
  }
}

const MAX_CODES = 4096;
const CLEAR = 256;
const END = 257;
const FIRST_CODE_BITS = 9;
const LAST_CODE_BITS = 12;

/** Before 1992, some programs wrote the codes' lowest bits first, and a code longer for one code more. */
function isOldLzw(data: Uint8Array): boolean {
  return data[0] === 0 && (data[1]! & 1) === 1;
}

export function decompressLzw(data: Uint8Array, target: Uint8Array): number {
  const isOld = isOldLzw(data);
  const early = isOld ? 0 : 1;
  /** A code stands for another one and a byte behind it. */
  const prefixes = new Uint16Array(MAX_CODES);
  const suffixes = Uint8Array.from({ length: MAX_CODES }, (_, code) => code);
  const firsts = Uint8Array.from({ length: MAX_CODES }, (_, code) => code);
  const lengths = new Uint16Array(MAX_CODES).fill(1);
  let next = END + 1;
  let codeBits = FIRST_CODE_BITS;
  let previous = -1;
  let written = 0;
  let buffer = 0;
  let buffered = 0;
  let at = 0;
  while (written < target.length) {
    while (buffered < codeBits) {
      if (at >= data.length) return written;
      const byte = data[at++]!;
      buffer = isOld ? buffer | (byte << buffered) : ((buffer << 8) | byte) & 0xfffff;
      buffered += 8;
    }
    buffered -= codeBits;
    const mask = (1 << codeBits) - 1;
    const code = isOld ? buffer & mask : (buffer >> buffered) & mask;
    if (isOld) buffer >>>= codeBits;
    if (code === END) return written;
    if (code === CLEAR) {
      next = END + 1;
      codeBits = FIRST_CODE_BITS;
      previous = -1;
      continue;
    }
    if (previous === -1) {
      if (code > CLEAR) return written;
      target[written++] = code;
      previous = code;
      continue;
    }
    if (code > next || (code === next && next === MAX_CODES)) return written;
    if (next < MAX_CODES) {
      prefixes[next] = previous;
      suffixes[next] = firsts[code === next ? previous : code]!;
      firsts[next] = firsts[previous]!;
      lengths[next] = lengths[previous]! + 1;
      next += 1;
      if (next + early >= 1 << codeBits && codeBits < LAST_CODE_BITS) codeBits += 1;
    }
    const length = lengths[code]!;
    const end = written + length;
    // A string is read from its end.
    for (let to = end - 1, part = code; to >= written; to--) {
      if (to < target.length) target[to] = suffixes[part]!;
      part = prefixes[part]!;
    }
    written = Math.min(end, target.length);
    previous = code;
  }
  return written;
}

/** Reverses the bits of each byte. */
export function reverseBits(data: Uint8Array): Uint8Array {
  return data.map((byte) => reversed[byte]!);
}

const reversed = Uint8Array.from({ length: 256 }, (_, byte) => {
  let value = 0;
  for (let bit = 0; bit < 8; bit++) if (byte & (1 << bit)) value |= 0x80 >> bit;
  return value;
});
