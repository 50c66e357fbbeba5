import { parseConfig } from '../config.ts';
import { type Command, help, parseCommand, readCategories } from './arguments.ts';
import { openAnswers } from './open-answers.ts';
import { type ProgramParts, runProgram } from './program.ts';
import { findBestFiles, findBestFrames } from './tasks/best.ts';
import { categorizeFiles } from './tasks/categorize.ts';
import { mergeParts } from './tasks/merge.ts';
import { removeKeywordsOfFiles } from './tasks/remove-keywords.ts';
import { findDuplicates, findSimilarFiles, searchFiles } from './tasks/search.ts';
import { classifyShard } from './tasks/shard.ts';
import { undoMoves } from './tasks/undo.ts';

const tasks = {
  categorize: categorizeFiles,
  shard: classifyShard,
  merge: mergeParts,
  best: findBestFiles,
  video: findBestFrames,
  'remove-keywords': removeKeywordsOfFiles,
  undo: undoMoves,
  search: searchFiles,
  similar: findSimilarFiles,
  duplicates: findDuplicates,
} as const;

async function run(command: Command, { terminal, tally, signal }: ProgramParts): Promise<void> {
  const { server } = command;
  const config = parseConfig(undefined, []);
  // The server checks its own limit.
  const maxCategories = server ? Number.POSITIVE_INFINITY : config.limits.categories;
  const categories = isAboutCategories(command)
    ? await readCategories(command.categories, maxCategories)
    : { labels: [] };
  const question = { ...command.question, categories };
  await tasks[command.task]({
    command,
    categories,
    terminal,
    tally,
    config,
    openAnswers: () => openAnswers({ command, question, config, terminal, signal }),
    signal,
  });
}

function isAboutCategories({ task }: Command): boolean {
  return task === 'categorize' || task === 'shard' || task === 'best' || task === 'video';
}

function continuing({ output, task, index }: Command): string {
  const isRemembered = task !== 'video' && index.isUsed;
  const isContinued = isRemembered || (output !== undefined && (task === 'categorize' || task === 'shard'));
  return isContinued ? ' Run the same command again to continue.' : '';
}

await runProgram({ help, parse: parseCommand, run, continuing });
