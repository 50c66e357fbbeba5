import { lstat, mkdir, mkdtemp, readdir, rename, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import lockfile from 'proper-lockfile';
import { errnoOf } from '../../errors.ts';
import type { Log } from '../../log.ts';
import type { PrecisionSetting } from '../../precision.ts';
import type { ClipArchitecture } from '../architecture.ts';
import { BUILDER_VERSION, type CompiledModel, readCompiledModel } from '../graph/compiled-model.ts';
import { compileInChild } from './compile-process.ts';
import { firstWritable } from './search.ts';
import { ModelStoreError, messageOf, storageFailure, storing } from './storage-error.ts';
import type { StoreContext, StoreWork } from './store-context.ts';

/** Exclusive among all processes, including those of other containers on the same volume. */
interface ExclusiveLock extends AsyncDisposable {
  /** Aborted if the lock is lost: this process was suspended for too long. */
  readonly lost: AbortSignal;
}

/**
 * Takes `<path>.lock`, a folder whose time its holder renews. A process id would not identify the holder: in
 * containers every service is process 1.
 * @returns undefined if another process holds it
 */
export async function tryLock(path: string, staleMs: number): Promise<ExclusiveLock | undefined> {
  const lost = new AbortController();
  try {
    const release = await lockfile.lock(path, {
      realpath: false,
      stale: staleMs,
      onCompromised: (error) => lost.abort(error),
    });
    return {
      lost: lost.signal,
      async [Symbol.asyncDispose]() {
        // Another process may hold a lost lock by now.
        await release().catch(() => undefined);
      },
    };
  } catch (error) {
    if (errnoOf(error) === 'ELOCKED') return undefined;
    throw error;
  }
}

/** Whether a living process holds `<path>.lock`. */
export async function isLocked(path: string, staleMs: number): Promise<boolean> {
  return await lockfile.check(path, { realpath: false, stale: staleMs });
}

/** Which compiled model is meant. */
export interface CompiledModelKey {
  /** sha256 of the checkpoint, hex. */
  readonly sha256: string;
  /** The setting: a model that `auto` has chosen is found under `auto` again. */
  readonly precision: PrecisionSetting;
  /** The weights do not decide all of it: a `config.json` beside them counts, too. */
  readonly architecture: ClipArchitecture;
}

/** A compiled model's folder: `<sha256, 16 digits>-<precision>-v<version of the graph builder>`. */
export function folderName({ sha256, precision }: Pick<CompiledModelKey, 'sha256' | 'precision'>): string {
  return `${sha256.slice(0, 16)}-${precision}-v${BUILDER_VERSION}`;
}

/**
 * The compiled model of a cache folder.
 * @returns the model, `absent`, or the reason why the folder cannot be used
 */
export async function readCached(
  root: string,
  key: CompiledModelKey,
): Promise<CompiledModel | 'absent' | { readonly damage: string }> {
  const directory = join(root, folderName(key));
  if ((await stat(directory).catch(() => undefined)) === undefined) return 'absent';
  try {
    const model = await readCompiledModel(directory);
    const same =
      model.sha256 === key.sha256 &&
      suits(model, key.precision) &&
      Bun.deepEquals(model.architecture, key.architecture);
    return same ? model : { damage: 'it was compiled from something else' };
  } catch (error) {
    return { damage: messageOf(error) };
  }
}

function suits({ precision, precisionReport }: CompiledModel, setting: PrecisionSetting): boolean {
  return setting === 'auto' ? precisionReport !== undefined : precision === setting;
}

/**
 * Has a model compiled into a temporary folder, which gets its final name when it is complete. If another process
 * was faster, its model is used.
 * @throws ModelStoreError storage_full, storage_failed, compile_failed; what `compile` throws
 */
export async function addToCache(
  root: string,
  key: CompiledModelKey,
  lockStaleMs: number,
  compile: (directory: string) => Promise<void>,
): Promise<CompiledModel> {
  const temporary = join(root, `${folderName(key)}.${crypto.randomUUID()}.tmp`);
  await using _lock = await storing(root, async () => {
    await mkdir(root, { recursive: true });
    // Locked before it exists, so that no other process sees the folder without its lock.
    const lock = await tryLock(temporary, lockStaleMs);
    await mkdir(temporary);
    return lock;
  });
  try {
    await compile(temporary);
    await storing(root, async () => {
      await publish(root, key, temporary);
      await removeOtherVersions(root, key);
    });
  } finally {
    await rm(temporary, { recursive: true, force: true });
  }
  const model = await readCached(root, key);
  if (model !== 'absent' && !('damage' in model)) return model;
  // A service of another version on the same volume may have replaced it just now.
  throw new ModelStoreError(
    'compile_failed',
    `The model just compiled into ${root} cannot be read: ${model === 'absent' ? 'it is gone' : model.damage}`,
  );
}

/** Renames a complete folder to its final name, past a damaged one but never over a sound one. */
async function publish(root: string, key: CompiledModelKey, temporary: string): Promise<void> {
  const target = join(root, folderName(key));
  const takenErrnos = ['ENOTEMPTY', 'EEXIST', 'ENOTDIR'];
  for (;;) {
    try {
      await rename(temporary, target);
      return;
    } catch (error) {
      if (!takenErrnos.includes(errnoOf(error) ?? '')) throw error;
    }
    const winner = await readCached(root, key);
    if (winner !== 'absent' && !('damage' in winner)) return;
    await moveAway(root, key);
  }
}

/** Removes a damaged model in two steps: a folder must lose its name before its files are deleted. */
async function moveAway(root: string, key: CompiledModelKey): Promise<void> {
  const away = join(root, `${folderName(key)}.${crypto.randomUUID()}.tmp`);
  try {
    await rename(join(root, folderName(key)), away);
  } catch (error) {
    // Another process has just done the same.
    if (errnoOf(error) === 'ENOENT') return;
    throw error;
  }
  await rm(away, { recursive: true, force: true });
}

const temporaryPattern = /^([0-9a-f]{16}-[a-z0-9]+-v\d+\.[0-9a-f-]{36}\.tmp)(\.lock)?$/;

/**
 * Removes what crashed processes left. A living process has locked its folder. Called at every start: right after a
 * crash, the lock still looks like that of a living process.
 */
export async function sweepTemporaries(root: string, lockStaleMs: number): Promise<void> {
  for (const entry of await readdir(root)) {
    const name = temporaryPattern.exec(entry)?.[1];
    if (name === undefined || (await isLocked(join(root, name), lockStaleMs))) continue;
    await rm(join(root, entry), { recursive: true, force: true });
  }
}

const folderPattern = /^([0-9a-f]{16})-[a-z0-9]+-v(\d+)$/;

/** Removes what other versions of the graph builder made of the same checkpoint, in any precision. */
async function removeOtherVersions(root: string, { sha256 }: CompiledModelKey): Promise<void> {
  for (const entry of await readdir(root)) {
    const [, checkpoint, version] = folderPattern.exec(entry) ?? [];
    if (checkpoint !== sha256.slice(0, 16) || version === String(BUILDER_VERSION)) continue;
    await rm(join(root, entry), { recursive: true, force: true });
  }
}

/**
 * A folder for compiled models if no cache folder can be written. It keeps its name between starts, so that a model
 * is compiled once. Every user can make folders in the system's temporary one: it is used only if it is ours and
 * no other user can write to it.
 */
export async function temporaryRoot(parent = tmpdir()): Promise<string> {
  const userId = process.getuid?.() ?? 0;
  const path = join(parent, `classify-images-${userId}`);
  await mkdir(path, { mode: 0o700 }).catch((error) => {
    if (errnoOf(error) !== 'EEXIST') throw storageFailure(parent, error);
  });
  const found = await lstat(path);
  const ours = found.isDirectory() && found.uid === userId && (found.mode & 0o022) === 0;
  return ours ? path : await mkdtemp(`${path}-`);
}

/** What to compile. */
interface WantedModel extends CompiledModelKey {
  /** Absent: the demo model, which is constructed. */
  readonly path?: string;
  readonly name: string;
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
 * The compiled model of a checkpoint: from one of the cache folders, or compiled now into the first of them that can
 * be written.
 * @throws ModelStoreError checkpoint_unsound, compile_failed, storage_full, storage_failed
 */
export async function obtainCompiled(
  wanted: WantedModel,
  roots: readonly string[],
  work: StoreWork,
): Promise<CompiledModel> {
  const { log, timings } = work;
  for (const root of roots) {
    // A folder that does not exist, or cannot be written, has nothing to remove.
    await sweepTemporaries(root, timings.lockStaleMs).catch(() => undefined);
    const cached = await lookUp(root, wanted, log);
    if (cached !== undefined) return cached;
  }
  for (const root of roots) {
    try {
      return await compileInto(root, wanted, work);
    } catch (error) {
      if (!isStorageFault(error)) throw error;
      log.warn(
        { directory: root, reason: error.message },
        'the compiled model cannot be kept in its cache folder',
      );
    }
  }
  const root = await temporaryRoot(work.temporaryParent);
  await sweepTemporaries(root, timings.lockStaleMs);
  log.warn(
    { directory: root },
    'a temporary folder holds the compiled model; it may have to be compiled again',
  );
  return (await lookUp(root, wanted, log)) ?? (await compileInto(root, wanted, work));
}

async function lookUp(root: string, wanted: WantedModel, log: Log): Promise<CompiledModel | undefined> {
  const cached = await readCached(root, wanted);
  if (cached === 'absent') return undefined;
  if ('damage' in cached) {
    const { damage: reason } = cached;
    log.warn({ directory: root, reason }, 'the compiled model cannot be used and is compiled anew');
    return undefined;
  }
  tellComparison(cached, wanted.precision, log);
  // The file may have had another name when it was compiled.
  return { ...cached, name: wanted.name };
}

const LOG_STEP_PERCENT = 20;

async function compileInto(root: string, wanted: WantedModel, work: StoreWork): Promise<CompiledModel> {
  const { log, report, signal, timings } = work;
  const { path, name, sha256, precision } = wanted;
  const startedMs = performance.now();
  const model = await addToCache(root, wanted, timings.lockStaleMs, async (directory) => {
    report({ stage: 'compiling' });
    log.info({ model: name, precision, directory: root }, 'compiling the model, which is done once');
    const checkpointPath = path === undefined ? {} : { checkpointPath: path };
    const job = { name, sha256, precision, directory, ...checkpointPath };
    let toldPercent = 0;
    const onPercent = (percent: number) => {
      report({ stage: 'compiling', percent });
      if (percent < toldPercent + LOG_STEP_PERCENT) return;
      toldPercent = percent;
      log.info({ model: name, percent, seconds: secondsSince(startedMs) }, 'compiling the model');
    };
    await compileInChild(job, work.compileChildPath, onPercent, signal);
  });
  log.info(
    { model: name, precision: model.precision, seconds: secondsSince(startedMs) },
    'compiled the model',
  );
  tellComparison(model, precision, log);
  return { ...model, name };
}

/** To a tenth. */
function secondsSince(startedMs: number): number {
  return Math.round((performance.now() - startedMs) / 100) / 10;
}

/** The figures behind the choice of the precision. */
function tellComparison({ precisionReport }: CompiledModel, setting: PrecisionSetting, log: Log): void {
  if (!precisionReport) return;
  const { accepted, reasons, ...figures } = precisionReport;
  if (accepted) log.info(figures, 'int8 is used; it answers as fp32 does');
  else if (setting === 'auto') {
    log.warn({ ...figures, reasons }, 'fp32 is used: int8 would answer differently');
  } else {
    log.warn(
      { ...figures, reasons },
      'int8 is used as CLIP_PRECISION says, but answers differently from fp32',
    );
  }
}

function isStorageFault(error: unknown): error is ModelStoreError {
  return (
    error instanceof ModelStoreError && (error.fault === 'storage_full' || error.fault === 'storage_failed')
  );
}
