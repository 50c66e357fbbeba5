import { mkdir, readdir, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { ClipArchitecture } from '../architecture.ts';
import {
  BUILDER_VERSION,
  type CompiledModel,
  type PrecisionSetting,
  readCompiledModel,
} from '../graph/compiled-model.ts';
import { isLocked, tryLock } from './exclusive.ts';
import { ModelStoreError } from './model-store-error.ts';
import { errnoOf, messageOf, storing } from './storage-error.ts';

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
