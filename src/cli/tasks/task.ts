import type { Categories } from '../../classify/classifier.ts';
import { mediumOf } from '../../contract/media-endings.ts';
import type { Answers } from '../answers/answers.ts';
import type { Command } from '../arguments.ts';
import type { Companions } from '../files/companions.ts';
import type { FoundFile, FoundFiles } from '../files/find-files.ts';
import type { LineFormat, OutputRecord, Table } from '../output/line-format.ts';
import { openStandardOutput, type ReservedOutput } from '../output/output.ts';
import type { AnsweringModel } from '../output/provenance.ts';
import { NotSortedError } from '../sorting/file-operations.ts';
import type { Sorter } from '../sorting/sorter.ts';
import { type CommandTerminal, count, duration } from '../terminal.ts';

/** Runs one step of sorting. A file that cannot be sorted is reported, and the run continues. */
export async function orFault<T>(tally: Tally, file: string, sort: () => Promise<T>): Promise<T | undefined> {
  try {
    return await sort();
  } catch (fault) {
    if (!(fault instanceof NotSortedError)) throw fault;
    tally.fault(file, fault.message, 'not_sorted');
    return undefined;
  }
}

/** Sorts a file. What cannot be sorted is reported, and the run continues. */
export async function placeFile(
  file: string,
  category: string,
  { sorter, tally }: { readonly sorter: Pick<Sorter, 'place'>; readonly tally: Tally },
): Promise<void> {
  const sorted = await orFault(tally, file, () => sorter.place(file, category));
  if (sorted?.wasThere) tally.wereThere += 1;
  for (const { path, error } of sorted?.left ?? []) tally.fault(path, error, 'not_sorted');
}

/** Leaves out the files that go where their photo goes: they are not classified. */
export async function withoutCompanions(
  files: readonly FoundFile[],
  companions: Companions,
  tally: Tally,
): Promise<{ readonly files: readonly FoundFile[] }> {
  const paths = new Set(files.map(({ path }) => path));
  const kept: FoundFile[] = [];
  for (const file of files) {
    const owner = await companions.ownerOf(file.path);
    if (owner === undefined || !paths.has(owner)) kept.push(file);
    else tally.skip('companion file');
  }
  return { files: kept };
}

/** The function that the sorter needs to keep folders. */
export function subfoldersOf(
  { sorting }: Pick<Command, 'sorting'>,
  files: readonly FoundFile[],
): (path: string) => string {
  if (!sorting?.keepsFolders) return () => '';
  const subfolders = new Map(files.map(({ path, subfolder = '' }) => [path, subfolder]));
  return (path) => subfolders.get(path) ?? '';
}

/**
 * Writes all answers at the end of a task.
 * @param reserved undefined: standard output
 */
export async function writeRecords(
  reserved: ReservedOutput | undefined,
  records: readonly OutputRecord[],
  {
    format,
    table,
    terminal,
  }: { readonly format: LineFormat; readonly table: Table; readonly terminal: CommandTerminal },
): Promise<void> {
  if (reserved !== undefined) return await reserved.write(records, format, table);
  await using output = await openStandardOutput(terminal.print, format, table);
  for (const record of records) await output.write(record);
}

/** Names the pictures and videos that were left out of folders, and counts the other files. */
export function reportLeftOut(
  { leftOut, hidden, links }: Pick<FoundFiles, 'leftOut' | 'hidden' | 'links'>,
  { tally, terminal }: Pick<TaskParts, 'tally' | 'terminal'>,
): void {
  for (const { path, reason, what, number } of leftOut) {
    terminal.note(`${path}: ${reason}`);
    tally.skip(what, number);
  }
  tally.skip('hidden file', hidden);
  tally.skip('symbolic link', links);
}

/** Says why there is no answer if there was nothing to answer. */
export function noteIfNothingFound({ command, terminal, tally }: TaskParts): void {
  if (tally.answered + tally.recorded + tally.faults > 0) return;
  terminal.note(`No pictures found in ${command.paths.join(', ')}.`);
}

export interface TaskParts {
  readonly command: Command;
  readonly categories: Categories;
  readonly terminal: CommandTerminal;
  readonly tally: Tally;
  /** Called only if there is a file to classify, because loading the model takes seconds. */
  readonly openAnswers: () => Promise<Answers>;
  /** Aborted by Ctrl-C. */
  readonly signal: AbortSignal;
}

/** Counts outcomes for the summary and the exit code. */
export interface Tally {
  /** Answered in this run. */
  answered: number;
  /** Of those answered, the ones that the index had. */
  fromIndex: number;
  /** What was done to the files, in the summary. */
  verb: string;
  /** Answered in an earlier run. */
  recorded: number;
  /** Files that did not have to be moved or copied, because they, or equal copies, were there. */
  wereThere: number;
  /** Photos whose sidecars were changed. */
  tagged: number;
  /** Answers without a category, because the best score is below the threshold. */
  undecided: number;
  /** Files that could not be used. */
  readonly faults: number;
  /** Whether broken files are in the output, which is complete with them: running it again would change nothing. */
  recordsFaults: boolean;
  /** Files of a shard that the next run tries again. */
  readonly left: number;
  model: AnsweringModel | undefined;
  /**
   * Counts and reports a file that could not be used.
   * @param code of the fault, for the count by kind
   */
  fault(file: string, error: string, code?: string): void;
  /** Counts and reports a file of a shard that the next run tries again. */
  leave(file: string, error: string): void;
  /**
   * Counts files of folders that are not pictures, or that are left out on purpose.
   * @param what singular, with or without an article: `a HEIC picture`
   */
  skip(what: string, number?: number): void;
  /** For the status line, such as `3 failed`. */
  remarks(): readonly string[];
  summary(): string;
}

