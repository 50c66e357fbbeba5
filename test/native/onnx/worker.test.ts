import { afterAll, afterEach, beforeAll, describe, expect, test } from 'bun:test';
import { rename } from 'node:fs/promises';
import { type ArenaTensor, InferenceThreadError, startOnnxWorker } from '../../../native/onnx/worker.ts';
import { temporaryDirectory } from '../../clip/graph/compiled.ts';
import { writeProductGraph } from './product-graph.ts';

const RealWorker = globalThis.Worker;

/** The threads started since the test began, so that it can end them behind their owner's back. */
const threads: Worker[] = [];
/** This many of the next threads break down over their first message. */
let doomed = 0;
class WatchedWorker extends RealWorker {
  constructor(...parameters: ConstructorParameters<typeof Worker>) {
    super(...parameters);
    threads.push(this);
    if (doomed === 0) return;
    doomed -= 1;
    breakDown(this);
  }
}

let directory: Awaited<ReturnType<typeof temporaryDirectory>>;
let graphPath: string;
beforeAll(async () => {
  globalThis.Worker = WatchedWorker;
  directory = await temporaryDirectory();
  graphPath = await writeProductGraph(directory.path);
});
afterEach(() => {
  threads.length = 0;
});
afterAll(async () => {
  globalThis.Worker = RealWorker;
  await directory[Symbol.asyncDispose]();
});

const x: ArenaTensor = { name: 'x', type: 'float32', dims: [1, 2], byteOffset: 0 };
const y: ArenaTensor = { name: 'y', type: 'float32', dims: [1, 2], byteOffset: 64 };

/** A message that it does not understand is thrown out of the thread's only listener. */
function breakDown(thread: Worker | undefined): void {
  thread?.postMessage(null);
}

async function startWithGraph() {
  const faults: string[] = [];
  const worker = startOnnxWorker({
    arena: new SharedArrayBuffer(128),
    threads: 1,
    onBreakdown: ({ message }) => faults.push(message),
  });
  await worker.load('product', graphPath, 'few');
  /** [a, b] · [[1, 2], [3, 4]] */
  const multiply = async (a: number, b: number) => {
    new Float32Array(worker.arena, 0, 2).set([a, b]);
    await worker.run('product', [x], [y]);
    return [...new Float32Array(worker.arena, 64, 2)];
  };
  return { worker, multiply, faults, [Symbol.asyncDispose]: () => worker[Symbol.asyncDispose]() };
}

describe('an inference thread', () => {
  test('computes on the arena', async () => {
    await using started = await startWithGraph();
    expect(await started.multiply(1, 2)).toEqual([7, 10]);
    expect(threads).toHaveLength(1);
  });

  test('that is killed between two runs is replaced, by one with the same graphs and arena', async () => {
    await using started = await startWithGraph();
    for (let kills = 1; kills <= 5; kills++) {
      expect(await started.multiply(kills, 0)).toEqual([kills, 2 * kills]);
      threads.at(-1)?.terminate();
      while (started.faults.length < kills) await Bun.sleep(1);
    }
    expect(await started.multiply(0, 1)).toEqual([3, 4]);
    expect(threads).toHaveLength(6);
  });

  test('that breaks down before a run reports the reason, and the next one does the run', async () => {
    await using started = await startWithGraph();
    await started.multiply(1, 1);
    breakDown(threads[0]);
    expect(await started.multiply(2, 1)).toEqual([5, 8]);
    expect(started.faults).toEqual([expect.stringMatching(/^The inference thread has ended: .*TypeError/s)]);
  });

  test('that breaks down twice over the same run: that run fails, the next does not', async () => {
    await using started = await startWithGraph();
    await started.multiply(1, 1);
    doomed = 1;
    breakDown(threads[0]);
    const product = started.multiply(2, 1).catch((fault: unknown) => fault);
    expect(await product).toBeInstanceOf(InferenceThreadError);
    expect(await started.multiply(1, 0)).toEqual([1, 2]);
  });

  test('whose graph is gone fails what waits, and serves again when the graph is back', async () => {
    await using started = await startWithGraph();
    await started.multiply(1, 1);
    await rename(graphPath, `${graphPath}.away`);
    threads[0]?.terminate();
    while (started.faults.length === 0) await Bun.sleep(1);
    const failing = started.multiply(1, 0);
    await expect(failing).rejects.toThrow(InferenceThreadError);
    await expect(failing).rejects.toThrow('cannot load its graphs');
    await rename(`${graphPath}.away`, graphPath);
    let product: number[] | undefined;
    while (!product) {
      await Bun.sleep(20);
      product = await started.multiply(1, 0).catch(() => undefined);
    }
    expect(product).toEqual([1, 2]);
  });

  test('that is stopped finishes its run, takes no more runs, and is not replaced', async () => {
    const started = await startWithGraph();
    const product = started.multiply(1, 1);
    await Bun.sleep(0);
    await started.worker[Symbol.asyncDispose]();
    expect(await product).toEqual([4, 6]);
    await expect(started.multiply(1, 0)).rejects.toThrow('was stopped');
    expect(threads).toHaveLength(1);
    expect(started.faults).toEqual([]);
  });

  test('reports the fault of an impossible run, and continues', async () => {
    await using started = await startWithGraph();
    const { worker } = started;
    const faultOf = (running: Promise<void>) => running.then(() => undefined, String);
    expect(await faultOf(worker.run('product', [{ ...x, name: 'z' }], [y]))).toContain("'x' is missing");
    expect(await faultOf(worker.run('quotient', [x], [y]))).toContain('no session "quotient"');
    expect(await started.multiply(1, 0)).toEqual([1, 2]);
    expect(threads).toHaveLength(1);
  });
});
