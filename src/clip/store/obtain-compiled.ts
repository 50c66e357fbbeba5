import { lstat, mkdir, mkdtemp, readdir, rename, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import lockfile from 'proper-lockfile';
import { errnoOf } from '../../errors.ts';
import type { Log } from '../../log.ts';
import type { ClipArchitecture } from '../architecture.ts';
import {
  BUILDER_VERSION,
  type CompiledModel,
  type PrecisionSetting,
  readCompiledModel,
} from '../graph/compiled-model.ts';
import { compileInChild } from './compile-process.ts';
import type { ReportProgress } from './progress-display.ts';
import { firstWritable } from './search.ts';
import { ModelStoreError, messageOf, storageFailure, storing } from './storage-error.ts';
import type { StoreContext } from './store-context.ts';

/** Sole ownership among all processes, other containers on the same volume included. */
export interface ExclusiveLock extends AsyncDisposable {
  /** Aborted when the lock was lost, because this process stood still for too long. */
  readonly lost: AbortSignal;
}

/**
 * Takes `<path>.lock`, a folder whose time is renewed while its holder lives. Process ids would not
 * do: in containers every service is process 1.
 * @returns undefined where another process holds it
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
        // A lost lock belongs to somebody else by now.
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
  /** As it was asked for: what `auto` has chosen is found under `auto` again. */
  readonly precision: PrecisionSetting;
  /** The weights do not decide all of it: a `config.json` beside them has a say, too. */
  readonly architecture: ClipArchitecture;
}

/** A compiled model's folder: `<sha256, 16 digits>-<precision>-v<version of the graph builder>`. */
export function folderName({ sha256, precision }: Pick<CompiledModelKey, 'sha256' | 'precision'>): string {
  return `${sha256.slice(0, 16)}-${precision}-v${BUILDER_VERSION}`;
}

/**
 * The compiled model of a cache folder.
 * @returns the model, `absent`, or the reason why what is there cannot be used
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
 * Has a model compiled into a temporary folder and gives it its name at once when it is complete.
 * Where another process was faster, its model is used.
 * @throws ModelStoreError storage_full, storage_failed, compile_failed, and whatever `compile` throws
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
    // Held before the folder is there, so that nobody ever sees it without its lock.
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
  // A service of another version on the same volume may have replaced it in this very moment.
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

/** Removes a damaged model in two steps, since a folder being deleted must not keep its name. */
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
 * Removes what crashed processes left behind; what a living one works on is locked. To be called at
 * every start: right after a crash, the lock still looks like that of a living process.
 */
export async function sweepTemporaries(root: string, lockStaleMs: number): Promise<void> {
  for (const entry of await readdir(root)) {
    const name = temporaryPattern.exec(entry)?.[1];
    if (name === undefined || (await isLocked(join(root, name), lockStaleMs))) continue;
    await rm(join(root, entry), { recursive: true, force: true });
  }
}

const folderPattern = /^([0-9a-f]{16})-[a-z0-9]+-v(\d+)$/;

/** Removes what other versions of the graph builder made of the same checkpoint, in whatever precision. */
async function removeOtherVersions(root: string, { sha256 }: CompiledModelKey): Promise<void> {
  for (const entry of await readdir(root)) {
    const [, checkpoint, version] = folderPattern.exec(entry) ?? [];
    if (checkpoint !== sha256.slice(0, 16) || version === String(BUILDER_VERSION)) continue;
    await rm(join(root, entry), { recursive: true, force: true });
  }
}

/**
 * A folder for compiled models where no cache folder can be written. It keeps its name between
 * starts, so that a model is not compiled anew each time; it is used only if it is ours and nobody
 * else can write to it, as anyone may make folders in the system's temporary one.
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

/** A checkpoint whose sum is known. */
interface IdentifiedCheckpoint {
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