const MAX_KINDS = 6;
/** Shorter runs show no rate, because their time includes the start of the model. */
const RATE_AFTER_SECONDS = 5;

export function createTally(terminal: CommandTerminal, now = () => performance.now()): Tally {
  const startMs = now();
  const skipped = new Map<string, number>();
  const faultKinds = new Map<string, number>();
  let faults = 0;
  let left = 0;
  const skippedCount = () => skipped.values().reduce((sum, number) => sum + number, 0);
  const faultRemark = () => (faults > 0 ? [`${count(faults)} failed`] : []);

  return {
    answered: 0,
    fromIndex: 0,
    verb: 'answered',
    recorded: 0,
    undecided: 0,
    wereThere: 0,
    recordsFaults: false,
    tagged: 0,
    model: undefined,
    get faults() {
      return faults;
    },
    get left() {
      return left;
    },
    fault(file, error, code) {
      faults += 1;
      const kind = faultKindOf(file, code);
      faultKinds.set(kind, (faultKinds.get(kind) ?? 0) + 1);
      terminal.note(`${file}: ${error}`);
    },
    leave(file, error) {
      left += 1;
      terminal.note(`${file}: ${error}`);
    },
    skip(what, number = 1) {
      if (number > 0) skipped.set(what, (skipped.get(what) ?? 0) + number);
    },
    remarks: () => [...faultRemark(), ...(skipped.size > 0 ? [`${count(skippedCount())} skipped`] : [])],
    summary() {
      const seconds = (now() - startMs) / 1000;
      const hasRate = seconds >= RATE_AFTER_SECONDS && this.answered > 0;
      const rate = hasRate ? ` (${(this.answered / seconds).toFixed(1)}/s)` : '';
      const parts = [`${count(this.answered)} ${this.verb} in ${duration(seconds)}${rate}`];
      if (this.fromIndex > 0) parts.push(`${count(this.fromIndex)} of them from the index`);
      if (this.recorded > 0) parts.push(`${count(this.recorded)} answered in an earlier run`);
      if (this.undecided > 0) parts.push(`${count(this.undecided)} below the threshold`);
      if (this.tagged > 0) parts.push(`${count(this.tagged)} with new keywords`);
      if (this.wereThere > 0) parts.push(`${count(this.wereThere)} sorted before`);
      if (faults > 0) parts.push(`${count(faults)} failed (${describeKinds(faultKinds)})`);
      if (left > 0) parts.push(`${count(left)} left for the next run`);
      const sentences = [parts.join(', ')];
      if (skipped.size > 0) sentences.push(`${count(skippedCount())} skipped: ${describeKinds(skipped)}`);
      if (this.model !== undefined) sentences.push(`Model: ${this.model.name}, ${this.model.precision}`);
      return `${sentences.join('. ')}.`;
    },
  };
}

const faultNouns: Readonly<Record<string, string>> = {
  file_unreadable: 'unreadable file',
  image_empty: 'empty file',
  image_unsupported: 'of a format that is not accepted',
  image_broken: 'damaged picture',
  image_too_large: 'oversized picture',
  archive_broken: 'damaged tar file',
  not_sorted: 'unsorted file',
  sidecar: 'sidecar that stays unchanged',
};

/** What a file that failed is, singular, for a count. */
function faultKindOf(file: string, code = ''): string {
  if (code === 'image_unsupported' && mediumOf(file)?.kind === 'video') return 'video';
  return faultNouns[code] ?? 'other file';
}

/** `9 text files, 3 HEIC pictures, 2 others` */
function describeKinds(kinds: ReadonlyMap<string, number>): string {
  const sorted = [...kinds].toSorted(([, a], [, b]) => b - a);
  const named = sorted
    .slice(0, MAX_KINDS)
    .map(([what, number]) => `${count(number)} ${nounOf(what, number)}`);
  const others = sorted.slice(MAX_KINDS).reduce((sum, [, number]) => sum + number, 0);
  return [...named, ...(others > 0 ? [`${count(others)} ${others === 1 ? 'other' : 'others'}`] : [])].join(
    ', ',
  );
}

/** @param what as error sentences name a file: `a HEIC picture`, `text`, `of an unknown format` */
function nounOf(what: string, number: number): string {
  const bare = what.replace(/^an? (?:camera’s )?/, '').replace(/ \(or .*\)$/, '');
  if (bare.startsWith('of ')) return `${number === 1 ? 'file' : 'files'} ${bare}`;
  const noun = bare === 'text' ? 'text file' : bare;
  // `raw picture (CR2)`: the ending goes before the parenthesis.
  return number === 1 ? noun : noun.replace(/(?= \(|$)/, 's');
}
