import { dirname, join, resolve } from 'node:path';
import type { Log } from '../../log.ts';
import type { ClipArchitecture } from '../architecture.ts';
import type { CompiledModel, PrecisionSetting } from '../graph/compiled-model.ts';
import { compileInChild } from './compile-process.ts';
import { addToCache, readCached, sweepTemporaries } from './compiled-cache.ts';
import type { ReportProgress } from './loading-progress.ts';
import { ModelStoreError } from './model-store-error.ts';
import type { StoreContext } from './store-context.ts';
import { temporaryRoot } from './temporary-root.ts';
import { firstWritable } from './writable-directory.ts';

/** A checkpoint whose sum is known. */
export interface IdentifiedCheckpoint {
  /** Absent: the demo model, which is constructed. */
  readonly path?: string;
  readonly name: string;
  readonly sha256: string;
  readonly architecture: ClipArchitecture;
}

/** Folders for compiled models, best first: `CLIP_CACHE`, then beside the checkpoint. */
export async function cacheRoots(
  path: string | undefined,
  context: StoreContext,
): Promise<readonly string[]> {
  const { cacheDirectory } = context.model;
  const folders = cacheDirectory === undefined ? [] : [resolve(cacheDirectory)];
  if (path !== undefined) folders.push(dirname(path));
  else if (cacheDirectory === undefined) {
    const writable = await firstWritable(context.usualDirectories).catch(() => undefined);
    if (writable !== undefined) folders.push(writable);
  }
  return [...new Set(folders)].map((folder) => join(folder, 'compiled'));
}

/**
 * The compiled model of a checkpoint: from a cache folder, or else compiled now into the first one
 * that takes it.
 * @throws ModelStoreError checkpoint_unsound, compile_failed, storage_full, storage_failed
 */
export async function obtainCompiled(
  checkpoint: IdentifiedCheckpoint,
  precision: PrecisionSetting,
  roots: readonly string[],
  context: StoreContext,
  report: ReportProgress,
  signal: AbortSignal,
): Promise<CompiledModel> {
  const { log, timings } = context;
  for (const root of roots) {
    // A folder that is not there, or cannot be written, has nothing to be removed.
    await sweepTemporaries(root, timings.lockStaleMs).catch(() => undefined);
    const cached = await lookUp(root, checkpoint, precision, context);
    if (cached !== undefined) return cached;
  }
  for (const root of roots) {
    try {
      return await compileInto(root, checkpoint, precision, context, report, signal);
    } catch (error) {
      if (!isStorageFault(error)) throw error;
      log.warn(
        { directory: root, reason: error.message },
        'the compiled model cannot be kept in its cache folder',
      );
    }
  }
  const root = await temporaryRoot(context.temporaryParent);
  await sweepTemporaries(root, timings.lockStaleMs);
  log.warn(
    { directory: root },
    'a temporary folder holds the compiled model; it may have to be compiled again',
  );
  const cached = await lookUp(root, checkpoint, precision, context);
  return cached ?? (await compileInto(root, checkpoint, precision, context, report, signal));
}

async function lookUp(
  root: string,
  { name, sha256, architecture }: IdentifiedCheckpoint,
  precision: PrecisionSetting,
  { log }: StoreContext,
): Promise<CompiledModel | undefined> {
  const cached = await readCached(root, { sha256, precision, architecture });
  if (cached === 'absent') return undefined;
  if ('damage' in cached) {
    log.warn(
      { directory: root, reason: cached.damage },
      'the compiled model cannot be used and is compiled anew',
    );
    return undefined;
  }
  tellComparison(cached, precision, log);
  // The file may have had another name when it was compiled.
  return { ...cached, name };
}

async function compileInto(
  root: string,
  { path, name, sha256, architecture }: IdentifiedCheckpoint,
  precision: PrecisionSetting,
  context: StoreContext,
  report: ReportProgress,
  signal: AbortSignal,
): Promise<CompiledModel> {
  const { log, timings } = context;
  const startedMs = performance.now();
  const key = { sha256, precision, architecture };
  const model = await addToCache(root, key, timings.lockStaleMs, async (directory) => {
    report({ stage: 'compiling' });
    log.info({ model: name, precision, directory: root }, 'compiling the model, which is done once');
    const job = {
      name,
      sha256,
      precision,
      directory,
      ...(path === undefined ? {} : { checkpointPath: path }),
    };
    const onPercent = (percent: number) => report({ stage: 'compiling', percent });
    await compileInChild(job, context.compileChildPath, onPercent, signal);
  });
  const seconds = Math.round((performance.now() - startedMs) / 100) / 10;
  log.info({ model: name, precision: model.precision, seconds }, 'compiled the model');
  tellComparison(model, precision, log);
  return { ...model, name };
}

/** The figures behind the choice of the precision. */
function tellComparison({ precisionReport }: CompiledModel, setting: PrecisionSetting, log: Log): void {
  if (!precisionReport) return;
  const { accepted, reasons, ...figures } = precisionReport;
  if (accepted) log.info(figures, 'int8 answers as fp32 does, and is used');
  else if (setting === 'auto')
    log.warn({ ...figures, reasons }, 'fp32 is used: int8 would answer differently');
  else log.warn({ ...figures, reasons }, 'int8 is used as asked for, but answers differently from fp32');
}

function isStorageFault(error: unknown): error is ModelStoreError {
  return (
    error instanceof ModelStoreError && (error.fault === 'storage_full' || error.fault === 'storage_failed')
  );
}
