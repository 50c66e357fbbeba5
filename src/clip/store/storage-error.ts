import { statfs } from 'node:fs/promises';
import { errnoOf } from '../../errors.ts';

export type ModelStoreFault =
  | 'model_unknown'
  | 'precision_unavailable'
  | 'checkpoint_missing'
  | 'checkpoint_unreadable'
  | 'checkpoint_unsound'
  | 'download_failed'
  | 'storage_full'
  | 'storage_failed'
  | 'compile_failed';

/** A model is not available. The message is for the operator: what is wrong, and what helps. */
export class ModelStoreError extends Error {
  override readonly name = 'ModelStoreError';
  readonly fault: ModelStoreFault;
  /** False: another attempt cannot help, only other settings. */
  readonly retryable: boolean;

  constructor(fault: ModelStoreFault, sentence: string, options?: ErrorOptions) {
    super(sentence, options);
    this.fault = fault;
    this.retryable = fault !== 'model_unknown' && fault !== 'precision_unavailable';
  }
}

/** @param sentence names the file, and what is wrong with it */
export function unsoundCheckpoint(sentence: string, options?: ErrorOptions): ModelStoreError {
  return new ModelStoreError('checkpoint_unsound', `${sentence} Replace or remove it.`, options);
}

export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** Errors of writing that another folder may avoid. */
export const storageErrnos: ReadonlySet<string> = new Set([
  'ENOSPC',
  'EDQUOT',
  'EROFS',
  'EACCES',
  'EPERM',
  'ENOTDIR',
  'ENOENT',
  'EIO',
  'EFBIG',
]);

/** Errors that freeing space cures. */
const fullErrnos: ReadonlySet<string> = new Set(['ENOSPC', 'EDQUOT']);

/** Bytes that can still be written in a folder; undefined if the file system does not report them. */
export async function freeBytes(directory: string): Promise<number | undefined> {
  try {
    const { bavail, blocks, bsize } = await statfs(directory);
    // Some network and user-space file systems report no blocks.
    return blocks === 0 ? undefined : bavail * bsize;
  } catch {
    return undefined;
  }
}

export function storageFull(
  directory: string,
  neededBytes: number | undefined,
  cause?: unknown,
): ModelStoreError {
  const needed = neededBytes === undefined ? '' : `: ${megabytes(neededBytes)} more are needed`;
  return new ModelStoreError(
    'storage_full',
    `The disk that holds ${directory} is full${needed}. Free some space, or set CLIP_CACHE to a folder on another disk.`,
    { cause },
  );
}

/** The sentence for a failed write into a folder. */
export function storageFailure(directory: string, error: unknown): ModelStoreError {
  if (fullErrnos.has(errnoOf(error) ?? '')) return storageFull(directory, undefined, error);
  const sentence = `The folder ${directory} cannot be written: ${messageOf(error)}`;
  return new ModelStoreError('storage_failed', sentence, { cause: error });
}

/**
 * Writes into a folder, and turns the file system's error into a sentence.
 * @throws ModelStoreError storage_full, storage_failed
 */
export async function storing<T>(directory: string, write: () => Promise<T>): Promise<T> {
  try {
    return await write();
  } catch (error) {
    throw storageFailure(directory, error);
  }
}

/** Decimal megabytes, as disks and downloads are sold. */
export function megabytes(bytes: number): string {
  return `${Math.ceil(bytes / 1e6).toLocaleString('en')} MB`;
}
