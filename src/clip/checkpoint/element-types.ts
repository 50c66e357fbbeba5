/** Number types of tensors in checkpoint files. */
export type ElementType =
  | 'float16'
  | 'bfloat16'
  | 'float32'
  | 'float64'
  | 'int64'
  | 'int32'
  | 'int16'
  | 'int8'
  | 'uint8'
  | 'bool';

export const elementBytes: Readonly<Record<ElementType, number>> = {
  float16: 2,
  bfloat16: 2,
  float32: 4,
  float64: 8,
  int64: 8,
  int32: 4,
  int16: 2,
  int8: 1,
  uint8: 1,
  bool: 1,
};

type NumberView = new (buffer: ArrayBuffer, byteOffset: number, length: number) => ArrayLike<number>;

/** The types that JavaScript has arrays for; setting a Float32Array from them rounds as it should. */
const numberViews: Readonly<Partial<Record<ElementType, NumberView>>> = {
  float16: Float16Array,
  float32: Float32Array,
  float64: Float64Array,
  int32: Int32Array,
  int16: Int16Array,
  int8: Int8Array,
  uint8: Uint8Array,
  bool: Uint8Array,
};

/**
 * Widens (or, from 32-bit integers and 64 bits, rounds) numbers to float32.
 * @param bytes little-endian, `target.length` elements, aligned to the element's size
 */
export function widen(type: ElementType, bytes: Uint8Array<ArrayBuffer>, target: Float32Array): void {
  const { buffer, byteOffset } = bytes;
  const View = numberViews[type];
  if (View !== undefined) target.set(new View(buffer, byteOffset, target.length));
  else if (type === 'bfloat16') widenBfloat16(new Uint16Array(buffer, byteOffset, target.length), target);
  else widenInt64(new BigInt64Array(buffer, byteOffset, target.length), target);
}

/** Turns big-endian elements into little-endian ones, in place. */
export function swapBytes(type: ElementType, bytes: Uint8Array<ArrayBuffer>): void {
  const view = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const size = elementBytes[type];
  if (size === 2) view.swap16();
  else if (size === 4) view.swap32();
  else if (size === 8) view.swap64();
}

/** A bfloat16 is the upper half of a float32. */
function widenBfloat16(source: Uint16Array, target: Float32Array): void {
  const bits = new Uint32Array(target.buffer, target.byteOffset, target.length);
  for (let i = 0; i < source.length; i++) bits[i] = source[i]! << 16;
}

function widenInt64(source: BigInt64Array, target: Float32Array): void {
  for (let i = 0; i < source.length; i++) target[i] = Number(source[i]!);
}
