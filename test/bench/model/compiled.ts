import type { CompiledModel, Precision } from '../../../src/clip/graph/compiled-model.ts';
import { ModelStoreError } from '../../../src/clip/store/model-store-error.ts';
import { prepareModel } from '../../../src/clip/store/prepare-model.ts';
import { createLog } from '../../../src/log.ts';
import type { ServiceEnvironment } from '../../service/service.ts';
import { cacheFolder } from '../cache-folder.ts';
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

/** What the service is started with to serve such a model. */
export function modelEnvironment(
  precision: Precision,
  { checkpointPath, cacheDirectory }: BenchModel,
): ServiceEnvironment {
  return { CLIP_MODEL: checkpointPath, CLIP_CACHE: cacheDirectory, CLIP_PRECISION: precision };
}
