import type { CommandTerminal } from './command-terminal.ts';
import { createPace } from './pace.ts';

export interface ProgressOptions {
  readonly terminal: CommandTerminal;
  /** What is counted: `files`, `seconds of video`. */
  readonly unit: string;
  readonly isQuiet: boolean;
  /** A steady clock, in milliseconds. */
  readonly now?: () => number;
}

/** Tells how far the work has come: a bar on a terminal, now and then a line elsewhere. */
export interface Progress {
  /** @param remarks further counts, such as `3 broken` */
  show(done: number, total: number, remarks?: readonly string[]): void;
  /** Removes the bar. */
  end(): void;
}

const REDRAW_EVERY_MS = 100;
const LINE_EVERY_MS = 15_000;
const BAR_CELLS = 16;

export function createProgress({
  terminal,
  unit,
  isQuiet,
  now = () => performance.now(),
}: ProgressOptions): Progress {
  const startMs = now();
  const pace = createPace(startMs);
  let shownAtMs = terminal.isInteractive ? Number.NEGATIVE_INFINITY : startMs;
  return {
    show(done, total, remarks = []) {
      if (isQuiet) return;
      const nowMs = now();
      pace.note(done, nowMs);
      if (nowMs - shownAtMs < (terminal.isInteractive ? REDRAW_EVERY_MS : LINE_EVERY_MS)) return;
      shownAtMs = nowMs;
      const words = describe(done, total, unit, pace.rate, remarks);
      if (terminal.isInteractive) terminal.status(`${bar(done, total)} ${words}`);
      else terminal.note(words);
    },
    end: () => terminal.status(''),
  };
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
