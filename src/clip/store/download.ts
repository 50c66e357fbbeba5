import { createHash } from 'node:crypto';
import { constants } from 'node:fs';
import { type FileHandle, lstat, open, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import * as v from 'valibot';
import { errnoOf } from '../../errors.ts';
import type { Log } from '../../log.ts';
import { fileSha256 } from './checksum.ts';
import { percentOf, type ReportProgress } from './progress-display.ts';
import { type DownloadSource, displayUrl } from './search.ts';
import { freeBytes, megabytes, messageOf, storageFull, storing } from './storage-error.ts';
import type { StoreTimings } from './store-timings.ts';

/** A source did not deliver. The message says why, for the log. */
export class TransferError extends Error {
  override readonly name = 'TransferError';
  /** Whether asking the same source again may help. */
  readonly transient: boolean;
  /** False: nobody answered, so other files of that host are as far away. */
  readonly answered: boolean;

  constructor(
    reason: string,
    transient: boolean,
    options: ErrorOptions & { readonly answered?: boolean } = {},
  ) {
    super(reason, options);
    this.transient = transient;
    this.answered = options.answered ?? true;
  }
}

/** What an answer's head says about its body. */
type Delivery =
  /** Nothing is missing. */
  | { readonly kind: 'complete' }
  /** The bytes that are there cannot be continued; they must go before the source is asked again. */
  | { readonly kind: 'restart'; readonly reason: string }
  /** Bytes for the part, from `offset` on. */
  | {
      readonly kind: 'body';
      readonly offset: number;
      readonly bytesTotal: number | undefined;
      /** Strong ETag, or Last-Modified. */
      readonly validator: string | undefined;
    };

/**
 * Decides from an answer's head what its body is.
 * @param present bytes that are there and were asked to be continued; 0 for a plain request
 * @param asked the validator sent with If-Range
 * @throws TransferError
 */
export function judgeAnswer(
  { status, headers }: Pick<Response, 'status' | 'headers'>,
  source: DownloadSource,
  present: number,
  asked: string | undefined,
): Delivery {
  if (status === 416 && present > 0) return judgeUnsatisfiable(headers, source, present);
  if (status !== 200 && status !== 206) {
    const transient = status >= 500 || status === 408 || status === 425 || status === 429;
    throw new TransferError(`it answers ${status}`, transient);
  }
  if (/^text\/html\b/i.test(headers.get('content-type') ?? '')) {
    // A network's login page, or a host's page about the file.
    throw new TransferError('it sends a web page instead of the file', false);
  }
  const validator = validatorOf(headers);
  const range = status === 206 ? contentRange(headers) : undefined;
  if (status === 206) {
    if (range?.start !== present) return restart('it sends another range than the one asked for');
    if (asked !== undefined && validator !== undefined && asked !== validator) {
      return restart('its file has changed since the download began');
    }
  }
  const bytesTotal = range === undefined ? contentLength(headers) : range.total;
  if (source.bytes !== undefined && bytesTotal !== undefined && bytesTotal !== source.bytes) {
    throw new TransferError(
      `it offers ${bytesTotal.toLocaleString('en')} bytes where ${source.bytes.toLocaleString('en')} are expected`,
      false,
    );
  }
  // A server that ignores Range, or whose file has changed, answers 200 with everything from the start.
  const offset = range === undefined ? 0 : present;
  return { kind: 'body', offset, bytesTotal: source.bytes ?? bytesTotal, validator };
}

/** 416: nothing lies behind the bytes that are there, so they are either all, or of another file. */
function judgeUnsatisfiable(headers: Headers, source: DownloadSource, present: number): Delivery {
  const total = /^bytes \*\/(\d+)$/.exec(headers.get('content-range') ?? '')?.[1];
  const complete = total !== undefined && Number(total) === present && source.bytes === undefined;
  return complete ? { kind: 'complete' } : restart('it cannot continue what was begun');
}

function restart(reason: string): Delivery {
  return { kind: 'restart', reason };
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
  // If-Range takes strong validators only.
  return etag?.startsWith('"') ? etag : (headers.get('last-modified') ?? undefined);
}

/** What is known about the bytes of a part, so that no other file's bytes are put behind them. */
const originSchema = v.object({
  /** sha256 of the address they came from: the address itself may hold a token. */
  urlSha256: v.string(),
  /** Strong ETag, or Last-Modified, as If-Range takes them. */
  validator: v.optional(v.string()),
});
type PartOrigin = v.InferOutput<typeof originSchema>;

/**
 * The unfinished file of a download: `<file>.<identity>.part`, and beside it where its bytes came from.
 * Its methods throw ModelStoreError storage_full or storage_failed where the disk refuses.
 * The identity is the file's sum where that is known, so that one mirror goes on where another stopped.
 */
export class PartFile {
  readonly path: string;
  readonly #directory: string;
  readonly #source: DownloadSource;
  readonly #originPath: string;

  constructor(directory: string, source: DownloadSource) {
    const identity = source.sha256 ?? sha256OfText(source.url);
    this.path = join(directory, `${source.fileName}.${identity.slice(0, 12)}.part`);
    this.#directory = directory;
    this.#source = source;
    this.#originPath = `${this.path}.json`;
  }

  /** Bytes that are there already; 0 where there is no part, and where a link has its name. */
  async bytes(): Promise<number> {
    const present = await lstat(this.path).catch(() => undefined);
    return present?.isFile() ? present.size : 0;
  }

  /**
   * Opens it for writing: from its beginning, as a new file, or behind what is there. Where a link leads is not
   * written to: the names can be foreseen, and the folder may be one that others write to.
   * @throws ModelStoreError
   */
  async open(offset: number): Promise<FileHandle> {
    return await storing(this.#directory, async () => {
      // Windows has no such flag.
      if (offset > 0) return await open(this.path, constants.O_RDWR | (constants.O_NOFOLLOW ?? 0));
      await rm(this.path, { force: true });
      return await open(this.path, 'wx');
    });
  }

  /**
   * How the part may be continued: with a validator, or without one where the sum will tell.
   * Undefined: it may not, and has to begin anew.
   */
  async continuation(): Promise<{ readonly validator: string | undefined } | undefined> {
    const origin = await this.#origin();
    const validator = origin?.urlSha256 === sha256OfText(this.#source.url) ? origin.validator : undefined;
    return validator !== undefined || this.#source.sha256 !== undefined ? { validator } : undefined;
  }

  async setOrigin(validator: string | undefined): Promise<void> {
    const origin: PartOrigin = {
      urlSha256: sha256OfText(this.#source.url),
      ...(validator === undefined ? {} : { validator }),
    };
    await storing(this.#directory, async () => {
      await rm(this.#originPath, { force: true });
      await writeFile(this.#originPath, JSON.stringify(origin), { flag: 'wx' });
    });
  }

  async discard(): Promise<void> {
    await storing(this.#directory, async () => {
      await rm(this.path, { force: true });
      await rm(this.#originPath, { force: true });
    });
  }

  /** Gives the finished file its name. */
  async finish(target: string): Promise<void> {
    await storing(this.#directory, async () => {
      await rename(this.path, target);
      await rm(this.#originPath, { force: true });
    });
  }

  async #origin(): Promise<PartOrigin | undefined> {
    try {
      return v.parse(originSchema, JSON.parse(await readFile(this.#originPath, 'utf8')));
    } catch {
      // Absent or damaged: then nothing is known, which `continuation` deals with.
      return undefined;
    }
  }
}

/** Removes what interrupted downloads of these files left in a folder. */
async function discardParts(directory: string, fileNames: readonly string[]): Promise<void> {
  for (const entry of await readdir(directory)) {
    const isPart = /\.[0-9a-f]{12}\.part(\.json)?$/.test(entry);
    if (isPart && fileNames.some((name) => entry.startsWith(`${name}.`))) {
      await rm(join(directory, entry), { force: true });
    }
  }
}

function sha256OfText(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}

/** Cuts a transfer whose source has gone quiet. Waiting for our own disk does not count. */
class Patience implements Disposable {
  /** Aborted when the caller gives up, or when the source has been quiet for too long. */
  readonly signal: AbortSignal;
  readonly #quiet = new AbortController();
  readonly #outer: AbortSignal;
  readonly #timings: StoreTimings;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(timings: StoreTimings, outer: AbortSignal) {
    this.#timings = timings;
    this.#outer = outer;
    this.signal = AbortSignal.any([outer, this.#quiet.signal]);
  }

  /** Waits for an answer's head. */
  async answer<T>(head: Promise<T>): Promise<T> {
    const { responseTimeoutMs } = this.#timings;
    const reason = `it does not answer within ${responseTimeoutMs / 1000} s`;
    const late = new TransferError(reason, false, { answered: false });
    return await this.#wait(head, responseTimeoutMs, late, explainUnreachable);
  }

  /** Waits for the next bytes of an answer's body. */
  async bytes<T>(read: Promise<T>): Promise<T> {
    const { stallTimeoutMs } = this.#timings;
    const reason = `it sends nothing for ${stallTimeoutMs / 1000} s`;
    return await this.#wait(read, stallTimeoutMs, new TransferError(reason, true), explainBroken);
  }

  /** Closes the connection of an answer that was not read to its end. */
  [Symbol.dispose](): void {
    clearTimeout(this.#timer);
    this.#quiet.abort();
  }

  async #wait<T>(
    awaited: Promise<T>,
    limitMs: number,
    onLimit: TransferError,
    explain: (error: unknown) => TransferError,
  ): Promise<T> {
    this.#timer = setTimeout(() => this.#quiet.abort(onLimit), limitMs);
    try {
      return await awaited;
    } catch (error) {
      if (this.#outer.aborted) throw this.#outer.reason;
      throw this.#quiet.signal.aborted ? this.#quiet.signal.reason : explain(error);
    } finally {
      clearTimeout(this.#timer);
    }
  }
}

function explainUnreachable(error: unknown): TransferError {
  const errno = errnoOf(error);
  const transient = errno === 'ECONNRESET' || errno === 'EPIPE';
  const reason = `it cannot be reached (${errno ?? messageOf(error)})`;
  return new TransferError(reason, transient, { answered: false, cause: error });
}

function explainBroken(error: unknown): TransferError {
  return new TransferError(`the connection broke (${errnoOf(error) ?? messageOf(error)})`, true, {
    cause: error,
  });
}

/** Called with the bytes that stand on disk, and all that are expected where that is known. */
type OnBytes = (bytesDone: number, bytesTotal: number | undefined) => void;

/**
 * One attempt to bring a part file to its full length with one GET, going on where it stands.
 * Proxies (`http_proxy`, `https_proxy`, `no_proxy`) and redirects are followed by `fetch` itself.
 * @returns whether bytes of an earlier attempt are among it
 * @throws TransferError the source's fault
 * @throws ModelStoreError storage_full, storage_failed: the disk's fault
 */
async function transfer(
  source: DownloadSource,
  part: PartFile,
  timings: StoreTimings,
  onBytes: OnBytes,
  signal: AbortSignal,
): Promise<{ readonly resumed: boolean }> {
  const present = await resumableBytes(source, part);
  if (source.bytes !== undefined && present === source.bytes) return { resumed: true };

  // Lengths and ranges count the file's own bytes, not those of a compression under way.
  const headers = new Headers({ 'Accept-Encoding': 'identity' });
  const validator = present > 0 ? (await part.continuation())?.validator : undefined;
  if (present > 0) headers.set('Range', `bytes=${present}-`);
  if (validator !== undefined) headers.set('If-Range', validator);

  using patience = new Patience(timings, signal);
  const response = await patience.answer(fetch(source.url, { headers, signal: patience.signal }));
  const delivery = judgeAnswer(response, source, present, validator);
  if (delivery.kind === 'complete') return { resumed: true };
  if (delivery.kind === 'restart') {
    await part.discard();
    throw new TransferError(delivery.reason, true);
  }
  await part.setOrigin(delivery.validator);
  await receive(response, delivery.offset, delivery.bytesTotal, part, patience, onBytes);
  return { resumed: delivery.offset > 0 };
}

/** The bytes that may be kept; a part that may not be continued is thrown away. */
async function resumableBytes(source: DownloadSource, part: PartFile): Promise<number> {
  const present = await part.bytes();
  if (present === 0) return 0;
  const tooLong = source.bytes !== undefined && present > source.bytes;
  if (!tooLong && (await part.continuation()) !== undefined) return present;
  await part.discard();
  return 0;
}

async function receive(
  response: Response,
  offset: number,
  bytesTotal: number | undefined,
  part: PartFile,
  patience: Patience,
  onBytes: OnBytes,
): Promise<void> {
  const directory = dirname(part.path);
  const free = await freeBytes(directory);
  if (free !== undefined && bytesTotal !== undefined && free < bytesTotal - offset) {
    throw storageFull(directory, bytesTotal - offset);
  }
  await using file = await part.open(offset);
  const reader = response.body?.getReader();
  let bytesDone = offset;
  onBytes(bytesDone, bytesTotal);
  while (reader !== undefined) {
    const { done, value } = await patience.bytes(reader.read());
    if (done) break;
    if (bytesTotal !== undefined && bytesDone + value.length > bytesTotal) {
      await part.discard();
      throw new TransferError(
        `it sends more than the expected ${bytesTotal.toLocaleString('en')} bytes`,
        false,
      );
    }
    await storing(directory, () => writeAll(file, value, bytesDone));
    bytesDone += value.length;
    onBytes(bytesDone, bytesTotal);
  }
  await storing(directory, () => file.sync());
  if (bytesTotal !== undefined && bytesDone < bytesTotal) {
    throw new TransferError(`it ends after ${megabytes(bytesDone)} of ${megabytes(bytesTotal)}`, true);
  }
}

async function writeAll(file: FileHandle, chunk: Uint8Array, position: number): Promise<void> {
  for (let written = 0; written < chunk.length; ) {
    const rest = chunk.length - written;
    written += (await file.write(chunk, written, rest, position + written)).bytesWritten;
  }
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

/** Growth of a part that counts as getting further, so that a source that drips cannot go on for ever. */
const PROGRESS_BYTES = 2 ** 20;

interface DownloadOptions {
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
