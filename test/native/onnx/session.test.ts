import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { join } from 'node:path';
import { type OnnxSession, openSession } from '../../../native/onnx/session.ts';
import { temporaryDirectory } from '../../clip/graph/compiled.ts';
import { writeProductGraph } from './product-graph.ts';

describe('openSession', () => {
  let directory: Awaited<ReturnType<typeof temporaryDirectory>>;
  let session: OnnxSession;
  beforeAll(async () => {
    directory = await temporaryDirectory();
    session = await openSession(await writeProductGraph(directory.path), { threads: 1 });
  });
  afterAll(async () => {
    await session[Symbol.asyncDispose]();
    await directory[Symbol.asyncDispose]();
  });

  test('reads and writes in place in shared memory, at any offset', async () => {
    const shared = new SharedArrayBuffer(64);
    const all = new Float32Array(shared);
    all.set([9, 9, 1, 0, 0, 1, 9, 9]);
    await session.run(
      { x: { type: 'float32', dims: [2, 2], data: new Float32Array(shared, 8, 4) } },
      { y: { type: 'float32', dims: [2, 2], data: new Float32Array(shared, 32, 4) } },
    );
    expect([...all]).toEqual([9, 9, 1, 0, 0, 1, 9, 9, 1, 2, 3, 4, 0, 0, 0, 0]);
  });

  test('that gets few shapes computes each of them, the first time and again', async () => {
    await using few = await openSession(join(directory.path, 'product.onnx'), {
      threads: 1,
      inputShapes: 'few',
    });
    for (const rows of [1, 3, 2, 1, 3, 2]) {
      const x = Float32Array.from({ length: 2 * rows }, (_, index) => index);
      const y = new Float32Array(2 * rows);
      const dims = [rows, 2];
      await few.run({ x: { type: 'float32', dims, data: x } }, { y: { type: 'float32', dims, data: y } });
      // [a, b] · [[1, 2], [3, 4]]
      expect([...y]).toEqual([3, 4, 11, 16, 19, 28].slice(0, 2 * rows));
    }
  });

  test('computes with weights that stay in their file', async () => {
    await using mapped = await openSession(join(directory.path, 'product.onnx'), {
      threads: 1,
      weights: 'mapped',
    });
    const y = new Float32Array(4);
    const dims = [2, 2];
    await mapped.run(
      { x: { type: 'float32', dims, data: Float32Array.of(1, 0, 1, 1) } },
      { y: { type: 'float32', dims, data: y } },
    );
    expect([...y]).toEqual([1, 2, 4, 6]);
  });

  test('refuses an output of other dimensions than the graph gives', async () => {
    const y = new Float32Array(2);
    const running = session.run(
      { x: { type: 'float32', dims: [2, 2], data: new Float32Array(4) } },
      { y: { type: 'float32', dims: [1, 2], data: y } },
    );
    await expect(running).rejects.toThrow();
    expect([...y]).toEqual([0, 0]);
  });

  test('refuses an input of another type', async () => {
    const running = session.run(
      { x: { type: 'int32', dims: [1, 2], data: Int32Array.of(1, 2) } },
      { y: { type: 'float32', dims: [1, 2], data: new Float32Array(2) } },
    );
    await expect(running).rejects.toThrow('int32');
  });

  test('names a graph that is not there', async () => {
    const path = join(directory.path, 'other.onnx');
    await expect(openSession(path, { threads: 1 })).rejects.toThrow(path);
  });
});
