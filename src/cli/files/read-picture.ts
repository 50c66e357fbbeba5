import { open, stat } from 'node:fs/promises';
import { hasEndingOf, pictureFormats } from '../../contract/formats.ts';
import type { ErrorCode } from '../../errors.ts';
import { emptyPicture, tooManyBytes, unsupportedPicture } from '../../media/picture/picture-errors.ts';
import { recognisePicture, SNIFFED_BYTES } from '../../media/sniff.ts';
import { reasonOf } from '../usage-error.ts';
import type { FoundFile } from './find-files.ts';

/** Why a file has no answer: a code of the engine, or `file_unreadable` for a fault of the disk. */
type FileFaultCode = ErrorCode | 'file_unreadable';

export type ReadFile =
  | { readonly kind: 'picture'; readonly bytes: Uint8Array }
  | { readonly kind: 'broken'; readonly code: FileFaultCode; readonly error: string }
  /** Found in a folder, and not a picture. */
  | { readonly kind: 'skipped'; readonly what: string };

/**
 * Reads a file if it is a picture. Its content decides; only the beginning of other files is read. A file that
 * is not a picture is broken if the command line names it or its name ends like a picture's, otherwise skipped.
 */
export async function readPicture({ path, isNamed }: FoundFile, maxBytes: number): Promise<ReadFile> {
  try {
    // Checked before opening: opening a pipe would wait for a writer.
    if (!(await stat(path)).isFile()) return broken('file_unreadable', 'It is neither a file nor a folder.');
    await using file = await open(path, 'r');
    const { size } = await file.stat();
    const head = await readTo(file, Math.min(size, SNIFFED_BYTES));
    const content = recognisePicture(head);
    if ('other' in content) {
      if (!isNamed && !hasEndingOf(pictureFormats, path)) return { kind: 'skipped', what: content.other };
      const { code, message } = head.length === 0 ? emptyPicture() : unsupportedPicture(content.other);
      return broken(code, message);
    }
    if (size > maxBytes) {
      const { code, message } = tooManyBytes(size, maxBytes);
      return broken(code, message);
    }
    return { kind: 'picture', bytes: size <= head.length ? head : await readTo(file, size) };
  } catch (fault) {
    return broken('file_unreadable', `It cannot be read, because ${reasonOf(fault)}.`);
  }
}

function broken(code: FileFaultCode, error: string): ReadFile {
  return { kind: 'broken', code, error };
}

interface Readable {
  read(
    buffer: Uint8Array,
    offset: number,
    length: number,
    position: number,
  ): Promise<{ readonly bytesRead: number }>;
}

/** @returns the first bytes of a file; fewer if the file has become shorter */
async function readTo(file: Readable, bytes: number): Promise<Uint8Array> {
  const buffer = Buffer.allocUnsafeSlow(bytes);
  let filled = 0;
  while (filled < bytes) {
    const { bytesRead } = await file.read(buffer, filled, bytes - filled, filled);
    if (bytesRead === 0) break;
    filled += bytesRead;
  }
  return buffer.subarray(0, filled);
}
