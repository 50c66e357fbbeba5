import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import type { Log } from '../../log.ts';
import { fileSha256 } from './checksum.ts';
import { percentOf, type ReportProgress } from './loading-progress.ts';
import { discardParts, PartFile } from './part-file.ts';
import { type DownloadSource, displayUrl } from './sources.ts';
import { messageOf } from './storage-error.ts';
import type { StoreTimings } from './store-timings.ts';
import { transfer } from './transfer.ts';
import { TransferError } from './transfer-error.ts';
import { TransferRate } from './transfer-rate.ts';

/** Growth of a part that counts as getting further, so that a source that drips cannot go on for ever. */
const PROGRESS_BYTES = 2 ** 20;

export interface DownloadOptions {
  /** Folder the file is put into; it exists and can be written. */
  readonly directory: string;
  readonly log: Log;
  readonly timings: StoreTimings;
  readonly report: ReportProgress;
  /** Throws where a finished file whose sum nobody knows is no checkpoint. */
  readonly inspect: (path: string) => Promise<void>;
}

/** A finished download. */
export interface DownloadedFile {
  readonly path: string;
  readonly sha256: string;
}

/** Why a source gave nothing. */
export interface SourceFailure {
  readonly url: string;
  readonly reason: string;
}

/**
 * Downloads the first of the sources that delivers; each is retried as long as it gets further.
 * The caller makes sure that nobody else downloads into the folder.
 * @returns the file under its final name, its sum checked; or why each source failed
 * @throws ModelStoreError storage_full, storage_failed
 */
export async function download(
  sources: readonly DownloadSource[],
  options: DownloadOptions,
  signal: AbortSignal,
): Promise<DownloadedFile | readonly SourceFailure[]> {
  const failures: SourceFailure[] = [];
  const silentHosts = new Set<string>();
  for (const source of sources) {
    const url = displayUrl(source.url);
    const { host } = new URL(source.url);
    try {
      // Where a firewall swallows everything, each further try would cost its full patience.
      if (silentHosts.has(host)) throw new TransferError('its host was not to be reached just now', false);
      options.log.info({ url, directory: options.directory }, 'downloading the model');
      options.report({ stage: 'downloading' });
      const file = await downloadFrom(source, options, signal);
      const allNames = new Set(sources.map(({ fileName }) => fileName));
      await discardParts(options.directory, [...allNames]);
      return file;
    } catch (error) {
      signal.throwIfAborted();
      if (!(error instanceof TransferError)) throw error;
      options.log.warn({ url, reason: error.message }, 'the model cannot be downloaded from this source');
      failures.push({ url, reason: error.message });
      if (!error.answered) silentHosts.add(host);
    }
  }
  return failures;
}

async function downloadFrom(
  source: DownloadSource,
  options: DownloadOptions,
  signal: AbortSignal,
): Promise<DownloadedFile> {
  const part = new PartFile(options.directory, source);
  const onBytes = progressOf(options.report);
  let furthestBytes = await part.bytes();
  for (let failures = 0; ; ) {
    try {
      const { resumed } = await transfer(source, part, options.timings, onBytes, signal);
      const sha256 = await verify(source, part, resumed, options, signal);
      const path = join(options.directory, source.fileName);
      await part.finish(path);
      return { path, sha256 };
    } catch (error) {
      if (!(error instanceof TransferError && error.transient)) throw error;
      const bytes = await part.bytes();
      if (bytes >= furthestBytes + PROGRESS_BYTES) {
        furthestBytes = bytes;
        failures = 0;
      }
      failures += 1;
      if (failures >= options.timings.attempts) throw error;
      const { backOffMs, backOffLimitMs } = options.timings;
      const pauseMs = Math.min(backOffMs * 2 ** (failures - 1), backOffLimitMs);
      const retry = { url: displayUrl(source.url), reason: error.message, bytes, pauseMs };
      options.log.warn(retry, 'the download was interrupted and goes on after a pause');
      await pause(pauseMs, undefined, { signal });
    }
  }
}

/**
 * Checks a part of full length. A wrong one is deleted: had it been put together from several
 * attempts, the same source gets another chance from the start.
 */
async function verify(
  source: DownloadSource,
  part: PartFile,
  resumed: boolean,
  options: DownloadOptions,
  signal: AbortSignal,
): Promise<string> {
  const sha256 = await fileSha256(part.path, options.report, signal);
  if (source.sha256 === undefined) {
    try {
      await options.inspect(part.path);
    } catch (error) {
      await part.discard();
      throw new TransferError(`what it sends cannot be used: ${messageOf(error)}`, resumed, { cause: error });
    }
  } else if (source.sha256 !== sha256) {
    await part.discard();
    throw new TransferError(`what it sends has the sha256 ${sha256} instead of ${source.sha256}`, resumed);
  }
  return sha256;
}

function progressOf(report: ReportProgress): (bytesDone: number, bytesTotal: number | undefined) => void {
  const rate = new TransferRate();
  return (bytesDone, bytesTotal) => {
    rate.add(performance.now(), bytesDone);
    if (bytesTotal === undefined) {
      report({ stage: 'downloading', bytesDone });
      return;
    }
    const secondsLeft = bytesDone === bytesTotal ? 0 : rate.secondsLeft(bytesTotal);
    report({
      stage: 'downloading',
      bytesDone,
      bytesTotal,
      percent: percentOf(bytesDone, bytesTotal),
      ...(secondsLeft === undefined ? {} : { secondsLeft }),
    });
  };
}
