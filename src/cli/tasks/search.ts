import type { PhotoLibrary, TellFile } from '../answers/answers.ts';
import { type FoundFile, findFiles } from '../files/find-files.ts';
import {
  duplicateFileTable,
  lineFormats,
  type OutputRecord,
  similarFileTable,
} from '../output/line-format.ts';
import { type ReservedOutput, reserveOutput } from '../output/output.ts';
import { createProgress } from '../terminal.ts';
import { UsageError } from '../usage-error.ts';
import { reportLeftOut, type TaskParts, writeRecords } from './task.ts';

interface Ask {
  readonly library: PhotoLibrary;
  readonly files: readonly FoundFile[];
  readonly tell: TellFile;
}

/** Lists the photos that fit words, best first. */
export function searchFiles(parts: TaskParts): Promise<void> {
  const { search } = parts.command;
  parts.tally.verb = 'searched';
  return askLibrary(parts, similarFileTable, ({ library, files, tell }) =>
    library.search(search.subject, files, search, tell),
  );
}

/** Lists the photos that look like one photo, best first. */
export function findSimilarFiles(parts: TaskParts): Promise<void> {
  const { search } = parts.command;
  const { tally } = parts;
  tally.verb = 'searched';
  return askLibrary(parts, similarFileTable, async ({ library, files, tell }) => {
    const photo = { path: search.subject, isNamed: true };
    const found = await library.similar(photo, files, search, tell);
    if (!('kind' in found)) return found;
    tally.fault(found.file, found.error, found.code);
    return [];
  });
}

/** Lists the photos that look almost the same, in groups. */
export function findDuplicates(parts: TaskParts): Promise<void> {
  const { command, terminal, tally } = parts;
  tally.verb = 'compared';
  return askLibrary(parts, duplicateFileTable, async ({ library, files, tell }) => {
    const progress = createProgress({ terminal, unit: 'photos compared', isQuiet: command.isQuiet });
    try {
      return await library.duplicates(files, command.search.minSimilarity, tell, (done, total) =>
        progress.show(done, total),
      );
    } finally {
      progress.end();
    }
  });
}

async function askLibrary(
  parts: TaskParts,
  table: typeof similarFileTable,
  ask: (asking: Ask) => Promise<readonly object[]>,
): Promise<void> {
  const { command, terminal, tally, openAnswers, signal } = parts;
  const { output, format } = command;
  await using reserved: ReservedOutput | undefined =
    output === undefined ? undefined : await reserveOutput(output);
  const found = await findFiles(command.paths, { followLinks: true, signal });
  for (const { path, error } of found.unreadable) tally.fault(path, error, 'file_unreadable');
  reportLeftOut(found, parts);
  const records: OutputRecord[] = [];
  if (found.files.length > 0) {
    await using answers = await openAnswers();
    const { library } = answers;
    if (!library) {
      throw new UsageError(
        `The server gives no embeddings, which ${command.task} needs. Leave out --server, or update the server.`,
      );
    }
    const progress = createProgress({ terminal, unit: 'files', isQuiet: command.isQuiet });
    let done = 0;
    const tell: TellFile = (outcome) => {
      if (outcome.kind === 'broken') tally.fault(outcome.file, outcome.error, outcome.code);
      else if (outcome.kind === 'skipped') tally.skip(outcome.what);
      else tally.answered += 1;
      done += 1;
      progress.show(done, found.files.length, tally.remarks());
      if (done === found.files.length) progress.end();
    };
    try {
      for (const record of await ask({ library, files: found.files, tell })) records.push({ ...record });
    } finally {
      progress.end();
    }
    tally.model = answers.model;
    tally.fromIndex = answers.counts?.fromIndex ?? 0;
  }
  await writeRecords(reserved, records, { format: lineFormats[format], table, terminal });
}
