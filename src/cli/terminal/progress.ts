import type { CommandTerminal } from './command-terminal.ts';
import { createPace } from './pace.ts';

export interface ProgressOptions {
  readonly terminal: CommandTerminal;
  /** What is counted: `files`, `seconds of video`. */
  readonly unit: string;
  readonly isQuiet: boolean;
  /** A steady clock, in milliseconds. */
  readonly now?: () => number;
  /** Calls again and again. @returns what ends it */
  readonly repeat?: (everyMs: number, tick: () => void) => () => void;
}

/** Tells how far the work has come: a bar on a terminal, now and then a line elsewhere. */
export interface Progress {
  /**
   * Notes how far it is; what was noted last is shown at the next tick, so that files that are answered
   * together count together.
   * @param remarks further counts, such as `3 broken`
   */
  show(done: number, total: number, remarks?: readonly string[]): void;
  /** Removes the bar. */
  end(): void;
}

const REDRAW_EVERY_MS = 200;
const LINE_EVERY_MS = 15_000;
const BAR_CELLS = 16;

export function createProgress({
  terminal,
  unit,
  isQuiet,
  now = () => performance.now(),
  repeat = repeatedly,
}: ProgressOptions): Progress {
  if (isQuiet) return { show: () => undefined, end: () => undefined };
  const pace = createPace(now());
  let latest: { done: number; total: number; remarks: readonly string[] } | undefined;
  const stop = repeat(terminal.isInteractive ? REDRAW_EVERY_MS : LINE_EVERY_MS, () => {
    if (!latest) return;
    const { done, total, remarks } = latest;
    pace.note(done, now());
    const words = describe(done, total, unit, pace.rate, remarks);
    if (terminal.isInteractive) terminal.status(`${bar(done, total)} ${words}`);
    else terminal.note(words);
  });
  return {
    show(done, total, remarks = []) {
      latest = { done, total, remarks };
    },
    end() {
      stop();
      terminal.status('');
    },
  };
}

function repeatedly(everyMs: number, tick: () => void): () => void {
  const timer = setInterval(tick, everyMs);
  return () => clearInterval(timer);
}

function describe(
  done: number,
  total: number,
  unit: string,
  rate: number,
  remarks: readonly string[],
): string {
  const parts = [`${count(done)} of ${count(total)} ${unit}`];
  if (rate > 0) parts.push(`${rate.toFixed(rate < 10 ? 1 : 0)}/s`, `${duration((total - done) / rate)} left`);
  return [...parts, ...remarks].join(', ');
}

function bar(done: number, total: number): string {
  const filled = total > 0 ? Math.floor((Math.min(done, total) / total) * BAR_CELLS) : 0;
  return `[${'#'.repeat(filled)}${'-'.repeat(BAR_CELLS - filled)}]`;
}

/** `50,000` */
export function count(number: number): string {
  return Math.floor(number).toLocaleString('en-GB');
}

/** `48 s`, `3 min 20 s`, `2 h 5 min` */
export function duration(seconds: number): string {
  const whole = Math.ceil(seconds);
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
}
