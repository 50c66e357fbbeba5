import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openSession } from '../../../native/onnx/session.ts';
import type { Checkpoint } from '../../../src/clip/checkpoint/checkpoint.ts';
import { type CompileTarget, compileModel } from '../../../src/clip/graph/compile-model.ts';
import { type CompiledModel, readCompiledModel } from '../../../src/clip/graph/compiled-model.ts';

export const identity = { name: 'test', sha256: 'ab'.repeat(32) };

/** A fresh folder, removed with all that is in it. */
export async function temporaryDirectory(): Promise<{ path: string } & AsyncDisposable> {
  const path = await mkdtemp(join(tmpdir(), 'graph-'));
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }) };
}

/** Both towers of a compiled model, loaded. */
export interface Encoders extends AsyncDisposable {
  readonly model: CompiledModel;
  /** pictures [N][S·S·3] uint8 → [N][D] */
  encodeImages(pictures: readonly Uint8Array[]): Promise<Float32Array[]>;
  /** ids [N][L], all of one length → [N][D] */
  encodeTexts(texts: readonly (readonly number[])[]): Promise<Float32Array[]>;
}

/** A compiled model in a temporary folder, which is removed with it. */
export interface TemporaryModel extends AsyncDisposable {
  /** Loads both towers; any number of times. Default: as many threads as the service's default. */
  open(threads?: number): Promise<Encoders>;
}

export async function compileToOpen(
  checkpoint: Checkpoint,
  target: CompileTarget = { precision: 'fp32' },
): Promise<TemporaryModel> {
  await using cleanup = new AsyncDisposableStack();
  const directory = cleanup.use(await temporaryDirectory());
  await compileModel({ checkpoint, identity, target, directory: directory.path });
  const model = await readCompiledModel(directory.path);
  const kept = cleanup.move();
  return {
    open: (threads = 2) => openEncoders(model, threads),
    [Symbol.asyncDispose]: () => kept.disposeAsync(),
  };
}

/** Compiles a checkpoint and loads it once. */
export async function compileAndOpen(
  checkpoint: Checkpoint,
  threads?: number,
  target?: CompileTarget,
): Promise<Encoders> {
  // A loaded session does not need its files any more.
  await using compiled = await compileToOpen(checkpoint, target);
  return await compiled.open(threads);
}

async function openEncoders(model: CompiledModel, threads: number): Promise<Encoders> {
  await using cleanup = new AsyncDisposableStack();
  const vision = cleanup.use(await openSession(model.visionGraphPath, { threads, inputShapes: 'few' }));
  const text = cleanup.use(await openSession(model.textGraphPath, { threads }));
  const { architecture } = model;
  const side = architecture.vision.imageResolution;
  const opened = cleanup.move();

  return {
    model,
    async encodeImages(pictures) {
      const data = new Uint8Array(pictures.length * side * side * 3);
      for (const [index, picture] of pictures.entries()) data.set(picture, index * side * side * 3);
      const embeddings = newEmbeddings(pictures.length);
      await vision.run(
        { pixels: { type: 'uint8', dims: [pictures.length, side, side, 3], data } },
        { embeddings },
      );
      return rows(embeddings.data);
    },
    async encodeTexts(texts) {
      const data = Int32Array.from(texts.flat());
      const embeddings = newEmbeddings(texts.length);
      await text.run(
        { input_ids: { type: 'int32', dims: [texts.length, data.length / texts.length], data } },
        { embeddings },
      );
      return rows(embeddings.data);
    },
    [Symbol.asyncDispose]: () => opened.disposeAsync(),
  };

  function newEmbeddings(count: number) {
    const dimension = architecture.embeddingDimension;
    const data = new Float32Array(count * dimension);
    return { type: 'float32', dims: [count, dimension], data } as const;
  }

  function rows(values: Float32Array): Float32Array[] {
    const dimension = architecture.embeddingDimension;
    return Array.from({ length: values.length / dimension }, (_, row) =>
      values.slice(row * dimension, (row + 1) * dimension),
    );
  }
}
