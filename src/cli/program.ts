import { ModelStoreError } from '../clip/store/storage-error.ts';
import { ConfigError } from '../config.ts';
import { ServiceError } from '../errors.ts';
import { createTally, type Tally } from './tasks/task.ts';
import { type CommandTerminal, createCommandTerminal, ReaderGoneError } from './terminal.ts';
import { UsageError } from './usage-error.ts';

const exitCodes = { ok: 0, filesBroken: 1, impossible: 2, interrupted: 130 } as const;

/** The terminal sends Ctrl-C to `bun run` and to this process, and `bun run` passes it on: it arrives twice. */
const ECHO_MS = 500;

/** What a program for the terminal works with. */
export interface ProgramParts {
  readonly terminal: CommandTerminal;
  readonly tally: Tally;
  /** Aborted by Ctrl-C. */
  readonly signal: AbortSignal;
}

interface Program<Command extends { readonly isQuiet: boolean }> {
  readonly help: string;
  /** @param argv without the runtime and the script @throws UsageError */
  parse(argv: readonly string[]): Command | 'help';
  run(command: Command, parts: ProgramParts): Promise<void>;
  /** @returns a sentence about going on after Ctrl-C, with a space before it; may be empty */
  continuing(command: Command): string;
}

/** Runs a program until it is done or interrupted, says how it ended, and ends the process with its exit code. */
export async function runProgram<Command extends { readonly isQuiet: boolean }>(
  program: Program<Command>,
): Promise<never> {
  const terminal = createCommandTerminal(process.stdout, process.stderr);
  const stopping = new AbortController();
  process.stdout.on('error', (fault) =>
    stopping.abort(new ReaderGoneError('standard output is closed', { cause: fault })),
  );
  process.stderr.on('error', () => undefined);
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
  process.exit(await exitCodeOf(program, terminal, stopping.signal));
}

async function exitCodeOf<Command extends { readonly isQuiet: boolean }>(
  program: Program<Command>,
  terminal: CommandTerminal,
  signal: AbortSignal,
): Promise<number> {
  try {
    const command = program.parse(process.argv.slice(2));
    if (command !== 'help') return await run(program, command, { terminal, signal });
    await terminal.print(program.help);
    return exitCodes.ok;
  } catch (fault) {
    if (fault instanceof ReaderGoneError) return exitCodes.interrupted;
    const sentence = sentenceOf(fault);
    if (sentence === undefined) noteBug(fault, terminal);
    else terminal.note(sentence);
    if (process.argv.length <= 2) terminal.note('See --help.');
    return exitCodes.impossible;
  }
}

async function run<Command extends { readonly isQuiet: boolean }>(
  program: Program<Command>,
  command: Command,
  { terminal, signal }: Omit<ProgramParts, 'tally'>,
): Promise<number> {
  const tally = createTally(terminal);
  try {
    await program.run(command, { terminal, tally, signal });
  } catch (fault) {
    if (!signal.aborted) throw fault;
    const isPipeClosed = signal.reason instanceof ReaderGoneError;
    if (!command.isQuiet && !isPipeClosed) {
      terminal.note(`Interrupted: ${tally.summary()}${program.continuing(command)}`);
    }
    return exitCodes.interrupted;
  }
  if (!command.isQuiet) terminal.note(tally.summary());
  const failed = tally.left + (tally.recordsFaults ? 0 : tally.faults);
  return failed > 0 ? exitCodes.filesBroken : exitCodes.ok;
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
function noteBug(fault: unknown, terminal: CommandTerminal): void {
  for (const line of `This is a bug: ${Bun.inspect(fault)}`.split('\n')) terminal.note(line);
}
