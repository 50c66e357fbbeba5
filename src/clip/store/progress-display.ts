import type { Log } from '../../log.ts';
import { megabytes } from './storage-error.ts';

/** Progress of a long step. */
export interface LoadingProgress {
  readonly stage: 'searching' | 'downloading' | 'verifying' | 'compiling' | 'warming_up';
  readonly bytesDone?: number;
  readonly bytesTotal?: number;
  /** Of this stage; 0 to 100, a whole number. */
  readonly percent?: number;
  readonly secondsLeft?: number;
}

export type ReportProgress = (progress: LoadingProgress) => void;

/** A whole percentage that is 100 only after the last byte. */
export function percentOf(done: number, total: number): number {
  return total > 0 ? Math.min(100, Math.floor((done / total) * 100)) : 100;
}

/** The part of a terminal that a bar needs. */
export interface Terminal {
  readonly columns?: number | undefined;
  write(text: string): unknown;
}

/** The longest and the shortest time between two log lines about one download. */
export interface LogTimings {
  readonly logAtLeastEveryMs: number;
  readonly logAtMostEveryMs: number;
}

/** Leaves room for the text in a line of 80 columns. */
const BAR_CELLS = 16;
const REDRAW_EVERY_MS = 100;
const LOG_STEP_PERCENT = 5;

/** Shows a download's progress: a bar on a terminal, log lines elsewhere. */
export class ProgressDisplay {
  readonly #log: Log;
  readonly #terminal: Terminal | undefined;
  readonly #timings: LogTimings;
  #drawn = false;
  #shownAtMs = Number.NEGATIVE_INFINITY;
  #shownPercent = 0;

  constructor(log: Log, terminal: Terminal | undefined, timings: LogTimings) {
    this.#log = log;
    this.#terminal = terminal;
    this.#timings = timings;
  }

  /** @param nowMs a steady clock, in milliseconds */
  show(progress: LoadingProgress, nowMs = performance.now()): void {
    if (progress.bytesDone === undefined) return;
    if (this.#terminal !== undefined) this.#draw(this.#terminal, progress, nowMs);
    else this.#logLine(progress, nowMs);
  }

  /** Ends the bar, so that the next output begins on a new line. */
  end(): void {
    if (this.#drawn) this.#terminal?.write('\n');
    this.#drawn = false;
    this.#shownAtMs = Number.NEGATIVE_INFINITY;
    this.#shownPercent = 0;
  }

  #draw(terminal: Terminal, progress: LoadingProgress, nowMs: number): void {
    const complete = progress.percent === 100;
    if (nowMs - this.#shownAtMs < REDRAW_EVERY_MS && !complete) return;
    this.#shownAtMs = nowMs;
    this.#drawn = true;
    const line = `${bar(progress.percent)} ${describeProgress(progress)}`;
    // A wrapped line could not be overwritten.
    terminal.write(`\r\u001b[K${line.slice(0, (terminal.columns ?? 80) - 1)}`);
  }

  #logLine(progress: LoadingProgress, nowMs: number): void {
    const sinceMs = nowMs - this.#shownAtMs;
    const percent = progress.percent ?? 0;
    const stepped =
      percent - this.#shownPercent >= LOG_STEP_PERCENT && sinceMs >= this.#timings.logAtMostEveryMs;
    if (!stepped && sinceMs < this.#timings.logAtLeastEveryMs) return;
    this.#shownAtMs = nowMs;
    this.#shownPercent = percent;
    this.#log.info({ ...progress }, describeProgress(progress));
  }
}

function bar(percent: number | undefined): string {
  const filled = Math.round(((percent ?? 0) / 100) * BAR_CELLS);
  return `[${'#'.repeat(filled)}${'-'.repeat(BAR_CELLS - filled)}]`;
}

/** `downloading: 120 MB of 354 MB, 33 %, 1 min 20 s left` */
export function describeProgress(progress: LoadingProgress): string {
  const parts: string[] = [];
  if (progress.bytesDone !== undefined) {
    const total = progress.bytesTotal === undefined ? '' : ` of ${megabytes(progress.bytesTotal)}`;
    parts.push(`${megabytes(progress.bytesDone)}${total}`);
  }
  if (progress.percent !== undefined) parts.push(`${progress.percent} %`);
  if (progress.secondsLeft !== undefined) parts.push(`${describeSeconds(progress.secondsLeft)} left`);
  return parts.length === 0 ? progress.stage : `${progress.stage}: ${parts.join(', ')}`;
}

function describeSeconds(seconds: number): string {
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
  return `${Math.floor(seconds / 3600)} h ${Math.floor((seconds % 3600) / 60)} min`;
}
