import type { Answers } from '../answers/answers.ts';
import type { Command } from '../arguments.ts';
import type { CommandTerminal } from '../terminal/command-terminal.ts';
import type { Tally } from './tally.ts';

/** What every task works with. */
export interface TaskParts {
  readonly command: Command;
  readonly labels: readonly string[];
  readonly terminal: CommandTerminal;
  readonly tally: Tally;
  /** Called when it is known that there is something to be answered: the model takes a while. */
  readonly openAnswers: () => Promise<Answers>;
  /** Aborted when the person interrupts. */
  readonly signal: AbortSignal;
}
