import { ModelStoreError } from '../clip/store/storage-error.ts';
import { ConfigError, parseConfig } from '../config.ts';
import { ServiceError } from '../errors.ts';
import { type Command, help, parseCommand, readCategories } from './arguments.ts';
import { openAnswers } from './open-answers.ts';
import { findBestFiles, findBestFrames } from './tasks/best.ts';
import { categorizeFiles } from './tasks/categorize.ts';
import { mergeParts } from './tasks/merge.ts';
import { removeKeywordsOfFiles } from './tasks/remove-keywords.ts';
import { findDuplicates, findSimilarFiles, searchFiles } from './tasks/search.ts';
import { classifyShard } from './tasks/shard.ts';
import { createTally } from './tasks/task.ts';
import { undoMoves } from './tasks/undo.ts';
import { createCommandTerminal, ReaderGoneError } from './terminal.ts';
import { UsageError } from './usage-error.ts';

const exitCodes = { ok: 0, filesBroken: 1, impossible: 2, interrupted: 130 } as const;

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

const terminal = createCommandTerminal(process.stdout, process.stderr);
const stopping = new AbortController();
process.stdout.on('error', (fault) =>
  stopping.abort(new ReaderGoneError('standard output is closed', { cause: fault })),
);
process.stderr.on('error', () => undefined);
/** The terminal sends Ctrl-C to `bun run` and to this process, and `bun run` passes it on: it arrives twice. */
const ECHO_MS = 500;
let stoppedAtMs = Number.POSITIVE_INFINITY;
for (const name of ['SIGINT', 'SIGTERM'] as const) {
  process.on(name, () => {
    // A second Ctrl-C ends the process at once.
    if (performance.now() - stoppedAtMs > ECHO_MS) process.exit(exitCodes.interrupted);
    if (stopping.signal.aborted) return;
    stoppedAtMs = performance.now();
    stopping.abort(new Error(`stopped by ${name}`));
  });
}

async function run(command: Command): Promise<number> {
  const { signal } = stopping;
  const { server, isQuiet } = command;
  const config = parseConfig(undefined, []);
  // The server checks its own limit.
  const maxCategories = server ? Number.POSITIVE_INFINITY : config.limits.categories;
  const categories = isAboutCategories(command)
    ? await readCategories(command.categories, maxCategories)
    : { labels: [] };
  const question = { ...command.question, categories };
  const tally = createTally(terminal);
  try {
    await tasks[command.task]({
      command,
      labels: categories.labels,
      terminal,
      tally,
      config,
      openAnswers: () => openAnswers({ command, question, config, terminal, signal }),
      signal,
    });
  } catch (fault) {
    if (!signal.aborted) throw fault;
    const isPipeClosed = signal.reason instanceof ReaderGoneError;
    if (!isQuiet && !isPipeClosed) terminal.note(`Interrupted: ${tally.summary()}${continuing(command)}`);
    return exitCodes.interrupted;
  }
  if (!isQuiet) terminal.note(tally.summary());
  // The errors of broken photos are in the part, which is complete: running it again would change nothing.
  const faults =
    command.task === 'shard' && command.output !== undefined ? tally.left : tally.left + tally.faults;
  return faults > 0 ? exitCodes.filesBroken : exitCodes.ok;
}

function isAboutCategories({ task }: Command): boolean {
  return task === 'categorize' || task === 'shard' || task === 'best' || task === 'video';
}

function continuing({ output, task, index }: Command): string {
  const isRemembered = task !== 'video' && index.isUsed;
  const isContinued = isRemembered || (output !== undefined && (task === 'categorize' || task === 'shard'));
  return isContinued ? ' Run the same command again to continue.' : '';
}

/** @returns the sentence of a fault that the person can correct; undefined for a bug */
function sentenceOf(fault: unknown): string | undefined {
  const isExpected =
    fault instanceof UsageError ||
    fault instanceof ConfigError ||
    fault instanceof ModelStoreError ||
    fault instanceof ServiceError;
  return isExpected ? fault.message : undefined;
}

/** Prints the stack line by line, because `note` escapes line feeds: the message may contain a file name. */
function noteBug(fault: unknown): void {
  for (const line of `This is a bug: ${Bun.inspect(fault)}`.split('\n')) terminal.note(line);
}

async function main(): Promise<number> {
  try {
    const command = parseCommand(process.argv.slice(2));
    if (command !== 'help') return await run(command);
    await terminal.print(help);
    return exitCodes.ok;
  } catch (fault) {
    if (fault instanceof ReaderGoneError) return exitCodes.interrupted;
    const sentence = sentenceOf(fault);
    if (sentence === undefined) noteBug(fault);
    else terminal.note(sentence);
    if (process.argv.length <= 2) terminal.note('See --help.');
    return exitCodes.impossible;
  }
}

process.exit(await main());
