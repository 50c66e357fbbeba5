import type { AnsweringModel } from '../output/provenance.ts';
import type { CommandTerminal } from '../terminal/command-terminal.ts';
import { count, duration } from '../terminal/progress.ts';

/** Counts the outcomes, for the last line and the exit code. */
export interface Tally {
  /** Answered in this run. */
  answered: number;
  /** Answered in an earlier one. */
  recorded: number;
  /** Answers that are null, because the best candidate is not good enough. */
  undecided: number;
  /** Files that cannot be used; each was named. */
  readonly faults: number;
  model: AnsweringModel | undefined;
  /** Names a file that cannot be used. */
  fault(file: string, error: string): void;
  /** Counts files of folders that are not pictures. */
  skip(what: string, number?: number): void;
  /** Such as `3 broken`: for the status line. */
  remarks(): readonly string[];
  summary(): string;
}

const MOST_KINDS = 3;
/** A rate is shown after this time: the seconds include the start of the model. */
const RATE_AFTER_SECONDS = 5;

export function createTally(terminal: CommandTerminal, now = () => performance.now()): Tally {
  const startMs = now();
  const skipped = new Map<string, number>();
  let faults = 0;
  const skippedCount = () => skipped.values().reduce((sum, number) => sum + number, 0);
  const faultRemark = () => (faults > 0 ? [`${count(faults)} broken`] : []);

  return {
    answered: 0,
    recorded: 0,
    undecided: 0,
    model: undefined,
    get faults() {
      return faults;
    },
    fault(file, error) {
      faults += 1;
      terminal.note(`${file}: ${error}`);
    },
    skip(what, number = 1) {
      if (number > 0) skipped.set(what, (skipped.get(what) ?? 0) + number);
    },
    remarks: () => [...faultRemark(), ...(skipped.size > 0 ? [`${count(skippedCount())} skipped`] : [])],
    summary() {
      const seconds = (now() - startMs) / 1000;
      const isTelling = seconds >= RATE_AFTER_SECONDS && this.answered > 0;
      const rate = isTelling ? ` (${(this.answered / seconds).toFixed(1)}/s)` : '';
      const parts = [`${count(this.answered)} answered in ${duration(seconds)}${rate}`];
      if (this.recorded > 0) parts.push(`${count(this.recorded)} had been answered before`);
      if (this.undecided > 0) parts.push(`${count(this.undecided)} below the threshold`);
      parts.push(...faultRemark());
      if (skipped.size > 0) parts.push(`${count(skippedCount())} skipped (${describeKinds(skipped)})`);
      if (this.model !== undefined) parts.push(`model ${this.model.name}, ${this.model.precision}`);
      return `${parts.join(', ')}.`;
    },
  };
}

/** `12 text, 3 a HEIC picture, 2 of other kinds` */
function describeKinds(kinds: ReadonlyMap<string, number>): string {
  const sorted = [...kinds].toSorted(([, a], [, b]) => b - a);
  const named = sorted.slice(0, MOST_KINDS).map(([what, number]) => `${count(number)} ${what}`);
  const others = sorted.slice(MOST_KINDS).reduce((sum, [, number]) => sum + number, 0);
  return [...named, ...(others > 0 ? [`${count(others)} of other kinds`] : [])].join(', ');
}
