import { describe, expect, test } from 'bun:test';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { WeightFile } from '../../../src/clip/graph/graph-builder.ts';
import { temporaryDirectory } from './compiled.ts';

describe('WeightFile', () => {
  test('puts every weight on its own page', async () => {
    await using directory = await temporaryDirectory();
    const path = join(directory.path, 'weights');
    await using file = await WeightFile.create(path);
    const buffer = Float32Array.of(9, 1, 2, 3, 9);

    expect(await file.append(buffer.subarray(1, 4))).toEqual({ byteOffset: 0, byteLength: 12 });
    expect(await file.append(new Float32Array(1025).fill(5))).toEqual({ byteOffset: 4096, byteLength: 4100 });
    expect(await file.append(Float32Array.of(7))).toEqual({ byteOffset: 12288, byteLength: 4 });

    const bytes = await readFile(path);
    expect(bytes).toHaveLength(12292);
    const values = new Float32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4);
    expect(values.slice(0, 4)).toEqual(Float32Array.of(1, 2, 3, 0));
    expect(values.slice(1024, 2049)).toEqual(new Float32Array(1025).fill(5));
    expect(values.slice(2049, 3072)).toEqual(new Float32Array(1023));
    expect(values[3072]).toBe(7);
  });

  test('does not write over a file that is there', async () => {
    await using directory = await temporaryDirectory();
    const path = join(directory.path, 'weights');
    await using first = await WeightFile.create(path);
    await first.append(Float32Array.of(1));
    await expect(WeightFile.create(path)).rejects.toThrow('EEXIST');
  });
});
