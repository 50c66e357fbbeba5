import { stat } from 'node:fs/promises';
import { mediumOf } from '../../contract/media-endings.ts';
import { type FoundFile, type FoundFiles, findFiles, type StoredContent } from '../files/find-files.ts';
import { isArchive, type Shard, shardOf } from '../shards/shard.ts';
import {
  isStorageUrl,
  type ObjectAddress,
  parseStorageUrl,
  type Storage,
  StorageError,
  storageUrl,
} from '../storage/storage.ts';
import { reasonOf } from '../usage-error.ts';
import { ArchiveError, readArchive } from './archive.ts';

/** Where in an archive a photo is. */
export interface Member {
  readonly archive: string;
  /** Among all entries, from 0. -1: the archive itself. */
  readonly place: number;
}

/** What comes next of a shard's photos. */
export type Step =
  | { readonly kind: 'photo'; readonly file: FoundFile; readonly member?: Member }
  /** A photo, or a whole archive, that cannot be answered, now and later. */
  | {
      readonly kind: 'broken';
      readonly file: string;
      readonly code: string;
      readonly error: string;
      readonly member?: Member;
    }
  | { readonly kind: 'archive-begins'; readonly archive: string; readonly stamp: string }
  | { readonly kind: 'archive-ends'; readonly archive: string }
  /** Something could not be read now. The next run tries it again. */
  | { readonly kind: 'left'; readonly name: string; readonly error: string }
  /** Files that are not pictures, by the reason. */
  | { readonly kind: 'skipped'; readonly what: string };

/** What an earlier run has done. */
export interface Done {
  isArchiveDone(archive: string, stamp: string): boolean;
  hasMember(archive: string, stamp: string, place: number): boolean;
  hasPhoto(name: string): boolean;
}

interface SourceOptions {
  readonly shard: Shard;
  readonly done: Done;
  /** Called only if a path is an address in object storage. */
  readonly openStorage: () => Storage;
  readonly maxImageBytes: number;
  /** Called with what was left out of folders of this computer, and belongs to the shard. */
  readonly tellFound: (found: FoundFiles) => void;
  readonly signal: AbortSignal;
}

/** Files and tar files of the folders of this computer and of object storage that belong to a shard. */
export async function* photosOf(paths: readonly string[], options: SourceOptions): AsyncGenerator<Step> {
  const addresses = paths.filter(isStorageUrl).map(parseStorageUrl);
  const local = paths.filter((path) => !isStorageUrl(path));
  if (local.length > 0) yield* localPhotos(local, options);
  if (addresses.length === 0) return;
  const storage = options.openStorage();
  for (const address of withoutOverlap(addresses)) yield* storedPhotos(storage, address, options);
}

/** Leaves out what is below another address: it would be listed twice. */
function withoutOverlap(addresses: readonly ObjectAddress[]): readonly ObjectAddress[] {
  return addresses.filter((one, place) =>
    addresses.every(
      (other, itsPlace) =>
        place === itsPlace ||
        other.bucket !== one.bucket ||
        !one.key.startsWith(other.key) ||
        (one.key === other.key && place < itsPlace),
    ),
  );
}

async function* localPhotos(paths: readonly string[], options: SourceOptions): AsyncGenerator<Step> {
  const { shard, done, tellFound, signal } = options;
  const isOurs = (name: string) => shardOf(name, shard.count) === shard.index;
  const found = await findFiles(paths, { followLinks: true, signal });
  tellFound({
    ...found,
    leftOut: found.leftOut.filter(({ path }) => isOurs(path)),
    ...(shard.index > 0 && { hidden: 0, links: 0 }),
  });
  for (const { path, error, isDangling } of found.unreadable) {
    const isLasting = isDangling && !paths.includes(path);
    // A folder that is missing here may have photos of any shard.
    if (!isLasting) yield { kind: 'left', name: path, error };
    else if (isOurs(path) && !done.hasPhoto(path)) {
      yield { kind: 'broken', file: path, code: 'file_unreadable', error };
    }
  }
  for (const file of found.files) {
    if (!isOurs(file.path)) continue;
    if (!isArchive(file.path)) {
      if (!done.hasPhoto(file.path)) yield { kind: 'photo', file };
      continue;
    }
    const { size, mtimeMs } = await stat(file.path).catch(() => ({ size: 0, mtimeMs: 0 }));
    const stamp = `${size} ${mtimeMs}`;
    yield* archivePhotos({ archive: file.path, stamp, chunks: () => Bun.file(file.path).stream() }, options);
  }
}

