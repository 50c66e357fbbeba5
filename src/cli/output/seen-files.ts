import { stat } from 'node:fs/promises';
import { chunksOf } from '../answers/in-order.ts';
import { type FileStamp, stampOf } from '../files/stamp.ts';
import { UsageError } from '../usage-error.ts';
import { claimFile, replaceClaimed } from './claim.ts';

/**
 * What each recorded file of an output was. Without it, a new photo under an old name would have the answer of the old
 * one: cameras begin again at IMG_0001, and memory cards have the same paths.
 */
export interface SeenFiles extends AsyncDisposable {
  /** @returns the recorded files that are another version now. Files that are missing are not among them: they may have been moved */
  changed(recorded: Iterable<string>): Promise<ReadonlySet<string>>;
  /** Forgets all but these files. */
  keep(files: Iterable<string>): Promise<void>;
  /** To be called before the files are read: a file that changes meanwhile counts as changed in the next run. */
  observe(files: readonly string[]): Promise<void>;
  /** To be called before the record of an observed file is written. */
  remember(file: string): Promise<void>;
}

/** Hashes of a path and of a stamp, in hexadecimal digits. */
const linePattern = /^([0-9a-f]{16}) ([0-9a-f]{16})$/;
const LINE_BYTES = 34;
const STATS_AT_ONCE = 64;

/**
 * A second file beside the output, with a line for each record. The last line of a file counts.
 * @throws UsageError if the file has something else, or another run is writing it; errors of the file system
 */
export async function openSeenFiles(output: string): Promise<SeenFiles> {
  const path = `${output}.seen`;
  let { file } = await claimFile(path);
  const seen = new Map<string, string>();
  /** Stamps of files that have no record yet. */
  const observed = new Map<string, string>();
  try {
    const text = await file.readFile('latin1');
    // A killed run may have left a part of a line.
    const complete = text.slice(0, text.length - (text.length % LINE_BYTES));
    for (const line of complete === '' ? [] : complete.trimEnd().split('\n')) {
      const [, itsPath, stamp] = linePattern.exec(line) ?? [];
      if (itsPath === undefined || stamp === undefined) {
        throw new UsageError(`${path} exists and was not written by this command; use another --output.`);
      }
      seen.set(itsPath, stamp);
    }
    await file.truncate(complete.length);
  } catch (fault) {
    await file.close();
    throw fault;
  }

  return {
    async changed(recorded) {
      const changed = new Set<string>();
      for (const some of chunksOf([...recorded], STATS_AT_ONCE)) {
        for (const [index, stamp] of (await Promise.all(some.map(stampHash))).entries()) {
          const name = some[index];
          if (name !== undefined && stamp !== undefined && seen.get(hash(name)) !== stamp) changed.add(name);
        }
      }
      return changed;
    },
    async keep(files) {
      const kept = [...files].flatMap((name) => {
        const stamp = seen.get(hash(name));
        return stamp === undefined ? [] : [`${hash(name)} ${stamp}\n`];
      });
      const { file: replaced } = await replaceClaimed(path, (append) => append(kept.join('')));
      await file.close();
      file = replaced;
    },
    async observe(files) {
      for (const some of chunksOf(files, STATS_AT_ONCE)) {
        for (const [index, stamp] of (await Promise.all(some.map(stampHash))).entries()) {
          if (stamp !== undefined) observed.set(some[index] ?? '', stamp);
        }
      }
    },
    async remember(name) {
      const stamp = observed.get(name);
      if (stamp === undefined) return;
      observed.delete(name);
      await file.appendFile(`${hash(name)} ${stamp}\n`);
    },
    async [Symbol.asyncDispose]() {
      await file.close();
    },
  };
}

/** @returns undefined if the file is missing */
async function stampHash(path: string): Promise<string | undefined> {
  const stats = await stat(path).catch(() => undefined);
  if (stats === undefined) return undefined;
  const { size, modifiedMs, changedMs }: FileStamp = stampOf(stats);
  return hash(`${size} ${modifiedMs} ${changedMs}`);
}

function hash(text: string): string {
  return Bun.hash.xxHash64(text).toString(16).padStart(16, '0');
}
