import type { BestFile } from '../answers/answers.ts';
import { findFiles } from '../files/find-files.ts';
import { claimFolder } from '../output/claim.ts';
import { bestFileTable, lineFormats, type OutputRecord, withTarget } from '../output/line-format.ts';
import { reserveOutput } from '../output/output.ts';
import { createSorter } from '../sorting/sorter.ts';
import { createProgress } from '../terminal/progress.ts';
import { countLeftOut } from './categorize.ts';
import { orFault, type TaskParts, writeRecords } from './task.ts';

/**
 * Answers for every category which file fits it best. All are compared with each other, so that nothing is
 * known before the end: of every picture 2 KB are kept.
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
      // That a picture is broken may turn out when it has been taken already.
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
