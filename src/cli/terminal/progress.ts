import type { CommandTerminal } from './command-terminal.ts';

/** Long enough that single slow files do not shake it, short enough to follow the machine. */
const WINDOW_MS = 30_000;
/** Fewer are kept than there are ticks. */
const SAMPLE_EVERY_MS = 500;

/** How fast something goes at the moment, and how long it will take. */
interface Pace {
  /** @param done so far */
  note(done: number, nowMs: number): void;
  /** A second, over the last half minute; 0 while it is not known. */
  readonly rate: number;
}

export function createPace(startMs: number): Pace {
  const samples = [{ done: 0, ms: startMs }];
  let latest = { done: 0, ms: startMs };
  return {
    note(done, nowMs) {
      latest = { done, ms: nowMs };
      if (nowMs - (samples.at(-1)?.ms ?? startMs) >= SAMPLE_EVERY_MS) samples.push(latest);
      // One sample from before the window stays: the window begins there.
      while (samples.length > 2 && (samples[1]?.ms ?? nowMs) <= nowMs - WINDOW_MS) samples.shift();
    },
    get rate() {
      const [first] = samples;
      const seconds = (latest.ms - (first?.ms ?? startMs)) / 1000;
      return seconds > 0 ? (latest.done - (first?.done ?? 0)) / seconds : 0;
    },
  };
}

interface ProgressOptions {
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
interface Progress {
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
