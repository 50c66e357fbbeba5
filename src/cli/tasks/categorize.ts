import { isAbsolute } from 'node:path';
import { usesBackground } from '../../classify/decide.ts';
import type { AnsweredFile, BrokenFile } from '../answers/answers.ts';
import { isPassing } from '../answers/fault-watch.ts';
import { createCompanions } from '../files/companions.ts';
import { type FoundFile, findFiles } from '../files/find-files.ts';
import { createKeywordWriter, SidecarError } from '../keywords/sidecar.ts';
import { claimFolder } from '../output/claim.ts';
import { fileTable, lineFormats, severalTable, withColumns } from '../output/line-format.ts';
import { type ContinuedOutput, continueOutput, openStandardOutput } from '../output/output.ts';
import { askedQuestion } from '../output/provenance.ts';
import { createSorter } from '../sorting/sorter.ts';
import { createProgress } from '../terminal.ts';
import { UsageError } from '../usage-error.ts';
import {
  noteIfNothingFound,
  orFault,
  placeFile,
  reportLeftOut,
  subfoldersOf,
  type Tally,
  type TaskParts,
  withoutCompanions,
} from './task.ts';

/** Finds the category of each file, or its categories; sorts the files and writes keywords if that is asked for. */
export async function categorizeFiles(parts: TaskParts): Promise<void> {
  const { command, terminal, tally, openAnswers, signal } = parts;
  const { labels } = parts.categories;
  const { sorting, keywords, isDry } = command;
  warnOfOneCategory(parts);
  const companions = createCompanions();
  let subfolderOf = (_path: string): string => '';
  const sorter =
    sorting && createSorter({ ...sorting, labels, companions, subfolderOf: (path) => subfolderOf(path) });
  const tag =
    keywords && createKeywordWriter({ candidates: labels, naming: keywords.naming, companions, isDry });
  await using output = await openOutput(parts);
  await using _claim = sorting && !isDry ? await claimFolder(sorting.directory) : undefined;
  if (!isDry) await sorter?.recover();

  const found = await findFiles(command.paths, {
    ...(sorting && { except: sorting.directory }),
    followLinks: sorting?.action !== 'move',
    signal,
  });
  subfolderOf = subfoldersOf(command, found.files);
  for (const { path, error } of found.unreadable) {
    // An earlier run may have moved the file.
    if (!output.recorded.has(path)) tally.fault(path, error, 'file_unreadable');
  }
  reportLeftOut(found, parts);

  /** @returns the path of the sidecar that changes */
  const tagFile = async (file: string, categories: readonly string[]): Promise<string | null> => {
    if (tag === undefined) return null;
    try {
      const sidecar = await tag(file, categories);
      if (sidecar !== undefined && !isDry) tally.tagged += 1;
      return sidecar ?? null;
    } catch (fault) {
      if (!(fault instanceof SidecarError)) throw fault;
      tally.fault(file, fault.message, 'sidecar');
      return null;
    }
  };
  const sortFile = async (file: string, categories: readonly string[]): Promise<void> => {
    // Before the sorting, which takes the sidecar along.
    await tagFile(file, categories);
    if (!sorter) return;
    for (const category of categories) await placeFile(file, category, { sorter, tally });
  };
  const planOf = async (file: string, categories: readonly string[]) => {
    const sidecar = await tagFile(file, categories);
    const planned: string[] = [];
    for (const category of sorter ? categories : []) {
      const to = await orFault(tally, file, async () => sorter?.plan(file, category));
      if (to !== undefined) planned.push(to);
    }
    const to = command.question.several ? planned : (planned[0] ?? null);
    return { ...(tag && { sidecar }), ...(sorter && { to }) };
  };

  const files: FoundFile[] = [];
  const candidates = sorting ? await withoutCompanions(found.files, companions, tally) : found;
  for (const file of candidates.files) {
    const recorded = output.recorded.get(file.path);
    if (!recorded) files.push(file);
    else if (recorded.kind === 'broken') tally.fault(file.path, recorded.error, recorded.code);
    else {
      signal.throwIfAborted();
      tally.recorded += 1;
      // The earlier run may have been killed between the answer and the sorting.
      await sortFile(file.path, recorded.categories);
    }
  }

  if (files.length > 0) {
    await output.observe(files.map(({ path }) => path));
    await using answers = await openAnswers();
    const progress = createProgress({ terminal, unit: 'files', isQuiet: command.isQuiet });
    let done = 0;
    try {
      progress.show(0, files.length);
      for await (const outcome of answers.categorize(files)) {
        signal.throwIfAborted();
        if (answers.model) await output.answeredBy(answers.model);
        if (outcome.kind === 'skipped') tally.skip(outcome.what);
        else if (outcome.kind === 'broken') await takeBroken(outcome, output, tally);
        else {
          const { kind: _, warning, ...record } = outcome;
          const { file } = record;
          const answers = categoriesOf(record);
          if (warning !== undefined) terminal.note(`${file}: ${warning}`);
          tally.answered += 1;
          if (answers.length === 0) tally.undecided += 1;
          if (isDry) await output.write({ ...record, ...(await planOf(file, answers)) });
          else {
            // The answer is written first: if the run is killed before the move, the next run sorts the file.
            await output.write(record);
            await sortFile(file, answers);
          }
        }
        done += 1;
        progress.show(done, files.length, tally.remarks());
      }
    } finally {
      progress.end();
      tally.model = answers.model;
      tally.fromIndex = answers.counts?.fromIndex ?? 0;
    }
  }
  if (!isDry) await sorter?.finish();
  noteIfNothingFound(parts);
  if (sorter?.log !== undefined && !command.isQuiet) {
    terminal.note(`To move the files back: bun run classify undo ${quoted(sorter.log)}`);
  }
}

