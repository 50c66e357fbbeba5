import { describe, expect, test } from 'bun:test';
import { readSequenceSizes } from '../../../src/media/picture/format/avif.ts';
import { concat } from '../sample-pictures.ts';

/** Bits in groups, padded with zeros to whole bytes. */
function pack(...groups: readonly (readonly [value: number, bits: number])[]): Uint8Array {
  const bits = groups.map(([value, length]) => value.toString(2).padStart(length, '0')).join('');
  return Uint8Array.from(bits.match(/.{1,8}/g) ?? [], (byte) => Number.parseInt(byte.padEnd(8, '0'), 2));
}

/** An open bitstream unit of a type, with its size. */
function unit(type: number, body: Uint8Array): Uint8Array {
  return concat([(type << 3) | 2, body.length], body);
}

/** 11 and 10 bits of size: 1920 × 800. */
const size = [
  [10, 4],
  [9, 4],
  [1919, 11],
  [799, 10],
] as const;

/** Profile, still picture, reduced header, level. */
const reduced = pack([0, 3], [1, 1], [1, 1], [8, 5], ...size);

/** Every optional part is there: timing, decoder model, display delay, two operating points, one with a tier. */
const full = pack(
  ...([
    [0, 3],
    [0, 1],
    [0, 1],
  ] as const),
  ...([
    [1, 1],
    [1, 32],
    [50, 32],
    [1, 1],
    [0b00101, 5],
  ] as const), // timing, equal intervals: a number of 5 bits
  ...([
    [1, 1],
    [6, 5],
    [1, 32],
    [4, 5],
    [4, 5],
  ] as const), // decoder model: delays of 7 bits
  ...([
    [1, 1],
    [1, 5],
  ] as const), // display delay, two points
  ...([
    [0, 12],
    [9, 5],
    [1, 1],
    [1, 1],
    [127, 7],
    [127, 7],
    [1, 1],
    [1, 1],
    [15, 4],
  ] as const),
  ...([
    [0, 12],
    [4, 5],
    [0, 1],
    [0, 1],
  ] as const),
  ...size,
);

describe('readSequenceSizes', () => {
  test.each([
    ['a reduced header', reduced],
    ['a full header with all its parts', full],
    ['a header without timing', pack([0, 5], [0, 1], [0, 1], [0, 5], [0, 12], [4, 5], ...size)],
  ])('reads %s', (_, header) => {
    expect([...readSequenceSizes(unit(1, header))]).toEqual([{ width: 1920, height: 800 }]);
  });

  test('passes over other units, and finds every header', () => {
    const stream = concat(
      unit(2, new Uint8Array(0)),
      unit(1, reduced),
      unit(6, new Uint8Array(100)),
      unit(1, full),
    );
    expect([...readSequenceSizes(stream)]).toHaveLength(2);
  });

  test('a unit without a size goes on to the end', () => {
    expect([...readSequenceSizes(concat([1 << 3], reduced))]).toEqual([{ width: 1920, height: 800 }]);
  });

  test('a unit with an extension byte has its size behind it', () => {
    const extended = concat([(1 << 3) | 6, 0, reduced.length], reduced);
    expect([...readSequenceSizes(extended)]).toEqual([{ width: 1920, height: 800 }]);
  });

  test('a stream that ends within a header, or has no end of units, is an error', () => {
    expect(() => [...readSequenceSizes(unit(1, reduced.subarray(0, 3)))]).toThrow(RangeError);
    expect(() => [...readSequenceSizes(new Uint8Array(100_000).map((_, at) => (at % 2 ? 0 : 2)))]).toThrow(
      'too many units',
    );
  });
});
