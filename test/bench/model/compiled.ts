import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { CompiledModel } from '../../../src/clip/graph/compiled-model.ts';
import { prepareModel } from '../../../src/clip/store/prepare-model.ts';
import { ModelStoreError } from '../../../src/clip/store/storage-error.ts';
import { createLog } from '../../../src/log.ts';
import type { Precision } from '../../../src/precision.ts';
import type { ServiceEnvironment } from '../../service/service.ts';
import { cacheFolder, ownRoot } from '../cache-folder.ts';
import { startFrom } from '../service/start.ts';
import { randomCheckpointFile } from './random-checkpoint-file.ts';

/** A checkpoint and where its compiled models lie. */
export interface BenchModel {
  readonly checkpointPath: string;
  readonly cacheDirectory: string;
}

/** @param model a checkpoint's path, or `random` */
export async function benchModel(model: string): Promise<BenchModel> {
  const checkpointPath = model === 'random' ? await randomCheckpointFile() : model;
  return {
    checkpointPath,
    cacheDirectory: await cacheFolder('compiled', Bun.hash(checkpointPath).toString(36)),
  };
}

/** @returns undefined where the service does not know the precision */
export async function compiledIn(
  precision: Precision,
  { checkpointPath, cacheDirectory }: BenchModel,
): Promise<CompiledModel | undefined> {
  const model = {
    name: checkpointPath,
    cacheDirectory,
    url: undefined,
    precision,
    demoFallback: false,
  };
  const options = { model, log: createLog('silent'), terminal: null };
  try {
    return await prepareModel(options, () => undefined, new AbortController().signal);
  } catch (fault) {
    if (fault instanceof ModelStoreError && fault.fault === 'precision_unavailable') return undefined;
    throw fault;
  }
}

/**
 * What the service is started with to serve such a model.
 * @param root the checkout that is started; another one than our own gets a folder of compiled models for itself
 */
export async function modelEnvironment(
  precision: Precision,
  { checkpointPath, cacheDirectory }: BenchModel,
  root: string,
): Promise<ServiceEnvironment> {
  const cache =
    root === ownRoot
      ? cacheDirectory
      : await cacheFolder('compiled', Bun.hash(`${checkpointPath} ${root}`).toString(36));
  return { CLIP_MODEL: checkpointPath, CLIP_CACHE: cache, CLIP_PRECISION: precision };
}

/** Compiled demo models, one for each checkout. */
export interface DemoModels extends AsyncDisposable {
  /** What the service is started with to serve it; it finds it compiled. */
  environment(root: string, temporaryFolder: string): ServiceEnvironment;
}

/** Lets each checkout compile the demo model once. */
export async function demoModels(roots: readonly string[]): Promise<DemoModels> {
  await using cleanup = new AsyncDisposableStack();
  const folder = await mkdtemp(join(tmpdir(), 'classify-images-bench-'));
  cleanup.defer(() => rm(folder, { recursive: true, force: true }));
  const environment = (root: string, temporaryFolder: string) => ({
    CLIP_MODEL: 'demo',
    CLIP_CACHE: join(folder, Bun.hash(root).toString(36)),
    TMPDIR: temporaryFolder,
  });
  for (const root of roots) {
    await using service = await startFrom(root, environment(root, folder));
    await service.ready();
  }
  const kept = cleanup.move();
  return { environment, [Symbol.asyncDispose]: () => kept.disposeAsync() };
}
