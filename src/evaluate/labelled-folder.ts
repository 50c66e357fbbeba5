import { readdir, stat } from 'node:fs/promises';
import { join, sep } from 'node:path';
import type { Categories } from '../classify/classifier.ts';
import { readCategories } from '../cli/arguments.ts';
import { createCompanions } from '../cli/files/companions.ts';
import { type FoundFile, findFiles } from '../cli/files/find-files.ts';
import type { ProgramParts } from '../cli/program.ts';
import { reportLeftOut, withoutCompanions } from '../cli/tasks/task.ts';
import { count } from '../cli/terminal.ts';
import { reasonOf, UsageError } from '../cli/usage-error.ts';

/** A file that may be a photo, and what a person says that it shows. */
export interface LabelledFile {
  readonly file: FoundFile;
  /** null: it belongs to no category */
  readonly category: string | null;
}

/** A folder whose subfolders are categories. */
export interface LabelledFolder {
  /** All that compete, in their order; some may have no files. */
  readonly categories: Categories;
  readonly files: readonly LabelledFile[];
}

interface LabelledFolderOptions {
  readonly folder: string;
  /** Lists the categories; undefined: they are the names of the subfolders. */
  readonly categoriesFile: string | undefined;
  /** The subfolder with photos of no category; undefined: the one that is called `none`, if there is one. */
  readonly none: string | undefined;
  readonly maxCategories: number;
}

export const DEFAULT_NONE = 'none';

/**
 * Lists the files of all subfolders. The categories are those of the file, or the names of the subfolders. Nested
 * folders belong to the subfolder that they are in. Says which files are left out.
 * @throws UsageError
 */
export async function findLabelledFiles(
  options: LabelledFolderOptions,
  { terminal, tally, signal }: ProgramParts,
): Promise<LabelledFolder> {
  const { folder, none, maxCategories } = options;
  await checkFolder(folder);
  const found = await findFiles([folder], { followLinks: true, signal });
  for (const { path, error } of found.unreadable) tally.fault(path, error, 'file_unreadable');
  reportLeftOut(found, { tally, terminal });
  const { files } = await withoutCompanions(found.files, createCompanions(), tally);
  const bySubfolder = Map.groupBy(files, ({ subfolder = '' }) => subfolder.split(sep)[0] ?? '');
  const loose = bySubfolder.get('') ?? [];
  bySubfolder.delete('');
  if (loose.length > 0) {
    const many = loose.length > 1;
    terminal.note(
      `${folder}: ${count(loose.length)} ${many ? 'files lie' : 'file lies'} in no subfolder and ${many ? 'belong' : 'belongs'} to no category; left out.`,
    );
    tally.skip('unlabelled file', loose.length);
  }
  const subfolders = [...bySubfolder.keys()];
  const listed =
    options.categoriesFile === undefined
      ? undefined
      : await readCategories({ file: options.categoriesFile, words: [] }, maxCategories);
  const isNone = noneAmong(subfolders, listed?.labels, none);
  const named = subfolders.filter((name) => !isNone(name));
  const categoryOf = await categoriesOf(named, listed?.labels, options);
  const used = new Set(named.map(categoryOf));
  return {
    categories: listed ?? { labels: [...used] },
    files: [...bySubfolder].flatMap(([name, its]) => {
      const category = isNone(name) ? null : categoryOf(name);
      return its.map((file) => ({ file, category }));
    }),
  };
}

/** @throws UsageError */
async function checkFolder(folder: string): Promise<void> {
  try {
    if ((await stat(folder)).isDirectory()) return;
  } catch (fault) {
    throw new UsageError(`The folder ${folder} cannot be read, because ${reasonOf(fault)}.`);
  }
  throw new UsageError(
    `${folder} is a file. Name a folder that has one subfolder with photos for each category.`,
  );
}

/**
 * @param listed the categories of a file
 * @returns whether a subfolder has the photos of no category
 * @throws UsageError
 */
function noneAmong(
  subfolders: readonly string[],
  listed: readonly string[] | undefined,
  asked: string | undefined,
): (subfolder: string) => boolean {
  const isCalled = (name: string) => (subfolder: string) => folded(subfolder) === folded(name);
  if (asked === undefined) {
    // A person may list a category of that name.
    return listed?.some(isCalled(DEFAULT_NONE)) ? () => false : isCalled(DEFAULT_NONE);
  }
  if (!subfolders.some(isCalled(asked))) {
    throw new UsageError(`--none ${JSON.stringify(asked)} is not the name of a subfolder with files.`);
  }
  return isCalled(asked);
}

/**
 * @returns the category of each subfolder
 * @throws UsageError if a file lists the categories and one of them is missing; what `readCategories` throws
 */
async function categoriesOf(
  subfolders: readonly string[],
  listed: readonly string[] | undefined,
  { categoriesFile, maxCategories }: LabelledFolderOptions,
): Promise<(subfolder: string) => string> {
  if (listed === undefined) {
    const names = new Map(subfolders.map((name) => [name, spaced(name)]));
    // Refuses what cannot be a category.
    if (names.size > 0) await readCategories({ file: undefined, words: [...names.values()] }, maxCategories);
    return (subfolder) => names.get(subfolder) ?? subfolder;
  }
  const find = (name: string) =>
    listed.find((label) => label === name) ?? listed.find((label) => folded(label) === folded(name));
  const missing = subfolders.filter((name) => find(name) === undefined);
  if (missing.length > 0) {
    const [first] = missing;
    const more = missing.length > 1 ? `, and those of ${missing.length - 1} more subfolders are missing` : '';
    throw new UsageError(
      `${categoriesFile} has no category for the subfolder ${JSON.stringify(first)}${more}. Add it, or name the subfolder of photos that belong to no category with --none.`,
    );
  }
  return (subfolder) => find(subfolder) ?? subfolder;
}

/** A category as words: `golden_retriever` and `golden-retriever` are `golden retriever`. */
function spaced(name: string): string {
  const words = name
    .normalize('NFC')
    .replaceAll(/[_\-\s]+/g, ' ')
    .trim();
  return words === '' ? name : words;
}

function folded(name: string): string {
  return spaced(name).toLowerCase();
}

/** Subfolders without any file, which would otherwise be left out in silence. */
export async function emptySubfolders(
  folder: string,
  { files }: Pick<LabelledFolder, 'files'>,
): Promise<readonly string[]> {
  const used = new Set(files.map(({ file: { subfolder = '' } }) => subfolder.split(sep)[0]));
  const entries = (await readdir(folder)).filter((name) => !name.startsWith('.') && !used.has(name));
  const isFolder = await Promise.all(
    entries.map(async (name) => (await stat(join(folder, name)).catch(() => undefined))?.isDirectory()),
  );
  return entries.filter((_, index) => isFolder[index]).toSorted();
}
