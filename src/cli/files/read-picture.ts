import { open, stat } from 'node:fs/promises';
import { mediumOf } from '../../contract/media-endings.ts';
import type { ErrorCode } from '../../errors.ts';
import { emptyPicture, tooManyBytes, unsupportedPicture } from '../../media/picture/picture-errors.ts';
import { recognisePicture, SNIFFED_BYTES } from '../../media/sniff.ts';
import { reasonOf } from '../usage-error.ts';
import type { FoundFile, StoredContent } from './find-files.ts';

/** Why a file has no answer: a code of the engine, or `file_unreadable` for a fault of the disk. */
type FileFaultCode = ErrorCode | 'file_unreadable';

export type ReadFile =
  | { readonly kind: 'picture'; readonly bytes: Uint8Array }
  | { readonly kind: 'broken'; readonly code: FileFaultCode; readonly error: string }
  /** Found in a folder, and neither a picture nor a video. */
  | { readonly kind: 'skipped'; readonly what: string };

/**
 * Reads a file if it is a picture. Its content decides; only the beginning of other files is read. A file that
 * is not a picture is broken if the command line names it, or if its name or content is of a picture or a video: none
 * may be left out in silence. Other files are skipped.
 */
export async function readPicture(file: FoundFile, maxBytes: number): Promise<ReadFile> {
  const { path, content } = file;
  try {
    if (content) return await readContent(file, content, maxBytes);
    // Checked before opening: opening a pipe would wait for a writer.
    if (!(await stat(path)).isFile()) return broken('file_unreadable', 'It is neither a file nor a folder.');
    await using opened = await open(path, 'r');
    const { size } = await opened.stat();
    return await readContent(file, { size, read: (bytes) => readTo(opened, bytes) }, maxBytes);
  } catch (fault) {
    return broken('file_unreadable', `It cannot be read, because ${reasonOf(fault)}.`);
  }
}

async function readContent(
  { path, isNamed, content: stored }: FoundFile,
  { size, read }: StoredContent,
  maxBytes: number,
): Promise<ReadFile> {
  const head = await read(Math.min(size, SNIFFED_BYTES));
  const content = recognisePicture(head);
  if ('other' in content) {
    const isEmpty = head.length === 0;
    const isOther = isEmpty ? mediumOf(path) === undefined : !isMedium(path, content.other);
    if (!isNamed && isOther) return { kind: 'skipped', what: content.other };
    const { code, message } = isEmpty ? emptyPicture() : unsupportedPicture(content.other);
    const isVideoFile = mediumOf(path)?.kind === 'video' && !stored;
    const advice = isVideoFile ? ' Use --video for a video.' : '';
    return broken(code, `${message}${advice}`);
  }
  if (size > maxBytes) {
    const { code, message } = tooManyBytes(size, maxBytes);
    return broken(code, message);
  }
  return { kind: 'picture', bytes: size <= head.length ? head : await read(size) };
}

/** @param what the content is, with its article: `a HEIC picture` */
function isMedium(path: string, what: string): boolean {
  // TypeScript's sources end like MPEG transport streams.
  if (what === 'text' && /\.m?ts$/i.test(path)) return false;
  return mediumOf(path) !== undefined || / (?:picture|video)\b/.test(what);
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
