import { basename } from 'node:path';
import type { Checkpoint } from '../checkpoint/checkpoint.ts';
import { CheckpointError } from '../checkpoint/checkpoint-file.ts';
import { openCheckpoint } from '../checkpoint/open-checkpoint.ts';
import { DEMO_MODEL_NAME, demoCheckpoint, demoCheckpointSha256 } from '../demo/demo-checkpoint.ts';
import { familyNamed } from '../family.ts';
import type { CompiledModel } from '../graph/compiled-model.ts';
import { rememberedSha256 } from './checksum.ts';
import { obtainCheckpoint } from './obtain-checkpoint.ts';
import { cacheRoots, obtainCompiled } from './obtain-compiled.ts';
import type { ReportProgress } from './progress-display.ts';
import { knownSums, type ModelRequest, modelOfSum, resolveModelRequest } from './search.ts';
import { unsoundCheckpoint } from './storage-error.ts';
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
  const { precision } = context.model;
  report({ stage: 'searching' });
  const request = await resolveModelRequest(context.model.name, context.models);
  if (request.kind === 'demo') {
    using checkpoint = demoCheckpoint();
    const { architecture } = checkpoint;
    const demo = { name: DEMO_MODEL_NAME, sha256: demoCheckpointSha256(), architecture };
    return await obtainCompiled(
      demo,
      // Nobody runs it for its speed, and it is not worth a comparison.
      precision === 'auto' ? 'fp32' : precision,
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
  const { architecture, assumption } = await inspectCheckpoint(path);
  const name = nameFor(path, sha256, request, assumption, context);
  const identified = { path, name, sha256, architecture };
  return await obtainCompiled(identified, precision, roots, context, report, signal);
}

/** Opening reads a checkpoint's table of contents only, so it is done at every start. */
async function inspectCheckpoint(path: string): Promise<Pick<Checkpoint, 'architecture' | 'assumption'>> {
  try {
    using checkpoint = await openCheckpoint(path);
    const { architecture, assumption } = checkpoint;
    const { vocabularySize } = architecture.text;
    const family = familyNamed(checkpoint.family);
    if (vocabularySize !== family.vocabularySize) {
      throw unsoundCheckpoint(
        `The checkpoint ${path} cannot be used: it knows ${vocabularySize} tokens, so its tokenizer is not ` +
          `${family.tokenizerName}, which has ${family.vocabularySize} and is the only one supported for its kind.`,
      );
    }
    return { architecture, ...(assumption === undefined ? {} : { assumption }) };
  } catch (error) {
    if (error instanceof CheckpointError) throw unsoundCheckpoint(error.message, { cause: error });
    throw error;
  }
}

/** A model's name only where the sum says so; the file's otherwise. */
function nameFor(
  path: string,
  sha256: string,
  request: Exclude<ModelRequest, { kind: 'demo' }>,
  assumption: string | undefined,
  { log, models }: StoreContext,
): string {
  const model = modelOfSum(models, sha256);
  if (model === undefined) {
    const expected = (request.kind === 'named' ? [request.model] : models).flatMap(knownSums);
    log.warn(
      { path, sha256, expected },
      'the checkpoint is none of the known ones; it is used if it is sound',
    );
    if (assumption !== undefined) log.warn({ path }, assumption);
  } else if (request.kind === 'named' && request.model !== model) {
    log.warn(
      { path, asked: request.model.name, found: model.name },
      'the checkpoint is that of another model than was asked for; it is used all the same',
    );
  }
  return model?.name ?? basename(path);
}
