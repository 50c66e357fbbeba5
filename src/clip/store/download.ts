import { createHash } from 'node:crypto';
import { constants } from 'node:fs';
import { type FileHandle, lstat, open, readdir, rename, rm } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import type { ManifestModel } from '../../../models/manifest.ts';
import { errnoOf } from '../../errors.ts';
import { CheckpointError } from '../checkpoint/checkpoint.ts';
import { openCheckpoint } from '../checkpoint/open-checkpoint.ts';
import { fileSha256 } from './checksum.ts';
import { tryLock } from './obtain-compiled.ts';
import { ProgressDisplay, percentOf, type ReportProgress } from './progress-display.ts';
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
import { freeBytes, ModelStoreError, megabytes, messageOf, storageFull, storing } from './storage-error.ts';
import type { StoreWork } from './store-context.ts';

/**
 * The checkpoint file of a model of the manifest: a file that is there already, with any content, or a
 * downloaded one.
 * @throws ModelStoreError download_failed, storage_full, storage_failed
 */
export async function obtainCheckpoint(model: ManifestModel, work: StoreWork): Promise<string> {
  const { log, timings, report, signal } = work;
  const directories = searchOrder(work.model.cacheDirectory, work.usualDirectories);
  const find = () => findCheckpoint(directories, model.fileNames);
  const found = await find();
  if (found !== undefined) return found;

  const sources = downloadSources(model, work.model.url);
  const directory = await targetDirectory(model, sources, work);
  for (let waited = false; ; waited = true) {
    await using lock = await storing(directory, () =>
      tryLock(join(directory, '.download'), timings.lockStaleMs),
    );
    // The process that held the lock may have finished the file.
    const meanwhile = await find();
    if (meanwhile !== undefined) return meanwhile;
    if (lock === undefined) {
      if (!waited) log.info({ directory }, 'another process downloads the model; waiting for it');
      report({ stage: 'downloading' });
      await pause(timings.pollMs, undefined, { signal });
      continue;
    }
    try {
      const lockedWork = { ...work, signal: AbortSignal.any([signal, lock.lost]) };
      return await downloadForModel(model, sources, directory, lockedWork);
    } catch (error) {
      if (!lock.lost.aborted || signal.aborted) throw error;
      log.warn({ directory }, 'another process has taken over the download');
    }
  }
}

async function targetDirectory(
  model: ManifestModel,
  sources: readonly DownloadSource[],
  { model: { cacheDirectory }, usualDirectories }: StoreWork,
): Promise<string> {
  if (cacheDirectory !== undefined) {
    await proveWritable(resolve(cacheDirectory));
    return resolve(cacheDirectory);
  }
  try {
    return await firstWritable(usualDirectories);
  } catch (error) {
    const { url, fileName } = sourceForPeople(sources, model);
    throw new ModelStoreError(
      'storage_failed',
      `${model.name} cannot be downloaded: none of the folders ${usualDirectories.join(', ')} can be written. Set CLIP_CACHE to a folder that can be written, or put ${displayUrl(url)} into one of them as ${fileName}.`,
      { cause: error },
    );
  }
}

async function downloadForModel(
  model: ManifestModel,
  sources: readonly DownloadSource[],
  directory: string,
  work: StoreWork,
): Promise<string> {
  const display = new ProgressDisplay(work.log, work.terminal ?? undefined, work.timings);
  const report: ReportProgress = (progress) => {
    work.report(progress);
    if (progress.stage === 'downloading') display.show(progress);
    else display.end();
  };
  try {
    const outcome = await download(sources, { ...work, directory, report, inspect });
    if (!('path' in outcome)) throw noneDelivers(model, sources, outcome, { ...work, directory });
    work.log.info({ ...outcome }, 'downloaded the model');
    return outcome.path;
  } finally {
    display.end();
  }
}

async function inspect(path: string): Promise<void> {
  try {
    using _checkpoint = await openCheckpoint(path);
  } catch (error) {
    // The outer sentence names the unfinished file, which an operator does not know.
    throw error instanceof CheckpointError && error.cause instanceof CheckpointError ? error.cause : error;
  }
}