/** None: nothing is good enough. */
function categoriesOf({ category, categories }: Pick<AnsweredFile, 'category' | 'categories'>) {
  return categories ?? (category === null ? [] : [category]);
}

/** @throws UsageError if the answers would change files */
function warnOfOneCategory({ command, categories, terminal }: TaskParts): void {
  if (categories.labels.length !== 1 || usesBackground(command.question)) return;
  const sentence =
    'There is only one category, so it fits every photo at 100 %. Add --others to leave out photos that do not fit it, or add another category.';
  const changes = command.keywords !== undefined || command.sorting?.action === 'move';
  if (changes && !command.isDry && !command.isConfirmed) {
    const what = command.sorting?.action === 'move' ? 'move' : 'give a keyword to';
    throw new UsageError(`${sentence} To ${what} all photos, add --yes; to find the best one, use --best.`);
  }
  terminal.note(sentence);
}

/** A path for a shell. */
function quoted(path: string): string {
  return /^[\w./-]+$/.test(path) ? path : `'${path.replaceAll("'", "'\\''")}'`;
}

function openOutput({ command, categories, terminal }: TaskParts): Promise<ContinuedOutput> {
  const { format, output, paths, sorting, keywords, question, isDry, isListed } = command;
  const lines = lineFormats[format];
  if (output !== undefined) {
    const pathsFrom = paths.every((path) => isAbsolute(path)) ? null : process.cwd();
    return continueOutput(output, lines, { ...askedQuestion(categories, question), paths_from: pathsFrom });
  }
  const planned = [...(keywords ? ['sidecar'] : []), ...(sorting ? ['to'] : [])];
  const print = isListed ? terminal.print : async () => undefined;
  const table = question.several ? severalTable : fileTable;
  return openStandardOutput(print, lines, isDry ? withColumns(table, planned) : table);
}

/** Records faults of a file's content. Faults of the disk or the engine are not recorded: the next run tries the file again. */
async function takeBroken(broken: BrokenFile, output: ContinuedOutput, tally: Tally): Promise<void> {
  const { kind: _, ...record } = broken;
  tally.fault(record.file, record.error, record.code);
  if (!isPassing(record)) await output.write(record);
}
