import { describe, expect, test } from 'bun:test';
import { CheckpointError, CheckpointFile } from '../../../src/clip/checkpoint/checkpoint.ts';
import { readSafetensors } from '../../../src/clip/checkpoint/safetensors.ts';
import { TensorReader } from '../../../src/clip/checkpoint/stored-tensor.ts';
import { littleEndian } from './pickle-writer.ts';
import { type SafetensorsEntry, safetensors, safetensorsOf } from './safetensors-writer.ts';
import { TemporaryFolder } from './temporary-folder.ts';

/** Every tensor's values. */
function contents(bytes: Uint8Array): Record<string, number[]> {
  using folder = new TemporaryFolder();
  using file = new CheckpointFile(folder.write('model.safetensors', bytes));
  const reader = new TensorReader(file);
  const values = [...readSafetensors(file)].map(([name, tensor]) => {
    const target = new Float32Array(tensor.shape.reduce((count, size) => count * size, 1));
    reader.readInto(tensor, target);
    return [name, [...target]];
  });
  return Object.fromEntries(values);
}

/** A file of these header entries over sixteen bytes of data. */
function described(entries: Record<string, unknown>): Uint8Array {
  return safetensorsOf(JSON.stringify(entries), new Uint8Array(16));
}

const entry = (begin: number, end: number, change: Partial<SafetensorsEntry> = {}): SafetensorsEntry => ({
  dtype: 'F32',
  shape: [(end - begin) / 4],
  data_offsets: [begin, end],
  ...change,
});

test('tensors of several types are read', () => {
  const tensors = new Map([
    ['a', { shape: [2, 2], values: [1, -2, 0.5, 8] }],
    ['b', { shape: [3], values: [1, -2, 0.5], type: 'float16' }],
    ['c', { shape: [1], values: [1.5], type: 'bfloat16' }],
    ['d', { shape: [], values: [77], type: 'int64' }],
    ['e', { shape: [0, 4], values: [] }],
  ] as const);
  expect(contents(safetensors(tensors))).toEqual({
    a: [1, -2, 0.5, 8],
    b: [1, -2, 0.5],
    c: [1.5],
    d: [77],
    e: [],
  });
});

test('a tensor called __proto__ is a tensor', () => {
  const header = `{"__proto__":${JSON.stringify(entry(0, 4))}}`;
  using folder = new TemporaryFolder();
  using file = new CheckpointFile(folder.write('model', safetensorsOf(header, new Uint8Array(4))));
  expect([...readSafetensors(file).keys()]).toEqual(['__proto__']);
});

describe('a file is refused', () => {
  test.each<[string, Uint8Array, string]>([
    ['that ends within its header', described({ a: entry(0, 16) }).subarray(0, 20), 'it is cut short'],
    [
      'that ends within a tensor',
      described({ a: entry(0, 16) }).subarray(0, -1),
      'tensor "a" ends at byte 16 of the data, which has 15 bytes',
    ],
    ['that ends within its length', Uint8Array.of(1, 2, 3), 'ends before byte 8'],
    [
      'whose header is too large to read',
      Uint8Array.from([...littleEndian(2 ** 40, 8), 0x7b]),
      'header claims 1099511627776 bytes',
    ],
    ['whose header is not JSON', safetensorsOf('{"a":', new Uint8Array(0)), 'header is not JSON'],
    ['whose header is a list', safetensorsOf('[1]', new Uint8Array(0)), 'header is not a JSON object'],
    ['whose header is null', safetensorsOf('null', new Uint8Array(0)), 'header is not a JSON object'],
    [
      'with tensors that overlap',
      described({ a: entry(0, 8), b: entry(4, 16) }),
      'tensors "a" and "b" overlap',
    ],
    ['with a tensor beyond its end', described({ a: entry(0, 20) }), 'ends at byte 20'],
    [
      'with a tensor that ends before it begins',
      described({ a: entry(8, 4, { shape: [1] }) }),
      'does not have -4 bytes',
    ],
    [
      'with offsets that do not match the shape',
      described({ a: entry(0, 16, { shape: [3] }) }),
      'does not have 16 bytes',
    ],
    [
      'with a shape past all numbers',
      described({ a: entry(0, 16, { shape: [2 ** 52, 2 ** 52] }) }),
      'does not have',
    ],
    ['with a negative size', described({ a: entry(0, 16, { shape: [-2, -2] }) }), 'is described wrongly'],
    ['with a fractional offset', described({ a: entry(0.5, 4.5) }), 'is described wrongly'],
    [
      'with three offsets',
      described({ a: entry(0, 4, { data_offsets: [0, 4, 8] }) }),
      'is described wrongly',
    ],
    [
      'with an unknown type',
      described({ a: entry(0, 4, { dtype: 'F8_E4M3' }) }),
      'of type "F8_E4M3"; supported are F16',
    ],
    ['with a tensor that is not an object', described({ a: 3 }), 'is described wrongly'],
    [
      'with too many dimensions',
      described({ a: entry(0, 4, { shape: new Array(9).fill(1) }) }),
      'has 9 dimensions',
    ],
  ])('%s', (_, bytes, sentence) => {
    expect(() => contents(bytes)).toThrow(CheckpointError);
    expect(() => contents(bytes)).toThrow(sentence);
  });
});
