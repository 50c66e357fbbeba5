import { basename, dirname, join, resolve } from 'node:path';
import { createCompanions, renamedWith } from '../files/companions.ts';
import { claimFolder } from '../output/claim.ts';
import { lineFormats, type Table } from '../output/line-format.ts';
import { openStandardOutput } from '../output/output.ts';
import { fileOperations as operations } from '../sorting/file-operations.ts';
import { type FileMove, logUndone, readMoveLog, undoMove } from '../sorting/move-log.ts';
import type { TaskParts } from './task.ts';

const table: Table = { columns: ['file', 'to'], words: ['file', 'to'] };

/** Moves all files of a log back, the last one first. What cannot be moved back is named and stays where it is. */
export async function undoMoves({ command, terminal, tally, signal }: TaskParts): Promise<void> {
  const [log = ''] = command.paths;
  const { isDry } = command;
  tally.verb = isDry ? 'would be moved back' : 'moved back';
  const { moves, started } = await readMoveLog(log);
  const directory = dirname(resolve(log));
  await using _claim = isDry ? undefined : await claimFolder(directory);
  await using output = await openStandardOutput(terminal.print, lineFormats[command.format], table);
  const companions = createCompanions();
  const logged = new Set(moves.flatMap(({ files }) => files.map(({ to }) => to)));
  /** Those that programs have made since. Older ones may belong to other photos. */
  const companionsOf = async ({ from, to }: FileMove): Promise<readonly FileMove[]> => {
    const found: FileMove[] = [];
    for (const path of await companions.of(to)) {
      const facts = await operations.facts(path);
      if (logged.has(path) || !facts?.isFile() || facts.mtimeNs < BigInt(started) * 1_000_000n) continue;
      const name = renamedWith(basename(path), basename(to), basename(from));
      found.push({ from: join(dirname(from), name), to: path });
    }
    return found;
  };
  const emptied = new Set<string>();
  for (const move of moves.toReversed()) {
    if (move.state === 'cancelled' || move.state === 'undone') continue;
    signal.throwIfAborted();
    const outcomes = await undoMove(move, { operations, companionsOf, isDry });
    let isUndone = true;
    for (const outcome of outcomes) {
      if (outcome.kind === 'fault') {
        isUndone = false;
        tally.fault(outcome.path, outcome.error, 'not_sorted');
      } else {
        tally.answered += 1;
        emptied.add(dirname(outcome.to));
        await output.write({ file: outcome.to, to: outcome.from });
      }
    }
    if (isUndone && !isDry) await logUndone(operations, log, move);
  }
  if (!isDry) for (const folder of emptied) await removeEmptyUpTo(folder, directory);
}

async function removeEmptyUpTo(folder: string, directory: string): Promise<void> {
  for (let at = folder; at.startsWith(`${directory}/`); at = dirname(at)) await operations.removeEmpty(at);
}
