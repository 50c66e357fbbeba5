import { stat } from 'node:fs/promises';
import { basename } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { type Checkpoint, CheckpointError } from '../checkpoint/checkpoint.ts';
import { openCheckpoint } from '../checkpoint/open-checkpoint.ts';
import { DEMO_MODEL_NAME, demoCheckpoint, demoCheckpointSha256 } from '../demo/demo-checkpoint.ts';
import { familyNamed } from '../family.ts';
import type { CompiledModel } from '../graph/compiled-model.ts';
import { rememberedSha256 } from './checksum.ts';
import { obtainCheckpoint } from './download.ts';
import { cacheRoots, obtainCompiled } from './obtain-compiled.ts';
import type { ReportProgress } from './progress-display.ts';
import {
  findCheckpoint,
  knownSums,
  type ModelRequest,
  modelOfSum,
  resolveModelRequest,
  searchOrder,
} from './search.ts';
import { type ModelStoreFault, unsoundCheckpoint } from './storage-error.ts';
import { type StoreContext, type StoreOptions, storeContext } from './store-context.ts';

/**
 * Prepares a model for loading: finds or downloads the checkpoint, verifies it, and compiles it unless that has been
 * done. One attempt; the caller repeats it (`retryDelays`).
 * @param report called on every step forward, often
 * @throws ModelStoreError with a sentence for the operator; `retryable` says whether another attempt may help
 */
export async function prepareModel(
  options: StoreOptions,
  report: ReportProgress,
  signal: AbortSignal,
): Promise<CompiledModel> {
  const work = { ...storeContext(options), report, signal };
  const { precision } = work.model;
  report({ stage: 'searching' });
  const request = await resolveModelRequest(work.model.name, work.models);
  if (request.kind === 'demo') {
    using checkpoint = demoCheckpoint();
    const demo = {
      name: DEMO_MODEL_NAME,
      sha256: demoCheckpointSha256(),
      architecture: checkpoint.architecture,
      // The demo model need not be fast, so a comparison is not worth its time.
      precision: precision === 'auto' ? 'fp32' : precision,
    } as const;
    return await obtainCompiled(demo, await cacheRoots(undefined, work), work);
  }
  const path = request.kind === 'file' ? request.path : await obtainCheckpoint(request.model, work);
  const roots = await cacheRoots(path, work);
  report({ stage: 'verifying' });
  const sha256 = await rememberedSha256(path, roots, report, signal);
  const { architecture, assumption } = await inspectCheckpoint(path);
  const name = nameOf({ path, sha256, assumption }, request, work);
  return await obtainCompiled({ path, name, sha256, architecture, precision }, roots, work);
}

/** Opening reads only a checkpoint's table of contents, so every start does it. */
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

interface InspectedCheckpoint {
  readonly path: string;
  readonly sha256: string;
  readonly assumption: string | undefined;
}

/** The name of the model that the sum belongs to, or the file's. */
function nameOf(
  { path, sha256, assumption }: InspectedCheckpoint,
  request: Exclude<ModelRequest, { kind: 'demo' }>,
  { log, models }: StoreContext,
): string {
  const model = modelOfSum(models, sha256);
  if (model === undefined) {
    const expected = (request.kind === 'named' ? [request.model] : models).flatMap(knownSums);
    log.warn({ path, sha256, expected }, 'the checkpoint is not a known one; it is used if it is sound');
    if (assumption !== undefined) log.warn({ path }, assumption);
  } else if (request.kind === 'named' && request.model !== model) {
    log.warn(
      { path, asked: request.model.name, found: model.name },
      'the checkpoint belongs to another model than CLIP_MODEL names; it is used nevertheless',
    );
  }
  return model?.name ?? basename(path);
}

/** Pauses between attempts to prepare a model: five seconds, doubling, never more than five minutes. */
export function* retryDelays(firstMs = 5000, limitMs = 5 * 60_000): Generator<number, never> {
  for (let delayMs = firstMs; ; delayMs = Math.min(delayMs * 2, limitMs)) yield delayMs;
}

/** Faults of an attempt that found no checkpoint at all. */
const absentFaults: ReadonlySet<ModelStoreFault> = new Set(['download_failed', 'checkpoint_missing']);

/**
 * Waits before the next attempt. The wait ends early when a checkpoint appears where the attempt would look, or
 * replaces an unsound one.
 * @param fault of the attempt that failed
 */
export async function pauseBeforeRetry(
  options: StoreOptions,
  delayMs: number,
  signal: AbortSignal,
  fault?: ModelStoreFault,
): Promise<void> {
  const context = storeContext(options);
  const untilMs = performance.now() + delayMs;
  // The attempt has not seen a file that came during its download.
  const before = fault !== undefined && absentFaults.has(fault) ? undefined : await describeFound(context);
  for (let seen = before; ; ) {
    const leftMs = untilMs - performance.now();
    if (leftMs <= 0) return;
    await pause(Math.min(context.timings.pollMs, leftMs), undefined, { signal });
    const now = await describeFound(context);
    // A file that still grows is being copied.
    if (now !== undefined && now !== before && now === seen) return;
    seen = now;
  }
}

/** The checkpoint that the next attempt would find, with its size and time; undefined for none. */
async function describeFound(context: StoreContext): Promise<string | undefined> {
  const { model, models, usualDirectories } = context;
  try {
    const request = await resolveModelRequest(model.name, models);
    if (request.kind === 'demo') return undefined;
    const path =
      request.kind === 'file'
        ? request.path
        : await findCheckpoint(searchOrder(model.cacheDirectory, usualDirectories), request.model.fileNames);
    if (path === undefined) return undefined;
    const { size, mtimeMs } = await stat(path);
    return `${path} ${size} ${mtimeMs}`;
  } catch {
    // The file is absent. The next attempt says why.
    return undefined;
  }
}