function noneDelivers(
  model: ManifestModel,
  sources: readonly DownloadSource[],
  [failure]: readonly SourceFailure[],
  work: StoreWork & { readonly directory: string },
): ModelStoreError {
  const ownUrl = work.model.url !== undefined && failure !== undefined;
  const { url, fileName } = sourceForPeople(sources, model);
  const problem = ownUrl
    ? `${model.name} cannot be downloaded from CLIP_MODEL_URL, which is ${failure.url}: ${failure.reason.replace(/\.$/, '')}. Correct the address, or unset it to download from the known ones, or put the checkpoint here`
    : `${model.name} was not found and cannot be downloaded from here. Download ${displayUrl(url)} elsewhere and put it here`;
  return new ModelStoreError(
    'download_failed',
    `${problem} as ${join(work.directory, fileName)}: a waiting service then loads it without a restart. To try the API without it, set CLIP_MODEL=demo.`,
  );
}

interface DownloadWork extends Pick<StoreWork, 'log' | 'timings' | 'report' | 'signal'> {
  /** Folder for the file; it exists and can be written. No other process downloads into it. */
  readonly directory: string;
  /** Throws if a finished file of unknown sum is not a checkpoint. */
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
 * Downloads from the first source that delivers.
 * @returns the file under its final name, its sum checked; or why each source failed
 * @throws ModelStoreError storage_full, storage_failed
 */
export async function download(
  sources: readonly DownloadSource[],
  work: DownloadWork,
): Promise<DownloadedFile | readonly SourceFailure[]> {
  const { directory, log, report, signal } = work;
  const failures: SourceFailure[] = [];
  const silentHosts = new Set<string>();
  for (const source of sources) {
    const url = displayUrl(source.url);
    const { host } = new URL(source.url);
    try {
      // Behind a firewall that drops packets, each further file of a host would cost its full time limit.
      if (silentHosts.has(host)) throw new TransferError('its host has just not answered');
      log.info({ url, directory }, 'downloading the model');
      report({ stage: 'downloading' });
      const file = await downloadFrom(source, work);
      await discardParts(directory, new Set(sources.map(({ fileName }) => fileName)));
      return file;
    } catch (error) {
      signal.throwIfAborted();
      if (!(error instanceof TransferError)) throw error;
      log.warn({ url, reason: error.message }, 'the model cannot be downloaded from this source');
      failures.push({ url, reason: error.message });
      if (error.silent) silentHosts.add(host);
    }
  }
  return failures;
}

/** A source did not deliver. The message says why, for the log. */
export class TransferError extends Error {
  override readonly name = 'TransferError';
  /** Whether another request to the same source may help. */
  readonly transient: boolean;
  /** Whether the bytes that are there must not be continued. */
  readonly spoilt: boolean;
  /** Whether the host did not answer at all. */
  readonly silent: boolean;

  constructor(
    reason: string,
    {
      transient = false,
      spoilt = false,
      silent = false,
      ...options
    }: ErrorOptions & { transient?: boolean; spoilt?: boolean; silent?: boolean } = {},
  ) {
    super(reason, options);
    this.transient = transient;
    this.spoilt = spoilt;
    this.silent = silent;
  }
}

/** A part that has grown by this much has made progress. A source that drips ends some time. */
const PROGRESS_BYTES = 2 ** 20;

/** Asks one source again after a pause, as long as the part makes progress between failures. */
async function downloadFrom(source: DownloadSource, work: DownloadWork): Promise<DownloadedFile> {
  const { directory, log, timings, signal } = work;
  const part = new PartFile(directory, source);
  let furthestBytes = await part.bytes();
  for (let failures = 0; ; ) {
    try {
      const resumed = await transfer(source, part, work);
      const sha256 = await verify(source, part.path, resumed, work);
      const path = join(directory, source.fileName);
      await part.finish(path);
      return { path, sha256 };
    } catch (error) {
      if (!(error instanceof TransferError)) throw error;
      if (error.spoilt) await part.discard();
      if (!error.transient) throw error;
      const bytes = await part.bytes();
      if (bytes >= furthestBytes + PROGRESS_BYTES) {
        furthestBytes = bytes;
        failures = 0;
      }
      failures += 1;
      if (failures >= timings.attempts) throw error;
      const pauseMs = Math.min(timings.backOffMs * 2 ** (failures - 1), timings.backOffLimitMs);
      const retry = { url: displayUrl(source.url), reason: error.message, bytes, pauseMs };
      log.warn(retry, 'the download was interrupted and continues after a pause');
      await pause(pauseMs, undefined, { signal });
    }
  }
}

/** Checks a part of full length. If it was put together from several answers, the source gets another chance. */
async function verify(
  source: DownloadSource,
  path: string,
  resumed: boolean,
  { inspect, report, signal }: DownloadWork,
): Promise<string> {
  const sha256 = await fileSha256(path, report, signal);
  const spoilt = { transient: resumed, spoilt: true };
  if (source.sha256 === undefined) {
    await inspect(path).catch((cause) => {
      throw new TransferError(`what it sends cannot be used: ${messageOf(cause)}`, { ...spoilt, cause });
    });
  } else if (source.sha256 !== sha256) {
    throw new TransferError(`what it sends has the sha256 ${sha256} instead of ${source.sha256}`, spoilt);
  }
  return sha256;
}

/** By the part's path and the address. They outlive a failed attempt to prepare the model. */
const validators = new Map<string, string | undefined>();

/**
 * The unfinished file of a download: `<file>.<identity>.part`. The identity is the file's sum if that is known, so
 * that one mirror continues what another began.
 */
export class PartFile {
  readonly path: string;
  readonly #directory: string;
  readonly #source: DownloadSource;
  readonly #origin: string;

