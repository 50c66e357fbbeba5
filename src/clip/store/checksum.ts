import { createHash } from 'node:crypto';
import { mkdir, open, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import * as v from 'valibot';
import { percentOf, type ReportProgress } from './progress-display.ts';
import { ModelStoreError, messageOf } from './storage-error.ts';

/** Large enough for few reads, small enough not to delay a request (2 ms of hashing). */
const BLOCK_BYTES = 2 ** 20;

/** sha256 of a file, hex. */
export async function fileSha256(path: string, report: ReportProgress, signal: AbortSignal): Promise<string> {
  await using file = await open(path, 'r');
  const bytesTotal = (await file.stat()).size;
  const hash = createHash('sha256');
  const block = Buffer.allocUnsafe(BLOCK_BYTES);
  for (let bytesDone = 0; ; ) {
    signal.throwIfAborted();
    const { bytesRead } = await file.read(block, 0, BLOCK_BYTES, bytesDone);
    if (bytesRead === 0) return hash.digest('hex');
    hash.update(block.subarray(0, bytesRead));
    bytesDone += bytesRead;
    report({ stage: 'verifying', bytesDone, bytesTotal, percent: percentOf(bytesDone, bytesTotal) });
  }
}

/** Changes when a file is replaced or written to. Times in nanoseconds, as text for JSON. */
const fingerprintSchema = v.object({
  path: v.string(),
  bytes: v.string(),
  inode: v.string(),
  modified: v.string(),
  changed: v.string(),
});
type Fingerprint = v.InferOutput<typeof fingerprintSchema>;

const rememberedSchema = v.object({
  file: fingerprintSchema,
  sha256: v.pipe(v.string(), v.regex(/^[0-9a-f]{64}$/)),
});

async function fingerprint(path: string): Promise<Fingerprint> {
  const { size, ino, mtimeNs, ctimeNs } = await stat(path, { bigint: true });
  return {
    path,
    bytes: String(size),
    inode: String(ino),
    modified: String(mtimeNs),
    changed: String(ctimeNs),
  };
}

/**
 * sha256 of a checkpoint. It is remembered between starts, because hashing takes a second, and used while the file's
 * path, size, inode and times are the same.
 * @param directories for remembered sums: all are read, the first writable one is written
 * @throws ModelStoreError checkpoint_unreadable, also for a file that changes while it is read
 */
export async function rememberedSha256(
  path: string,
  directories: readonly string[],
  report: ReportProgress,
  signal: AbortSignal,
): Promise<string> {
  try {
    const before = await fingerprint(path);
    for (const directory of directories) {
      const remembered = await readRemembered(recordPath(directory, path));
      if (remembered !== undefined && Bun.deepEquals(remembered.file, before)) return remembered.sha256;
    }
    const sha256 = await fileSha256(path, report, signal);
    const after = await fingerprint(path);
    if (!Bun.deepEquals(before, after)) {
      throw new ModelStoreError(
        'checkpoint_unreadable',
        `The file ${path} changes while it is read. It is read again when it is complete.`,
      );
    }
    await remember(directories, { file: after, sha256 });
    return sha256;
  } catch (error) {
    if (error instanceof ModelStoreError || signal.aborted) throw error;
    const sentence = `The file ${path} cannot be read: ${messageOf(error)}`;
    throw new ModelStoreError('checkpoint_unreadable', sentence, { cause: error });
  }
}

function recordPath(directory: string, path: string): string {
  const name = createHash('sha256').update(path).digest('hex').slice(0, 16);
  return join(directory, `${name}.sha256.json`);
}

async function readRemembered(path: string): Promise<v.InferOutput<typeof rememberedSchema> | undefined> {
  try {
    return v.parse(rememberedSchema, JSON.parse(await readFile(path, 'utf8')));
  } catch {
    // Absent or damaged: the file is hashed again.
    return undefined;
  }
}

async function remember(
  directories: readonly string[],
  record: v.InferOutput<typeof rememberedSchema>,
): Promise<void> {
  for (const directory of directories) {
    const target = recordPath(directory, record.file.path);
    const temporary = `${target}.${crypto.randomUUID()}.tmp`;
    try {
      await mkdir(dirname(target), { recursive: true });
      await writeFile(temporary, JSON.stringify(record), { flag: 'wx' });
      await rename(temporary, target);
      return;
    } catch {
      // Not logged: the next start only takes a second longer.
      await rm(temporary, { force: true }).catch(() => undefined);
    }
  }
}
