import { stat } from 'node:fs/promises';
import { errorMeanings } from '../../contract/codes.ts';
import { frameName } from '../../contract/frame-name.ts';
import { ServiceError } from '../../errors.ts';
import type { BestFile } from '../answers/answers.ts';
import { ServerError } from '../answers/server-client.ts';
import { createCompanions } from '../files/companions.ts';
import { findFiles } from '../files/find-files.ts';
import { claimFolder } from '../output/claim.ts';
import {
  bestFileTable,
  bestFrameTable,
  lineFormats,
  type OutputRecord,
  withColumns,
} from '../output/line-format.ts';
import { reserveOutput } from '../output/output.ts';
import { createSorter } from '../sorting/sorter.ts';
import { createProgress } from '../terminal.ts';
import { reasonOf } from '../usage-error.ts';
import {
  noteIfNothingFound,
  orFault,
  placeFile,
  reportLeftOut,
  subfoldersOf,
  type TaskParts,
  withoutCompanions,
  writeRecords,
} from './task.ts';

/**
 * Finds the best file for each category. All files are compared with each other, so all answers come at the end.
 * Until then 2 KB of each picture stay in memory.
 */
export async function findBestFiles(parts: TaskParts): Promise<void> {
  const { command, terminal, tally, openAnswers, signal } = parts;
  const { labels } = parts.categories;
  const { sorting, output } = command;
  await using reserved = output === undefined ? undefined : await reserveOutput(output);
  await using _claim = sorting && !command.isDry ? await claimFolder(sorting.directory) : undefined;
  const found = await findFiles(command.paths, {
    ...(sorting && { except: sorting.directory }),
    followLinks: true,
    signal,
  });
  for (const { path, error } of found.unreadable) tally.fault(path, error, 'file_unreadable');
  reportLeftOut(found, parts);
  const { files } = sorting ? await withoutCompanions(found.files, createCompanions(), tally) : found;
  if (files.length === 0) return noteIfNothingFound(parts);

  await using answers = await openAnswers();
  const progress = createProgress({ terminal, unit: 'files', isQuiet: command.isQuiet });
  let done = 0;
  let left = 0;
  const answer = await answers
    .best(files, (outcome) => {
      if (outcome.kind === 'warned') return terminal.note(`${outcome.file}: ${outcome.warning}`);
      if (outcome.kind === 'broken') tally.fault(outcome.file, outcome.error, outcome.code);
      if (outcome.kind === 'skipped') tally.skip(outcome.what);
      if (outcome.kind !== 'taken') left += 1;
      // A picture that was accepted may be reported again as broken.
      done = Math.min(done + 1, files.length);
      progress.show(done, files.length, tally.remarks());
    })
    .finally(() => progress.end());
  tally.model = answers.model;
  tally.fromIndex = answers.counts?.fromIndex ?? 0;
  tally.answered = files.length - left;
  tally.undecided = answer.filter(({ file }) => file === null).length;

  const sorter =
    sorting && createSorter({ ...sorting, labels, subfolderOf: subfoldersOf(command, found.files) });
  const sorted = async (best: BestFile) => {
    signal.throwIfAborted();
    const { file, category } = best;
    if (file === null || sorter === undefined) return command.isDry ? { ...best, to: null } : best;
    if (!command.isDry) {
      await placeFile(file, category, { sorter, tally });
      return best;
    }
    return { ...best, to: (await orFault(tally, file, () => sorter.plan(file, category))) ?? null };
  };
  const records: OutputRecord[] = [];
  for (const best of answer) records.push({ ...(await sorted(best)) });
  if (!command.isDry) await sorter?.finish();
  if (!command.isListed) return;
  const table = command.isDry ? withColumns(bestFileTable, ['to']) : bestFileTable;
  await writeRecords(reserved, records, { format: lineFormats[command.format], table, terminal });
}

/** Finds the best frame of a video for each category, and saves the frames if `sorting` is set. */
export async function findBestFrames(parts: TaskParts): Promise<void> {
  const { command, terminal, tally, openAnswers } = parts;
  const { labels } = parts.categories;
  const { sorting, output } = command;
  const [path = ''] = command.paths;
  await using reserved = output === undefined ? undefined : await reserveOutput(output);
  await using _claim = sorting && !command.isDry ? await claimFolder(sorting.directory) : undefined;
  const fault = await faultOf(path);
  if (fault !== undefined) return tally.fault(path, fault);

  const sorter = sorting && createSorter({ ...sorting, labels });
  const keep = async (timestamp: number, categories: readonly string[], jpeg: Uint8Array) => {
    const name = frameName(path, timestamp);
    for (const category of categories) {
      await orFault(tally, name, async () => sorter?.placeBytes(name, jpeg, path, category));
    }
  };
  await using answers = await openAnswers();
  const progress = createProgress({ terminal, unit: 'seconds of video', isQuiet: command.isQuiet });
  const answer = await answers
    .video({
      ...command.videoOptions,
      path,
      onProgress(secondsDone, secondsTotal) {
        if (secondsTotal !== undefined) progress.show(secondsDone, secondsTotal);
      },
      ...(sorter && { takeJpeg: keep }),
    })
    .catch((fault: unknown) => {
      if (!isFaultOfVideo(fault)) throw fault;
      tally.fault(path, fault.message);
      return undefined;
    })
    .finally(() => progress.end());
  tally.model = answers.model;
  if (!answer) return;

  for (const warning of answer.warnings) terminal.note(`${path}: ${warning}`);
  const records = [];
  for (const { category, ...best } of answer.frames) {
    const file = best.timestamp === null ? null : frameName(path, best.timestamp);
    if (file === null) tally.undecided += 1;
    tally.answered += 1;
    records.push({ category, file, ...best });
  }
  await sorter?.finish();
  await writeRecords(reserved, records, {
    format: lineFormats[command.format],
    table: bestFrameTable,
    terminal,
  });
}

async function faultOf(path: string): Promise<string | undefined> {
  try {
    return (await stat(path)).isFile() ? undefined : 'It is not a file.';
  } catch (fault) {
    return `It cannot be read, because ${reasonOf(fault)}.`;
  }
}

function isFaultOfVideo(fault: unknown): fault is ServiceError | ServerError {
  if (fault instanceof ServerError) return fault.about === 'file';
  return fault instanceof ServiceError && errorMeanings[fault.code].about === 'file';
}
