import type { BestFile } from '../answers/answers.ts';
import { findFiles } from '../files/find-files.ts';
import { claimFolder } from '../output/claim.ts';
import { bestFileTable, lineFormats, type OutputRecord, withTarget } from '../output/line-format.ts';
import { reserveOutput } from '../output/output.ts';
import { createSorter } from '../sorting/sorter.ts';
import { createProgress } from '../terminal/progress.ts';
import { countLeftOut, orFault, type TaskParts, writeRecords } from './task.ts';

/**
 * Finds the file that fits each category best. All files are compared with each other, so all answers come at the
 * end; until then 2 KB of each picture are kept.
 */
export async function findBestFiles(parts: TaskParts): Promise<void> {
  const { command, labels, terminal, tally, openAnswers, signal } = parts;
  const { sorting, output } = command;
  await using reserved = output === undefined ? undefined : await reserveOutput(output);
  await using _claim = sorting && !sorting.isDry ? await claimFolder(sorting.directory) : undefined;
  const found = await findFiles(command.paths, {
    ...(sorting && { except: sorting.directory }),
    followLinks: true,
    signal,
  });
  for (const { path, error } of found.unreadable) tally.fault(path, error);
  countLeftOut(found, tally);
  if (found.files.length === 0) return;

  await using answers = await openAnswers();
  const progress = createProgress({ terminal, unit: 'files', isQuiet: command.isQuiet });
  let done = 0;
  let left = 0;
  const answer = await answers
    .best(found.files, (outcome) => {
      if (outcome.kind === 'broken') tally.fault(outcome.file, outcome.error);
      if (outcome.kind === 'skipped') tally.skip(outcome.what);
      if (outcome.kind !== 'taken') left += 1;
      // A picture that was taken may turn out to be broken later.
      done = Math.min(done + 1, found.files.length);
      progress.show(done, found.files.length, tally.remarks());
    })
    .finally(() => progress.end());
  tally.model = answers.model;
  tally.answered = found.files.length - left;
  tally.undecided = answer.filter(({ file }) => file === null).length;

  const sorter = sorting && createSorter({ ...sorting, labels });
  const sorted = async (best: BestFile) => {
    signal.throwIfAborted();
    const { file, category } = best;
    const sort = sorting?.isDry ? sorter?.plan : sorter?.place;
    const target = file === null ? undefined : await orFault(tally, file, async () => sort?.(file, category));
    return sorting?.isDry ? { ...best, to: target ?? null } : best;
  };
  const records: OutputRecord[] = [];
  for (const best of answer) records.push({ ...(await sorted(best)) });
  if (!sorting?.isDry) await sorter?.finish();
  const table = sorting?.isDry ? withTarget(bestFileTable) : bestFileTable;
  await writeRecords(reserved, records, { format: lineFormats[command.format], table, terminal });
}
