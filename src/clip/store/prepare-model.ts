import { basename } from 'node:path';
import { DEMO_MODEL_NAME, demoCheckpointSha256 } from '../../../models/demo/demo-checkpoint.ts';
import type { CompiledModel } from '../graph/compiled-model.ts';
import { rememberedSha256 } from './checksum.ts';
import type { ReportProgress } from './loading-progress.ts';
import { obtainCheckpoint } from './obtain-checkpoint.ts';
import { cacheRoots, type IdentifiedCheckpoint, obtainCompiled } from './obtain-compiled.ts';
import { choosePrecision } from './precision.ts';
import { type ModelRequest, resolveModelRequest } from './search.ts';
import { knownSums, modelOfSum } from './sources.ts';
import { type StoreContext, type StoreOptions, storeContext } from './store-context.ts';

/**
 * Brings a model to where it can be loaded: search, download where nothing is found, verify, compile
 * where that has not been done yet. One attempt; whoever calls it tries again (`retryDelays`).
 * @param report told of every step forward, often
 * @throws ModelStoreError with a sentence for the operator; `retryable` says whether trying again may help
 */
export async function prepareModel(
  options: StoreOptions,
  report: ReportProgress,
  signal: AbortSignal,
): Promise<CompiledModel> {
  const context = storeContext(options);
  const precision = choosePrecision(context.model.precision);
  report({ stage: 'searching' });
  const request = await resolveModelRequest(context.model.name, context.models);
  if (request.kind === 'demo') {
    const demo = { name: DEMO_MODEL_NAME, sha256: demoCheckpointSha256() };
    return await obtainCompiled(
      demo,
      precision,
      await cacheRoots(undefined, context),
      context,
      report,
      signal,
    );
  }
  const path =
    request.kind === 'file' ? request.path : await obtainCheckpoint(request.model, context, report, signal);
  const roots = await cacheRoots(path, context);
  report({ stage: 'verifying' });
  const sha256 = await rememberedSha256(path, roots, report, signal);
  const identified = identify(path, sha256, request, context);
  return await obtainCompiled(identified, precision, roots, context, report, signal);
}

/** Gives a checkpoint its name: a model's only where the sum says so. */
function identify(
  path: string,
  sha256: string,
  request: Exclude<ModelRequest, { kind: 'demo' }>,
  { log, models }: StoreContext,
): IdentifiedCheckpoint {
  const model = modelOfSum(models, sha256);
  if (model === undefined) {
    const expected = (request.kind === 'named' ? [request.model] : models).flatMap(knownSums);
    log.warn(
      { path, sha256, expected },
      `the checkpoint ${path} is none of the known ones: its sha256 is ${sha256}, known are ${expected.join(', ')}`,
    );
  }
  return { path, name: model?.name ?? basename(path), sha256 };
}
