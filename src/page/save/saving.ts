import { makeZip } from 'client-zip';
import { numberedNames } from '../../file-names.ts';
import type { PlannedFile } from './planned-files.ts';

/** How far saving is. */
export interface SavingEvents {
  readonly signal: AbortSignal;
  /** Called after every photo. */
  readonly onFile: (done: number) => void;
}

/** What was saved. */
export interface Saved {
  /** Photos that were written, or were there already. */
  readonly saved: number;
  /** Paths of photos that the browser can no longer read. */
  readonly unreadable: readonly string[];
}

/** Times of a ZIP: from 1980 to 2107. */
const ZIP_TIMES = [Date.UTC(1980, 0, 2), Date.UTC(2107, 11, 30)] as const;

/** As long as two pictures of the screen. */
const MAX_WORK_MS = 32;

/** The bytes of a photo that pass through the ZIP, by chunk, so that they are recognised behind it. */
type Origins = WeakMap<Uint8Array, File>;

/** A ZIP that is being made: photos are read while it is read, and are not compressed again. */
function zipStream(files: readonly PlannedFile[], events: SavingEvents, origins: Origins) {
  const unreadable: string[] = [];
  let saved = 0;
  async function* entries() {
    for (const { file, folder, name } of files) {
      events.signal.throwIfAborted();
      if (!(await isReadable(file))) {
        unreadable.push(`${folder}/${name}`);
        continue;
      }
      const noted = new TransformStream<Uint8Array, Uint8Array>({
        transform(chunk, controller) {
          origins.set(chunk, file);
          controller.enqueue(chunk);
        },
      });
      const [earliest, latest] = ZIP_TIMES;
      yield {
        name: `${folder}/${name}`,
        lastModified: new Date(Math.min(latest, Math.max(earliest, file.lastModified))),
        input: file.stream().pipeThrough(noted),
      };
      events.onFile(++saved);
    }
  }
  return {
    stream: makeZip(entries()),
    outcome: (): Saved => ({ saved, unreadable }),
  };
}

/**
 * Makes a ZIP whose photos stay where they are: the blob refers to their files, so that gigabytes need no memory. The
 * photos are read once for their checksums, and again when the browser saves the blob.
 * @throws the signal's reason; an error if a photo changes meanwhile
 */
export async function zipBlob(
  files: readonly PlannedFile[],
  events: SavingEvents,
): Promise<Saved & { readonly blob: Blob }> {
  const origins: Origins = new WeakMap();
  const { stream, outcome } = zipStream(files, events, origins);
  const parts: BlobPart[] = [];
  let restedAt = performance.now();
  for await (const chunk of stream) {
    // Chunks that are ready follow each other without a pause, in which the page could be drawn.
    if (performance.now() - restedAt > MAX_WORK_MS) {
      await new Promise((resolve) => setTimeout(resolve));
      restedAt = performance.now();
    }
    const origin = origins.get(chunk);
    if (!origin) parts.push(chunk.slice());
    else if (parts.at(-1) !== origin) parts.push(origin);
  }
  return { blob: new Blob(parts, { type: 'application/zip' }), ...outcome() };
}

/** Writes a ZIP into a file that the visitor has chosen. @throws as `zipBlob` */
export async function writeZip(
  files: readonly PlannedFile[],
  target: FileSystemFileHandle,
  events: SavingEvents,
): Promise<Saved> {
  const { stream, outcome } = zipStream(files, events, new WeakMap());
  // After an abort, the browser removes what was written.
  await stream.pipeTo(await target.createWritable(), { signal: events.signal });
  return outcome();
}

/**
 * Copies photos into folders of a directory that the visitor has chosen. No file is overwritten: a taken name is
 * numbered, and an equal file is not written twice.
 * @throws the signal's reason; DOMException if the folder cannot be written
 */
export async function writeFolders(
  files: readonly PlannedFile[],
  directory: FileSystemDirectoryHandle,
  events: SavingEvents,
): Promise<Saved> {
  const unreadable: string[] = [];
  let saved = 0;
  for (const { file, folder, name } of files) {
    events.signal.throwIfAborted();
    if (await isReadable(file)) {
      const target = await directory.getDirectoryHandle(folder, { create: true });
      await writeCopy(file, target, name, events.signal);
      saved++;
    } else unreadable.push(`${folder}/${name}`);
    events.onFile(saved);
  }
  return { saved, unreadable };
}

async function writeCopy(
  file: File,
  directory: FileSystemDirectoryHandle,
  wanted: string,
  signal: AbortSignal,
): Promise<void> {
  for (const name of numberedNames(wanted)) {
    const present = await existing(directory, name);
    if (present === 'folder') continue;
    if (present) {
      if (await haveSameBytes(present, file)) return;
      continue;
    }
    const handle = await directory.getFileHandle(name, { create: true });
    try {
      await file.stream().pipeTo(await handle.createWritable(), { signal });
    } catch (fault) {
      // The bytes were in a temporary file until then: what has the name is empty.
      await directory.removeEntry(name);
      throw fault;
    }
    return;
  }
}

async function existing(
  directory: FileSystemDirectoryHandle,
  name: string,
): Promise<File | 'folder' | undefined> {
  try {
    return await (await directory.getFileHandle(name)).getFile();
  } catch (fault) {
    if (fault instanceof DOMException && fault.name === 'NotFoundError') return undefined;
    if (fault instanceof DOMException && fault.name === 'TypeMismatchError') return 'folder';
    throw fault;
  }
}

async function haveSameBytes(a: File, b: File): Promise<boolean> {
  if (a.size !== b.size) return false;
  const [first, second] = await Promise.all([a.arrayBuffer(), b.arrayBuffer()]);
  // The browser's own comparison of keys: it takes a millisecond for 10 MB.
  return indexedDB.cmp(first, second) === 0;
}

/** Whether the file is where it was chosen. */
function isReadable(file: File): Promise<boolean> {
  return file
    .slice(0, 1)
    .arrayBuffer()
    .then(
      () => true,
      () => false,
    );
}
