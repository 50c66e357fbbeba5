/**
 * The inner loops of Pillow's resampling, four channels at a time, and of the search of a JPEG's markers:
 * AssemblyScript, of which `bun run compile-kernel` makes `kernel.wasm`. `resampleBicubic` and `findByWords` do the same
 * to be read; the tests hold these to them, byte for byte. Pixels are RGBA, weights whole numbers of 22 bits. All
 * arguments are addresses in the module's memory, lengths in bytes, or counts.
 */

const PRECISION_BITS: i32 = 22;
const HALF: i32 = 1 << (PRECISION_BITS - 1);
const PIXEL: usize = 4;
const WEIGHT: usize = 4;
const VECTOR: usize = 16;

/**
 * Narrows four rows: every pixel of the result is the weighted sum of some that lie side by side.
 * @param rows [4, n, 4] u8, and 4 bytes more
 * @param rowBytes from one row to the next
 * @param starts [width] i32, the first pixel that counts
 * @param weights [width, taps] i32
 * @param narrowed [4, n, 4] u8
 * @param narrowedBytes from one row of the result to the next
 */
export function narrowFourRows(
  rows: usize,
  rowBytes: usize,
  starts: usize,
  weights: usize,
  taps: usize,
  narrowed: usize,
  narrowedBytes: usize,
  width: usize,
): void {
  for (const end = narrowed + width * PIXEL; narrowed < end; narrowed += PIXEL) {
    let first = rows + <usize>load<u32>(starts) * PIXEL;
    let a = i32x4.splat(HALF);
    let b = a;
    let c = a;
    let d = a;
    for (const last = weights + taps * WEIGHT; weights < last; weights += WEIGHT) {
      const weight = v128.load32_splat(weights);
      const second = first + rowBytes;
      const third = second + rowBytes;
      const fourth = third + rowBytes;
      a = i32x4.add(a, i32x4.mul(loadPixel(first), weight));
      b = i32x4.add(b, i32x4.mul(loadPixel(second), weight));
      c = i32x4.add(c, i32x4.mul(loadPixel(third), weight));
      d = i32x4.add(d, i32x4.mul(loadPixel(fourth), weight));
      first += PIXEL;
    }
    const pixels = toBytes(a, b, c, d);
    v128.store32_lane(narrowed, pixels, 0);
    v128.store32_lane(narrowed + narrowedBytes, pixels, 1);
    v128.store32_lane(narrowed + narrowedBytes * 2, pixels, 2);
    v128.store32_lane(narrowed + narrowedBytes * 3, pixels, 3);
    starts += sizeof<i32>();
  }
}

/**
 * Makes a row of the result: every pixel is the weighted sum of some that lie below one another.
 * @param rows [taps, n, 4] u8
 * @param rowBytes from one row to the next; a multiple of 16
 * @param weights [taps] i32
 * @param weighed [n, 4] u8
 */
export function weighRows(rows: usize, rowBytes: usize, weights: usize, taps: usize, weighed: usize): void {
  const lastWeight = weights + taps * WEIGHT;
  for (const end = rows + rowBytes; rows < end; rows += VECTOR) {
    let pixels = rows;
    let a = i32x4.splat(HALF);
    let b = a;
    let c = a;
    let d = a;
    for (let at = weights; at < lastWeight; at += WEIGHT) {
      const weight = v128.load32_splat(at);
      const left = v128.load8x8_u(pixels);
      const right = v128.load8x8_u(pixels, 8);
      a = i32x4.add(a, i32x4.mul(i32x4.extend_low_i16x8_u(left), weight));
      b = i32x4.add(b, i32x4.mul(i32x4.extend_high_i16x8_u(left), weight));
      c = i32x4.add(c, i32x4.mul(i32x4.extend_low_i16x8_u(right), weight));
      d = i32x4.add(d, i32x4.mul(i32x4.extend_high_i16x8_u(right), weight));
      pixels += rowBytes;
    }
    v128.store(weighed, toBytes(a, b, c, d));
    weighed += VECTOR;
  }
}

/**
 * Writes a row of RGBA as RGB, in any direction.
 * @param step from one pixel to the next
 */
export function placeRow(row: usize, width: usize, place: usize, step: isize): void {
  for (const end = row + width * PIXEL; row < end; row += PIXEL) {
    store<u16>(place, load<u16>(row));
    store<u8>(place, load<u8>(row, 2), 2);
    place += step;
  }
}

/**
 * Finds the next 0xff that is not followed by 0.
 * @param end the first byte that does not count as the 0xff; up to 16 bytes behind it are read
 * @returns its address, `end` if there is none
 */
export function findEscape(from: usize, end: usize): usize {
  for (; from < end; from += VECTOR) {
    const escapes = i8x16.eq(v128.load(from), i8x16.splat(-1));
    const stuffed = i8x16.eq(v128.load(from, 1), i8x16.splat(0));
    const found = i8x16.bitmask(v128.andnot(escapes, stuffed));
    if (found !== 0) return min(from + <usize>ctz(found), end);
  }
  return end;
}

/** The four channels of a pixel; reads 4 bytes more. */
function loadPixel(pixel: usize): v128 {
  return i32x4.extend_low_i16x8_u(v128.load8x8_u(pixel));
}

/** Four pixels' sums of weighted channels, rounded and held within 0 to 255. */
function toBytes(a: v128, b: v128, c: v128, d: v128): v128 {
  return i8x16.narrow_i16x8_u(
    i16x8.narrow_i32x4_s(i32x4.shr_s(a, PRECISION_BITS), i32x4.shr_s(b, PRECISION_BITS)),
    i16x8.narrow_i32x4_s(i32x4.shr_s(c, PRECISION_BITS), i32x4.shr_s(d, PRECISION_BITS)),
  );
}
