import { join, resolve } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import type { ManifestModel } from '../../../models/manifest.ts';
import { CheckpointError } from '../checkpoint/checkpoint-file.ts';
import { openCheckpoint } from '../checkpoint/open-checkpoint.ts';
import { download, type SourceFailure } from './download.ts';
import { type ExclusiveLock, tryLock } from './obtain-compiled.ts';
import { type LoadingProgress, ProgressDisplay, type ReportProgress } from './progress-display.ts';
import {
  type DownloadSource,
  displayUrl,
  downloadSources,
  findCheckpoint,
  firstWritable,
  proveWritable,
  searchOrder,
  sourceForPeople,
} from './search.ts';
import { ModelStoreError, storing } from './storage-error.ts';
import type { StoreContext } from './store-context.ts';

/**
 * The checkpoint file of a model of the manifest: a found one, or else a downloaded one. A found file
 * is never downloaded over, whatever its content.
 * @throws ModelStoreError download_failed, storage_full, storage_failed
 */
export async function obtainCheckpoint(
  model: ManifestModel,
  context: StoreContext,
  report: ReportProgress,
  signal: AbortSignal,
): Promise<string> {
  const { log, timings } = context;
  const directories = searchOrder(context.model.cacheDirectory, context.usualDirectories);
  const find = () => findCheckpoint(directories, model.fileNames);
  const found = await find();
  if (found !== undefined) return found;

  const sources = downloadSources(model, context.model.url);
  const directory = await targetDirectory(model, sources, context);
  let waited = false;
  for (;;) {
    await using lock = await storing(directory, () =>
      tryLock(join(directory, '.download'), timings.lockStaleMs),
    );
    // Whoever held the lock before may have brought the file.
    const meanwhile = await find();
    if (meanwhile !== undefined) return meanwhile;
    if (lock !== undefined) {
      const path = await downloadLocked(model, sources, directory, lock, context, report, signal);
      if (path !== undefined) return path;
      log.warn({ directory }, 'another process has taken over the download');
    } else {
      if (!waited) log.info({ directory }, 'another process downloads the model; waiting for it');
      waited = true;
      report({ stage: 'downloading' });
      await pause(timings.pollMs, undefined, { signal });
    }
  }
}

async function targetDirectory(
  model: ManifestModel,
  sources: readonly DownloadSource[],
  context: StoreContext,
): Promise<string> {
  const { cacheDirectory } = context.model;
  if (cacheDirectory !== undefined) {
    await proveWritable(resolve(cacheDirectory));
    return resolve(cacheDirectory);
  }
  try {
    return await firstWritable(context.usualDirectories);
  } catch (error) {
    const { url, fileName } = sourceForPeople(sources, model);
    const places = context.usualDirectories.join(', ');
    throw new ModelStoreError(
      'storage_failed',
      `None of the folders ${places} can be written, so ${model.name} cannot be downloaded. Set CLIP_CACHE to a folder that can be, or put ${displayUrl(url)} into one of them as ${fileName}.`,
      { cause: error },
    );
  }
}

/** @returns the finished file; undefined where the lock was lost on the way */
async function downloadLocked(
  model: ManifestModel,
  sources: readonly DownloadSource[],
  directory: string,
  lock: ExclusiveLock,
  context: StoreContext,
  report: ReportProgress,
  signal: AbortSignal,
): Promise<string | undefined> {
  const { log, timings } = context;
  const display = new ProgressDisplay(log, context.terminal ?? undefined, timings);
  const reportAndShow = (progress: LoadingProgress) => {
    report(progress);
    if (progress.stage === 'downloading') display.show(progress);
    else display.end();
  };
  try {
    const outcome = await download(
      sources,
      { directory, log, timings, report: reportAndShow, inspect },
      AbortSignal.any([signal, lock.lost]),
    );
    if ('path' in outcome) {
      log.info({ ...outcome }, 'downloaded the model');
      return outcome.path;
    }
    const [failure] = outcome;
    throw context.model.url === undefined || failure === undefined
      ? notToBeHad(model, sources, directory)
      : ownUrlFails(model, failure, join(directory, sources[0]?.fileName ?? ''));
  } catch (error) {
    if (lock.lost.aborted && !signal.aborted) return undefined;
    throw error;
  } finally {
    display.end();
  }
}

async function inspect(path: string): Promise<void> {
  try {
    using _checkpoint = await openCheckpoint(path);
  } catch (error) {
    // The outer sentence names the unfinished file, which is nobody's business.
    throw error instanceof CheckpointError && error.cause instanceof CheckpointError ? error.cause : error;
  }
}

function notToBeHad(
  model: ManifestModel,
  sources: readonly DownloadSource[],
  directory: string,
): ModelStoreError {
  const { url, fileName } = sourceForPeople(sources, model);
  return new ModelStoreError(
    'download_failed',
    `${model.name} was not found and cannot be downloaded from here. Download ${displayUrl(url)} elsewhere and put it here as ${join(directory, fileName)}: a service that waits for it picks it up by itself. To try the API without it, set CLIP_MODEL=demo.`,
  );
}

/** The file is not to be had from that address elsewhere either. */
function ownUrlFails(model: ManifestModel, { url, reason }: SourceFailure, path: string): ModelStoreError {
  return new ModelStoreError(
    'download_failed',
    `${model.name} cannot be downloaded from CLIP_MODEL_URL, which is ${url}: ${reason.replace(/\.$/, '')}. Correct the address, or unset it to download from the known ones, or put the checkpoint here as ${path}: a service that waits for it picks it up by itself. To try the API without it, set CLIP_MODEL=demo.`,
  );
}
