import { stat } from 'node:fs/promises';
import { frameName } from '../../contract/frame-name.ts';
import { ServiceError } from '../../errors.ts';
import { ServerError } from '../answers/server-client.ts';
import { reasonOf } from '../files/errno.ts';
import { claimFolder } from '../output/claim.ts';
import { bestFrameTable, lineFormats } from '../output/line-format.ts';
import { reserveOutput } from '../output/output.ts';
import { createSorter } from '../sorting/sorter.ts';
import { createProgress } from '../terminal/progress.ts';
import { orFault, type TaskParts, writeRecords } from './task.ts';

/** Finds the frame of a video that fits each category best, and saves these frames where that is asked for. */
export async function findBestFrames(parts: TaskParts): Promise<void> {
  const { command, labels, terminal, tally, openAnswers } = parts;
  const { sorting, output } = command;
  const [path = ''] = command.paths;
  await using reserved = output === undefined ? undefined : await reserveOutput(output);
  await using _claim = sorting && !sorting.isDry ? await claimFolder(sorting.directory) : undefined;
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
  return (
    (fault instanceof ServiceError || fault instanceof ServerError) &&
    fault.code?.startsWith('video_') === true
  );
}