  constructor(directory: string, source: DownloadSource) {
    const identity = source.sha256 ?? createHash('sha256').update(source.url).digest('hex');
    this.path = join(directory, `${source.fileName}.${identity.slice(0, 12)}.part`);
    this.#directory = directory;
    this.#source = source;
    this.#origin = `${this.path} ${source.url}`;
  }

  /** Strong ETag or Last-Modified of the address's answer; undefined for bytes of another address or process. */
  get validator(): string | undefined {
    return validators.get(this.#origin);
  }

  set validator(validator: string | undefined) {
    validators.set(this.#origin, validator);
  }

  /** Bytes that are there; 0 if there is no part, or a link of its name. */
  async bytes(): Promise<number> {
    const present = await lstat(this.path).catch(() => undefined);
    return present?.isFile() ? present.size : 0;
  }

  /** Bytes that a request may continue. A part that cannot be continued is deleted. */
  async resumableBytes(): Promise<number> {
    const present = await this.bytes();
    const { bytes = Number.POSITIVE_INFINITY, sha256 } = this.#source;
    // Only a sum or a validator can show that all bytes are of one file.
    if (present <= bytes && (sha256 ?? this.validator) !== undefined) return present;
    await this.discard();
    return 0;
  }

  /**
   * Opens the part to append to it, or a new one. Links are not followed: other users may write to the folder, and
   * the part's name can be guessed.
   * @throws ModelStoreError storage_full, storage_failed
   */
  async open(offset: number): Promise<FileHandle> {
    return await storing(this.#directory, async () => {
      // Windows has no O_NOFOLLOW.
      const flags = constants.O_WRONLY | constants.O_APPEND | (constants.O_NOFOLLOW ?? 0);
      if (offset > 0) return await open(this.path, flags);
      await rm(this.path, { force: true });
      return await open(this.path, 'wx');
    });
  }

  async discard(): Promise<void> {
    await storing(this.#directory, () => rm(this.path, { force: true }));
  }

  /** Gives the finished file its name. */
  async finish(target: string): Promise<void> {
    await storing(this.#directory, () => rename(this.path, target));
  }
}

/** Removes what interrupted downloads left; `.part.json` files are those of earlier versions. */
async function discardParts(directory: string, fileNames: ReadonlySet<string>): Promise<void> {
  for (const entry of await readdir(directory)) {
    const [, name] = /^(.+)\.[0-9a-f]{12}\.part(?:\.json)?$/.exec(entry) ?? [];
    if (name !== undefined && fileNames.has(name)) await rm(join(directory, entry), { force: true });
  }
}

/**
 * Brings a part to its full length with one GET. `fetch` follows redirects and uses the proxies of `http_proxy`,
 * `https_proxy` and `no_proxy`.
 * @returns whether bytes of an earlier answer are among them
 * @throws TransferError
 * @throws ModelStoreError storage_full, storage_failed
 */
async function transfer(source: DownloadSource, part: PartFile, work: DownloadWork): Promise<boolean> {
  const present = await part.resumableBytes();
  if (present === source.bytes) return true;

  // Lengths and ranges count the file's own bytes, not compressed ones.
  const headers = new Headers({ 'Accept-Encoding': 'identity' });
  const validator = present > 0 ? part.validator : undefined;
  if (present > 0) headers.set('Range', `bytes=${present}-`);
  if (validator !== undefined) headers.set('If-Range', validator);

  const connection = new AbortController();
  const signal = AbortSignal.any([work.signal, connection.signal]);
  try {
    const { responseTimeoutMs } = work.timings;
    const late = new TransferError(`it does not answer within ${responseTimeoutMs / 1000} s`, {
      silent: true,
    });
    const answer = fetch(source.url, { headers, signal }).catch(throwUnreachable);
    const response = await waitFor(answer, responseTimeoutMs, late, work.signal);
    const delivery = judgeAnswer(response, source, present, validator);
    part.validator = delivery.validator;
    await receive(response, delivery, part, work);
    return delivery.offset > 0;
  } finally {
    // Closes the connection of an answer that was not read to its end.
    connection.abort();
  }
}

/** What the head of an answer says about its body. */
interface Delivery {
  /** Place of the first byte in the file; 0 if everything is sent. */
  readonly offset: number;
  /** Length of the whole file. */
  readonly bytesTotal: number | undefined;
  readonly validator: string | undefined;
}

/**
 * @param present bytes that the request has asked to continue; 0 for a plain request
 * @param asked the validator sent with If-Range
 * @throws TransferError
 */
export function judgeAnswer(
  { status, headers }: Pick<Response, 'status' | 'headers'>,
  source: DownloadSource,
  present: number,
  asked: string | undefined,
): Delivery {
  const anew = { transient: true, spoilt: true };
  if (status === 416 && present > 0) throw new TransferError('it cannot continue what was begun', anew);
  if (status !== 200 && status !== 206) {
    const transient = status >= 500 || status === 408 || status === 425 || status === 429;
    throw new TransferError(`it answers ${status}`, { transient });
  }
  if (/^text\/html\b/i.test(headers.get('content-type') ?? '')) {
    // A network's login page, or a host's page about the file.
    throw new TransferError('it sends a web page instead of the file');
  }
  const validator = validatorOf(headers);
  const range = status === 206 ? contentRange(headers) : undefined;
  if (status === 206) {
    if (range?.start !== present) throw new TransferError('it sends another range than asked for', anew);
    if (asked !== undefined && validator !== undefined && asked !== validator) {
      throw new TransferError('its file has changed since the download began', anew);
    }
  }
  const bytesTotal = range === undefined ? contentLength(headers) : range.total;
  if (source.bytes !== undefined && bytesTotal !== undefined && bytesTotal !== source.bytes) {
    throw new TransferError(
      `it offers ${bytesTotal.toLocaleString('en')} bytes where ${source.bytes.toLocaleString('en')} are expected`,
    );
  }
  // A server that ignores Range, or whose file has changed, answers 200 with everything from the start.
  const offset = range === undefined ? 0 : present;
  return { offset, bytesTotal: source.bytes ?? bytesTotal, validator };
}

function contentRange(headers: Headers): { start: number; total: number | undefined } | undefined {
  const found = /^bytes (\d+)-\d+\/(\d+|\*)$/.exec(headers.get('content-range') ?? '');
  if (found === null) return undefined;
  return { start: Number(found[1]), total: found[2] === '*' ? undefined : Number(found[2]) };
}

function contentLength(headers: Headers): number | undefined {
  const encoded = (headers.get('content-encoding') ?? 'identity') !== 'identity';
  const length = headers.get('content-length');
  return encoded || length === null ? undefined : Number(length);
}

function validatorOf(headers: Headers): string | undefined {
  const etag = headers.get('etag');
  // If-Range accepts only strong validators.
  return etag?.startsWith('"') ? etag : (headers.get('last-modified') ?? undefined);
}

/** Writes the body of an answer into the part. Only waiting for the source is limited, not waiting for the disk. */
async function receive(
  response: Response,
  { offset, bytesTotal }: Delivery,
  part: PartFile,
  { directory, report, signal, timings: { stallTimeoutMs } }: DownloadWork,
): Promise<void> {
  const free = await freeBytes(directory);
  if (free !== undefined && bytesTotal !== undefined && free < bytesTotal - offset) {
    throw storageFull(directory, bytesTotal - offset);
  }
  await using file = await part.open(offset);
  const reader = response.body?.getReader();
  const stalled = new TransferError(`it sends nothing for ${stallTimeoutMs / 1000} s`, { transient: true });
  const reportBytes = createByteReport(report);
  let bytesDone = offset;
  reportBytes(bytesDone, bytesTotal);
  while (reader !== undefined) {
    const chunk = reader.read().catch(throwBroken);
    const { done, value } = await waitFor(chunk, stallTimeoutMs, stalled, signal);
    if (done) break;
    if (bytesTotal !== undefined && bytesDone + value.length > bytesTotal) {
      const expected = bytesTotal.toLocaleString('en');
      throw new TransferError(`it sends more than the expected ${expected} bytes`, { spoilt: true });
    }
    await storing(directory, () => file.appendFile(value));
    bytesDone += value.length;
    reportBytes(bytesDone, bytesTotal);
  }
  await storing(directory, () => file.sync());
  if (bytesTotal !== undefined && bytesDone < bytesTotal) {
    const reason = `it ends after ${megabytes(bytesDone)} of ${megabytes(bytesTotal)}`;
    throw new TransferError(reason, { transient: true });
  }
}

/** @throws `late` after `limitMs`; the signal's reason if it is aborted */
async function waitFor<T>(
  awaited: Promise<T>,
  limitMs: number,
  late: TransferError,
  signal: AbortSignal,
): Promise<T> {
  const { promise: limit, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(reject, limitMs, late);
  try {
    return await Promise.race([awaited, limit]);
  } catch (error) {
    signal.throwIfAborted();
    throw error;
  } finally {
    clearTimeout(timer);
  }
}

function throwUnreachable(cause: unknown): never {
  const errno = errnoOf(cause);
  const transient = errno === 'ECONNRESET' || errno === 'EPIPE';
  const reason = `it cannot be reached (${errno ?? messageOf(cause)})`;
  throw new TransferError(reason, { transient, silent: true, cause });
}

function throwBroken(cause: unknown): never {
  const reason = `the connection broke (${errnoOf(cause) ?? messageOf(cause)})`;
  throw new TransferError(reason, { transient: true, cause });
}

/** Long enough to smooth out bursts, short enough to notice a change of network. */
const WINDOW_MS = 10_000;
const SAMPLE_EVERY_MS = 250;

/** Estimates how long a transfer still takes, from its pace over the last ten seconds. */
export class TransferRate {
  #samples: { readonly atMs: number; readonly bytes: number }[] = [];

  /**
   * @param atMs any steady clock, in milliseconds
   * @param bytes received so far; fewer than before means that the transfer began anew
   */
  add(atMs: number, bytes: number): void {
    const last = this.#samples.at(-1);
    if (last !== undefined && bytes < last.bytes) this.#samples = [];
    else if (last !== undefined && atMs - last.atMs < SAMPLE_EVERY_MS) return;
    this.#samples.push({ atMs, bytes });
    while (this.#samples.length > 2 && atMs - this.#samples[0]!.atMs > WINDOW_MS) this.#samples.shift();
  }

  /** Whole seconds until `bytesTotal` is reached; undefined until a pace is known. */
  secondsLeft(bytesTotal: number): number | undefined {
    const first = this.#samples[0];
    const last = this.#samples.at(-1);
    if (first === undefined || last === undefined || last.bytes <= first.bytes) return undefined;
    const bytesPerMs = (last.bytes - first.bytes) / (last.atMs - first.atMs);
    return Math.ceil(Math.max(0, bytesTotal - last.bytes) / bytesPerMs / 1000);
  }
}

function createByteReport(
  report: ReportProgress,
): (bytesDone: number, bytesTotal: number | undefined) => void {
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
