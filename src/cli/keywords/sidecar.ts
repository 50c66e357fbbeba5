import { lstat, readFile, rm, stat } from 'node:fs/promises';
import { basename, dirname, join, parse } from 'node:path';
import { errnoOf } from '../../errors.ts';
import type { Companions } from '../files/companions.ts';
import { createFile, replaceFile } from '../output/claim.ts';
import { reasonOf, UsageError } from '../usage-error.ts';
import {
  type KeywordsByList,
  mayHaveOwnKeywords,
  readKeywords,
  removeKeywords,
  writeKeywords,
  XmpError,
} from './xmp.ts';

/** How a new sidecar is named: `full`: IMG_1.jpg.xmp; `stem`: IMG_1.xmp. */
export const sidecarNamings = ['full', 'stem'] as const;
export type SidecarNaming = (typeof sidecarNamings)[number];

/** darktable's history of a photo has some hundred kilobytes at most. */
const MAX_SIDECAR_BYTES = 16 * 1024 ** 2;
/** Of a larger photo, the keywords in it are not looked for. */
const MAX_PHOTO_BYTES = 256 * 1024 ** 2;

/** A sidecar that cannot be used stays unchanged. The message is a sentence that names it. */
export class SidecarError extends Error {
  override readonly name = 'SidecarError';
}

export interface KeywordWriterOptions {
  /** All possible answers. */
  readonly candidates: readonly string[];
  readonly naming: SidecarNaming;
  readonly companions: Companions;
  /** Says what would be written, and changes no file. */
  readonly isDry: boolean;
}

/**
 * Writes an answer into a photo's sidecar, and takes back an earlier answer to the same question.
 * @returns the path of the sidecar; undefined if it stays as it is
 * @throws SidecarError; UsageError if the disk is full
 */
export type KeywordWriter = (photo: string, keywords: readonly string[]) => Promise<string | undefined>;

export function createKeywordWriter(options: KeywordWriterOptions): KeywordWriter {
  const { candidates, naming, companions, isDry } = options;
  return async (photo, keywords) => {
    const present = await findSidecar(photo, companions);
    const path = present ?? (await newSidecar(photo, naming, companions));
    return await orSidecarError(path, async () => {
      const sidecar = present === undefined ? undefined : await readSidecar(path);
      if (!sidecar && keywords.length === 0) return undefined;
      const embedded = keywords.length === 0 ? new Map() : await embeddedKeywords(photo);
      const text = writeKeywords(sidecar?.text, { keywords, candidates, embedded });
      if (text === undefined || text === sidecar?.text) return undefined;
      if (!isDry) {
        await writeSidecar(path, text, sidecar);
        companions.made(path, photo);
      }
      return path;
    });
  };
}

/**
 * Removes all keywords that earlier runs have written into a sidecar, and the sidecar if they were all it had.
 * @returns the removed keywords; undefined if there are none
 * @throws SidecarError
 */
export function cleanSidecar(path: string, isDry: boolean): Promise<readonly string[] | undefined> {
  return orSidecarError(path, async () => {
    const sidecar = await readSidecar(path);
    if (!mayHaveOwnKeywords(sidecar.text)) return undefined;
    const { text, removed } = removeKeywords(sidecar.text);
    if (text === sidecar.text) return undefined;
    if (!isDry) await writeSidecar(path, text, sidecar);
    return removed;
  });
}

/** The sidecar that a photo has. The longer name wins, because it cannot be of another photo. */
export async function findSidecar(photo: string, companions: Companions): Promise<string | undefined> {
  const own = (await companions.of(photo)).filter((path) => /\.xmp$/i.test(path));
  const named = (name: string) => own.find((path) => parse(path).name.toLowerCase() === name.toLowerCase());
  const listed = named(basename(photo)) ?? named(parse(photo).name);
  if (listed !== undefined) return listed;
  // A folder may be searched that cannot be listed.
  const full = `${photo}.xmp`;
  return (await lstat(full).catch(() => undefined)) ? full : undefined;
}

/** @returns a free path */
async function newSidecar(photo: string, naming: SidecarNaming, companions: Companions): Promise<string> {
  const full = `${photo}.xmp`;
  if (naming === 'full') return full;
  const stem = join(dirname(photo), `${parse(photo).name}.xmp`);
  const owner = await companions.ownerOf(stem);
  // Two photos of one stem cannot share a sidecar.
  const isTaken = owner !== undefined || (await lstat(stem).catch(() => undefined)) !== undefined;
  return isTaken ? full : stem;
}

