import { foldCase, folderNames, numberedNames, validName } from '../../file-names.ts';

/** The photos of one group, as they are saved. */
export interface SavedGroup {
  readonly name: string;
  readonly photos: readonly SavedPhoto[];
}

export interface SavedPhoto {
  readonly file: File;
  /** With folders, if any. */
  readonly path: string;
}

/** Where a photo goes. */
export interface PlannedFile {
  readonly file: File;
  readonly folder: string;
  /** Valid on every file system, and in its folder unique, also without regard to case. */
  readonly name: string;
}

/** The names in a folder. */
interface FolderNames {
  readonly taken: Set<string>;
  /** By name: the number to try next, for many photos of one name. */
  readonly numbers: Map<string, number>;
}

/** One folder for each group that has photos. A photo of several groups is in the folder of each. */
export function plannedFiles(groups: readonly SavedGroup[]): PlannedFile[] {
  const filled = groups.filter(({ photos }) => photos.length > 0);
  const folders = folderNames([...new Set(filled.map(({ name }) => name))]);
  const contents = new Map<string, FolderNames>();
  return filled.flatMap(({ name: group, photos }) => {
    // A category may be called as the group of the photos without one.
    const { taken, numbers } = contents.get(group) ?? { taken: new Set(), numbers: new Map() };
    contents.set(group, { taken, numbers });
    return photos.map(({ file, path }) => {
      const wanted = validName(path.slice(path.lastIndexOf('/') + 1));
      let number = numbers.get(foldCase(wanted)) ?? 0;
      for (const name of numberedNames(wanted, number + 1)) {
        number++;
        if (taken.has(foldCase(name))) continue;
        taken.add(foldCase(name));
        numbers.set(foldCase(wanted), number);
        return { file, folder: folders.get(group) ?? '_', name };
      }
      throw new Error('This is a bug: the names have ended.');
    });
  });
}

/** Names for a list to paste: a line for each group, then its photos, with their folders. */
export function namesText(groups: readonly SavedGroup[]): string {
  return groups
    .filter(({ photos }) => photos.length > 0)
    .map(({ name, photos }) => [name, ...photos.map(({ path }) => path), ''].join('\n'))
    .join('\n');
}
