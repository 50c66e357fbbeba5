import { expect, test } from 'bun:test';
import fc from 'fast-check';
import { type ElementType, elementBytes, widen } from '../../../src/clip/checkpoint/stored-tensor.ts';

function widened(type: ElementType, bytes: Uint8Array<ArrayBuffer>): Float32Array {
  const target = new Float32Array(bytes.byteLength / elementBytes[type]);
  widen(type, bytes, target);
  return target;
}

/** IEEE 754 binary16, by its definition. */
function halfValue(bits: number): number {
  const sign = bits >>> 15 === 0 ? 1 : -1;
  const exponent = (bits >>> 10) & 0x1f;
  const fraction = bits & 0x3ff;
  if (exponent === 0x1f) return fraction === 0 ? sign * Number.POSITIVE_INFINITY : Number.NaN;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}

test('every half-precision number widens to its exact value', () => {
  const all = Uint16Array.from({ length: 65536 }, (_, bits) => bits);
  const values = widened('float16', new Uint8Array(all.buffer));
  // Object.is tells -0 from 0 and takes NaN for NaN.
  expect(all.findIndex((bits) => !Object.is(values[bits], halfValue(bits)))).toBe(-1);
});

test('a bfloat16 is the float32 whose lower half is zero', () => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 0, max: 0xffff }), { minLength: 1 }), (numbers) => {
      const values = widened('bfloat16', new Uint8Array(Uint16Array.from(numbers).buffer));
      const bits = new Uint32Array(values.buffer);
      expect([...bits]).toEqual(numbers.map((number) => (number << 16) >>> 0));
    }),
  );
});

test('doubles round to the nearest float32', () => {
  fc.assert(
    fc.property(fc.float64Array({ minLength: 1 }), (numbers) => {
      const values = widened('float64', new Uint8Array(Float64Array.from(numbers).buffer));
      expect([...values]).toEqual([...numbers].map(Math.fround));
    }),
  );
});

test('integers and booleans keep their values', () => {
  expect([...widened('int64', new Uint8Array(BigInt64Array.of(-3n, 49408n).buffer))]).toEqual([-3, 49408]);
  expect([...widened('int32', new Uint8Array(Int32Array.of(-3, 49408).buffer))]).toEqual([-3, 49408]);
  expect([...widened('int16', new Uint8Array(Int16Array.of(-3, 300).buffer))]).toEqual([-3, 300]);
  expect([...widened('int8', Uint8Array.of(0xfd, 3))]).toEqual([-3, 3]);
  expect([...widened('uint8', Uint8Array.of(0xfd, 3))]).toEqual([253, 3]);
  expect([...widened('bool', Uint8Array.of(0, 1))]).toEqual([0, 1]);
});
