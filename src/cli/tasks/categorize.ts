import type { BrokenFile } from '../answers/answers.ts';
import { isPassing } from '../answers/fault-watch.ts';
import type { Command } from '../arguments.ts';
import { type FoundFile, findFiles } from '../files/find-files.ts';
import { claimFolder } from '../output/claim.ts';
import { fileTable, lineFormats, withTarget } from '../output/line-format.ts';
import { type ContinuedOutput, continueOutput, openStandardOutput } from '../output/output.ts';
import { askedQuestion } from '../output/provenance.ts';
import { createSorter } from '../sorting/sorter.ts';
import { type CommandTerminal, createProgress } from '../terminal.ts';
import { orFault, reportLeftOut, type Tally, type TaskParts } from './task.ts';

/** Finds the category of each file, and sorts the files if `sorting` is set. */
export async function categorizeFiles(parts: TaskParts): Promise<void> {
  const { command, labels, terminal, tally, openAnswers, signal } = parts;
  const { sorting } = command;
  const sorter = sorting && createSorter({ ...sorting, labels });
  await using output = await openOutput(command, labels, terminal);
  await using _claim = sorting && !sorting.isDry ? await claimFolder(sorting.directory) : undefined;

  const found = await findFiles(command.paths, {
    ...(sorting && { except: sorting.directory }),
    followLinks: sorting?.action !== 'move',
    signal,
  });
  for (const { path, error } of found.unreadable) {
    // An earlier run may have moved the file.
    if (!output.recorded.has(path)) tally.fault(path, error, 'file_unreadable');
  }
  reportLeftOut(found, parts);

  const sortFile = async (file: string, category: string | null): Promise<void> => {
    if (category === null || sorter === undefined) return;
    await orFault(tally, file, () => sorter.place(file, category));
  };
  const planOf = async (file: string, category: string | null) => {
    if (category === null || sorter === undefined) return null;
    return (await orFault(tally, file, () => sorter.plan(file, category))) ?? null;
  };

  const files: FoundFile[] = [];
  for (const file of found.files) {
    const recorded = output.recorded.get(file.path);
    if (!recorded) files.push(file);
    else if (recorded.kind === 'broken') tally.fault(file.path, recorded.error, recorded.code);
    else {
      signal.throwIfAborted();
      tally.recorded += 1;
      // The earlier run may have been killed between the answer and the sorting.
      await sortFile(file.path, recorded.category);
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
          const { kind: _, ...record } = outcome;
          const { file, category } = record;
          tally.answered += 1;
          if (category === null) tally.undecided += 1;
          if (sorting?.isDry) await output.write({ ...record, to: await planOf(file, category) });
          else {
            // The answer is written first: if the run is killed before the move, the next run sorts the file.
            await output.write(record);
            await sortFile(file, category);
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
  if (!sorting?.isDry) await sorter?.finish();
}

function openOutput(
  { format, output, sorting, question }: Command,
  labels: readonly string[],
  terminal: CommandTerminal,
): Promise<ContinuedOutput> {
  const lines = lineFormats[format];
  if (output !== undefined) {
    return continueOutput(output, lines, askedQuestion(labels, question));
  }
  const table = sorting?.isDry ? withTarget(fileTable) : fileTable;
  return openStandardOutput(terminal.print, lines, table);
}

/** Records faults of a file's content. Faults of the disk or the engine are not recorded: the next run tries the file again. */
async function takeBroken(broken: BrokenFile, output: ContinuedOutput, tally: Tally): Promise<void> {
  const { kind: _, ...record } = broken;
  tally.fault(record.file, record.error, record.code);
  if (!isPassing(record)) await output.write(record);
}