async function* storedPhotos(
  storage: Storage,
  address: ObjectAddress,
  options: SourceOptions,
): AsyncGenerator<Step> {
  const { shard, done, signal } = options;
  let isEmpty = true;
  for await (const { key, size, etag } of storage.list(address)) {
    isEmpty = false;
    const object = { ...address, key };
    const name = storageUrl(object);
    if (key.endsWith('/') || shardOf(name, shard.count) !== shard.index) continue;
    const isNamed = key === address.key;
    if (
      !isNamed &&
      key
        .slice(address.key.length)
        .split('/')
        .some((part) => part.startsWith('.'))
    ) {
      yield { kind: 'skipped', what: mediumOf(key) ? 'hidden picture' : 'hidden file' };
    } else if (isArchive(key)) {
      const chunks = () => objectChunks(storage, object, { size, etag, signal });
      yield* archivePhotos({ archive: name, stamp: `${size} ${etag}`, chunks }, options);
    } else if (!done.hasPhoto(name)) {
      const file = { path: name, isNamed, content: storedContent(storage, object, size) };
      yield { kind: 'photo', file };
    }
  }
  if (isEmpty)
    yield { kind: 'left', name: storageUrl(address), error: 'There are no objects with this beginning.' };
}

/** Objects of this length are read with one request; of longer ones the beginning first, unless they are named like pictures. */
const WHOLE_BYTES = 256 * 1024;

function storedContent(storage: Storage, object: ObjectAddress, size: number): StoredContent {
  const isPicture = mediumOf(object.key)?.kind === 'picture';
  // Larger ones than any limit of pictures are never read whole.
  const atOnce = isPicture ? 32 * 1024 * 1024 : WHOLE_BYTES;
  let known: Uint8Array = new Uint8Array();
  return {
    size,
    async read(bytes) {
      if (known.length >= Math.min(bytes, size)) return known;
      known = await storage.read(object, 0, size <= atOnce ? size : Math.min(bytes, size));
      return known;
    },
  };
}

/** Pieces of this length bound the memory whatever the speed of the reader, and one that fails is read again alone. */
const PIECE_BYTES = 8 * 1024 * 1024;

/** An object from its beginning to its end. The next piece is read while one is used. */
async function* objectChunks(
  storage: Storage,
  object: ObjectAddress,
  { size, etag, signal }: { readonly size: number; readonly etag: string; readonly signal: AbortSignal },
): AsyncGenerator<Uint8Array> {
  const read = (start: number) => {
    const piece = storage.read(object, start, Math.min(start + PIECE_BYTES, size));
    piece.catch(() => undefined);
    return piece;
  };
  let next = read(0);
  for (let start = 0; start < size; start += PIECE_BYTES) {
    signal.throwIfAborted();
    const piece = await next;
    if (start + PIECE_BYTES < size) next = read(start + PIECE_BYTES);
    yield piece;
  }
  // Pieces of two versions would make a damaged archive.
  if (size > PIECE_BYTES && (await storage.find(object))?.etag !== etag) {
    throw new StorageError(`${storageUrl(object)} has changed while it was read.`, true);
  }
}

interface FoundArchive {
  readonly archive: string;
  /** Changes with the content. */
  readonly stamp: string;
  readonly chunks: () => AsyncIterable<Uint8Array>;
}

async function* archivePhotos(
  { archive, stamp, chunks }: FoundArchive,
  { done, maxImageBytes, signal }: SourceOptions,
): AsyncGenerator<Step> {
  if (done.isArchiveDone(archive, stamp)) return;
  yield { kind: 'archive-begins', archive, stamp };
  try {
    const members = readArchive(archive, chunks(), {
      maxBytes: maxImageBytes,
      isWanted: (place) => !done.hasMember(archive, stamp, place),
    });
    for await (const { place, name, content } of members) {
      signal.throwIfAborted();
      const member = { archive, place };
      if (content) yield { kind: 'photo', file: { path: name, isNamed: false, content }, member };
      else {
        const error = 'It is a link, or another entry without a content of its own, of the tar file.';
        yield { kind: 'broken', file: name, code: 'image_unsupported', error, member };
      }
    }
  } catch (fault) {
    signal.throwIfAborted();
    if (!(fault instanceof ArchiveError)) {
      yield { kind: 'left', name: archive, error: `It cannot be read, because ${reasonOf(fault)}.` };
      return;
    }
    if (!done.hasMember(archive, stamp, WHOLE_ARCHIVE)) {
      const member = { archive, place: WHOLE_ARCHIVE };
      yield { kind: 'broken', file: archive, code: ARCHIVE_BROKEN, error: fault.message, member };
    }
  }
  yield { kind: 'archive-ends', archive };
}

const WHOLE_ARCHIVE = -1;
/** The code of an archive that is damaged or incomplete. */
export const ARCHIVE_BROKEN = 'archive_broken';
