import { open, stat } from 'node:fs/promises';
import { hasEndingOf, pictureFormats } from '../../contract/formats.ts';
import type { ErrorCode } from '../../errors.ts';
import { emptyPicture, tooManyBytes, unsupportedPicture } from '../../media/picture/picture-errors.ts';
import { recognisePicture, SNIFFED_BYTES } from '../../media/sniff.ts';
import { reasonOf } from './errno.ts';
import type { FoundFile } from './find-files.ts';

/** Why a file has no answer: the engine's codes, and one for files that the disk does not give. */
export type FileFaultCode = ErrorCode | 'file_unreadable';

export type ReadFile =
  | { readonly kind: 'picture'; readonly bytes: Uint8Array }
  | { readonly kind: 'broken'; readonly code: FileFaultCode; readonly error: string }
  /** Lay in a folder and is no picture. */
  | { readonly kind: 'skipped'; readonly what: string };

/**
 * Reads a file if it is a picture. Its content decides: of a film in a folder of photos only the beginning
 * is read. What calls itself a picture and is none, or was named by the person, is broken rather than skipped.
 */
export async function readPicture({ path, isNamed }: FoundFile, maxBytes: number): Promise<ReadFile> {
  try {
    // Asked before opening, which would wait at a pipe until somebody writes.
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

/** The first bytes of a file, fewer where it has become shorter. */
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