interface Sidecar {
  readonly text: string;
  readonly encoding: Encoding;
  readonly size: number;
  readonly mtimeMs: number;
  readonly access: { readonly uid: number; readonly gid: number; readonly mode: number };
}

type Encoding = 'utf-8' | 'utf-16le' | 'utf-16be';

async function readSidecar(path: string): Promise<Sidecar> {
  // Checked before opening: a link's target may be elsewhere, and opening a pipe would wait for a writer.
  const facts = await lstat(path);
  if (facts.isSymbolicLink())
    throw new SidecarError(`The sidecar ${path} is a symbolic link; it stays unchanged.`);
  if (!facts.isFile()) throw new SidecarError(`The sidecar ${path} is not a file.`);
  if (facts.size > MAX_SIDECAR_BYTES) {
    throw new SidecarError(`The sidecar ${path} is larger than 16 MiB; it stays unchanged.`);
  }
  const bytes = await readFile(path);
  const { size, mtimeMs, uid, gid, mode } = facts;
  return { ...decodeXmp(bytes), size, mtimeMs, access: { uid, gid, mode } };
}

/** @throws XmpError */
function decodeXmp(bytes: Uint8Array): { readonly text: string; readonly encoding: Encoding } {
  const encoding = encodingOf(bytes);
  let text: string;
  try {
    text = new TextDecoder(encoding, { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    throw new XmpError(`It is not valid ${encoding.toUpperCase()}.`);
  }
  const [, declared = encoding] = /^\ufeff?<\?xml[^>]*?\sencoding\s*=\s*["']([^"']+)["']/.exec(text) ?? [];
  if (!/^(?:utf-?8|utf-?16(?:[bl]e)?|us-ascii)$/i.test(declared)) {
    throw new XmpError(`Its encoding ${declared} is not supported; UTF-8 and UTF-16 are.`);
  }
  return { text, encoding };
}

/** By the byte order mark, or the zero in the first `<`. */
function encodingOf([first, second]: Uint8Array): Encoding {
  if ((first === 0xff && second === 0xfe) || (first === 0x3c && second === 0)) return 'utf-16le';
  if ((first === 0xfe && second === 0xff) || (first === 0 && second === 0x3c)) return 'utf-16be';
  return 'utf-8';
}

function encodeXmp(text: string, encoding: Encoding): Buffer {
  if (encoding === 'utf-8') return Buffer.from(text);
  const bytes = Buffer.from(text, 'utf16le');
  return encoding === 'utf-16le' ? bytes : bytes.swap16();
}

/**
 * @param text undefined: remove the sidecar
 * @param sidecar as it was read; undefined: there was none
 */
async function writeSidecar(
  path: string,
  text: string | undefined,
  sidecar: Sidecar | undefined,
): Promise<void> {
  if (!sidecar) return await createFile(path, text ?? '');
  const { size, mtimeMs, access, encoding } = sidecar;
  const now = await stat(path);
  if (now.size !== size || now.mtimeMs !== mtimeMs) {
    throw new SidecarError(`Another program changed the sidecar ${path}; it stays as that program wrote it.`);
  }
  if (text === undefined) await rm(path);
  else await replaceFile(path, encodeXmp(text, encoding), access);
}

/** The keywords in the photo itself. XMP packets can be found in files of any format. */
async function embeddedKeywords(photo: string): Promise<KeywordsByList> {
  const { size } = await stat(photo);
  if (size > MAX_PHOTO_BYTES) return new Map();
  const bytes = await readFile(photo);
  const start = bytes.indexOf('<x:xmpmeta');
  const closing = '</x:xmpmeta>';
  const end = start === -1 ? -1 : bytes.indexOf(closing, start);
  if (end === -1) return new Map();
  try {
    return readKeywords(new TextDecoder().decode(bytes.subarray(start, end + closing.length)));
  } catch (fault) {
    // Other programs cannot read it either.
    if (fault instanceof XmpError) return new Map();
    throw fault;
  }
}

async function orSidecarError<T>(path: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (fault) {
    if (fault instanceof XmpError) {
      throw new SidecarError(`The sidecar ${path} stays unchanged: ${fault.message}`);
    }
    const errno = errnoOf(fault);
    if (errno === undefined) throw fault;
    // No other sidecar could be written either.
    if (errno === 'ENOSPC' || errno === 'EDQUOT') {
      throw new UsageError(`The sidecar ${path} cannot be written, because ${reasonOf(fault)}.`);
    }
    throw new SidecarError(`The sidecar ${path} cannot be written, because ${reasonOf(fault)}.`);
  }
}
