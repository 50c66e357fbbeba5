import { acceptOf, hasEndingOf, pictureFormats, videoContainers } from '../../contract/formats.ts';
import type { Photo } from '../results/photo.ts';

/** A file, and the folders it was found in below the one that was dropped. */
export interface FoundFile {
  readonly file: File;
  /** With folders where there are any: `holiday/day 1/beach.jpg`. */
  readonly path: string;
  readonly inFolder: boolean;
}

/** What a file that was dropped or chosen is taken for; the service has the last word, by its content. */
type FileKind = 'photo' | 'video' | 'categories' | 'other';

const categoriesEndings = /\.(?:json|csv|tsv|txt)$/i;

/** What the file chooser offers: everything that `fileKind` knows by its ending. */
export const acceptedFiles = `${acceptOf(pictureFormats, videoContainers)},.json,.csv,.tsv,.txt`;

/** By ending first: what systems say of a type differs, and is often nothing. */
export function fileKind({ name, type }: { readonly name: string; readonly type: string }): FileKind {
  if (hasEndingOf(pictureFormats, name)) return 'photo';
  if (hasEndingOf(videoContainers, name)) return 'video';
  if (categoriesEndings.test(name)) return 'categories';
  if (type.startsWith('image/')) return 'photo';
  if (type.startsWith('video/')) return 'video';
  return 'other';
}

/** The photos on the page. */
interface PhotoList {
  readonly all: readonly Photo[];
  /**
   * Takes files, some at a time: a browser looks each of them up on the disk, and thousands take seconds.
   * @param onSome called now and then while it lasts
   * @returns how many were new; the same file, dropped again, is not taken twice
   */
  add(files: readonly FoundFile[], onSome?: () => void): Promise<number>;
  clear(): void;
}

/** A page that does not answer for longer feels stuck. */
const SLICE_MS = 30;

export function createPhotoList(): PhotoList {
  let photos: Photo[] = [];
  let byPath = new Map<string, Photo[]>();
  let nextId = 0;

  const take = ({ file, path }: FoundFile): boolean => {
    const namesakes = byPath.get(path) ?? [];
    const bytes = file.size;
    const isKnown = namesakes.some(
      (other) => other.bytes === bytes && other.file.lastModified === file.lastModified,
    );
    if (isKnown) return false;
    const photo = { id: nextId++, file, bytes, path };
    photos.push(photo);
    byPath.set(path, [...namesakes, photo]);
    return true;
  };

  return {
    get all() {
      return photos;
    },
    async add(files, onSome = () => undefined) {
      const list = photos;
      let added = 0;
      let restedAt = performance.now();
      for (const found of files) {
        if (performance.now() - restedAt > SLICE_MS) {
          onSome();
          await new Promise((resolve) => setTimeout(resolve));
          restedAt = performance.now();
        }
        // Cleared meanwhile.
        if (photos !== list) break;
        if (take(found)) added++;
      }
      return added;
    },
    clear() {
      photos = [];
      byPath = new Map();
    },
  };
}
