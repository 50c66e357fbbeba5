import { acceptOf, pictureFormats, videoContainers } from '../../contract/formats.ts';
import { mediumOf } from '../../contract/media-endings.ts';

/** A file, and its folders within the dropped folder. */
export interface FoundFile {
  readonly file: File;
  /** With folders, if any: `holiday/day 1/beach.jpg`. */
  readonly path: string;
  readonly inFolder: boolean;
}

/** What was dropped or chosen at once. */
export interface FoundFiles {
  readonly files: readonly FoundFile[];
  /** Paths of files and folders that the browser cannot read. */
  readonly unreadable: readonly string[];
}

/** The kind of a file by its name. The service decides by its content. */
type FileKind = 'photo' | 'video' | 'categories' | 'other';

const categoriesEndings = /\.(?:json|csv|tsv|txt)$/i;

/** For the file chooser: all endings that `fileKind` knows. */
export const acceptedFiles = `${acceptOf(pictureFormats, videoContainers)},.json,.csv,.tsv,.txt`;

/** Endings come first, because operating systems report types differently or not at all. */
export function fileKind({ name, type }: { readonly name: string; readonly type: string }): FileKind {
  const medium = mediumOf(name);
  if (medium?.isAccepted) return medium.kind === 'picture' ? 'photo' : 'video';
  if (categoriesEndings.test(name)) return 'categories';
  if (type.startsWith('image/')) return 'photo';
  if (type.startsWith('video/')) return 'video';
  return 'other';
}

/** A file that is not used. */
export interface UnusedFile {
  readonly path: string;
  /** A sentence. */
  readonly reason: string;
  /** Singular, for a count: `video`. */
  readonly what: string;
}

/** What becomes of the files. */
interface Sorted {
  readonly photos: readonly FoundFile[];
  readonly video: File | undefined;
  /** With categories. */
  readonly documents: readonly File[];
  readonly unused: readonly UnusedFile[];
}

/**
 * Decides what becomes of files. A folder may contain any files; a file that is chosen on its own is always used. One
 * video is used, but none of a folder if there are photos.
 */
export function sortFound({ files, unreadable }: FoundFiles): Sorted {
  const photos: FoundFile[] = [];
  const videos: FoundFile[] = [];
  const documents: File[] = [];
  const unused: UnusedFile[] = unreadable.map((path) => ({
    path,
    reason: 'The browser cannot read it.',
    what: 'unreadable file',
  }));
  for (const found of files) {
    const { file, path, inFolder } = found;
    const kind = fileKind(file);
    const medium = mediumOf(file.name);
    if (kind === 'photo') photos.push(found);
    else if (kind === 'video') videos.push(found);
    else if (!inFolder && kind === 'categories') documents.push(file);
    else if (!inFolder) (medium?.kind === 'video' ? videos : photos).push(found);
    else if (medium) {
      const what = `${medium.title} ${medium.kind}`;
      unused.push({
        path,
        reason: `${what.charAt(0).toUpperCase()}${what.slice(1)}s are not accepted.`,
        what,
      });
    } else unused.push({ path, reason: 'It is neither a picture nor a video.', what: 'other file' });
  }
  const chosen = videos.filter(({ inFolder }) => !inFolder);
  const usable = photos.length === 0 && chosen.length === 0 ? videos : chosen;
  const video = usable.at(-1);
  for (const other of videos) {
    if (other === video) continue;
    const reason = usable.includes(other)
      ? 'Only one video at a time is searched.'
      : 'Videos in a folder with photos are not searched; choose it on its own.';
    unused.push({ path: other.path, reason, what: 'video' });
  }
  return { photos, video: video?.file, documents, unused };
}

/** `2 videos, 1 HEIC picture`: the most frequent first. */
export function countsByKind(
  unused: readonly UnusedFile[],
): readonly (readonly [what: string, number: number])[] {
  const kinds = Map.groupBy(unused, ({ what }) => what);
  return [...kinds].map(([what, files]) => [what, files.length] as const).sort(([, a], [, b]) => b - a);
}
