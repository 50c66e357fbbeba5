import { withoutControls, withoutControlsInLines } from './output/escape-text.ts';

/** The part of a stream that is written to. */
export interface TextStream {
  readonly isTTY?: boolean;
  readonly columns?: number;
  write(text: string, done?: (error?: Error | null) => void): boolean;
}

/** Standard output was closed by its reader, for example by `head`. */
export class ReaderGoneError extends Error {
  override readonly name = 'ReaderGoneError';
}

/**
 * Answers go to standard output, everything else to standard error. On a terminal the status line is removed
 * before a line is written, and drawn again below it.
 */
export interface CommandTerminal {
  /** Whether a status line can be drawn. */
  readonly isInteractive: boolean;
  /** Writes answers unchanged; on a terminal without control characters. @throws ReaderGoneError */
  print(text: string): Promise<void>;
  /** Writes one line to standard error, without control characters: file names may contain them. */
  note(sentence: string): void;
  /** Draws the first of these lines that fits, or cuts the last one; an empty text removes it. */
  status(...lines: readonly string[]): void;
}

export function createCommandTerminal(stdout: TextStream, stderr: TextStream): CommandTerminal {
  let drawn = '';
  const draw = (...lines: readonly string[]) => {
    // A wrapped line cannot be overwritten.
    const room = (stderr.columns ?? 80) - 1;
    const shown = lines.map((line) => [...withoutControls(line)]);
    const fitting = shown.find((line) => line.length <= room) ?? shown.at(-1) ?? [];
    const cut = fitting.slice(0, room).join('');
    if (cut !== '' || drawn !== '') stderr.write(`\r\u001b[K${cut}`);
    drawn = cut;
  };
  const aside = (write: () => void) => {
    const line = drawn;
    draw('');
    write();
    draw(line);
  };

  return {
    isInteractive: stderr.isTTY === true,
    print(text) {
      const { promise, resolve, reject } = Promise.withResolvers<void>();
      const shown = stdout.isTTY === true ? withoutControlsInLines(text) : text;
      const write = () =>
        stdout.write(shown, (error) => {
          if (error) reject(new ReaderGoneError('standard output is closed', { cause: error }));
          else resolve();
        });
      if (stdout.isTTY === true) aside(write);
      else write();
      return promise;
    },
    note(sentence) {
      aside(() => stderr.write(`${withoutControls(sentence)}\n`));
    },
    status: draw,
  };
}

/** Long enough to smooth out single slow files, short enough to follow changes of speed. */
const WINDOW_MS = 30_000;
const SAMPLE_EVERY_MS = 500;

/** The current speed. */
interface Pace {
  /** @param done so far */
  note(done: number, nowMs: number): void;
  /** Items per second over the last half minute; 0 while unknown. */
  readonly rate: number;
}

export function createPace(startMs: number): Pace {
  const samples = [{ done: 0, ms: startMs }];
  let latest = { done: 0, ms: startMs };
  return {
    note(done, nowMs) {
      latest = { done, ms: nowMs };
      if (nowMs - (samples.at(-1)?.ms ?? startMs) >= SAMPLE_EVERY_MS) samples.push(latest);
      // The window begins at the last sample before it.
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
  /** As setInterval. @returns stops it */
  readonly repeat?: (everyMs: number, tick: () => void) => () => void;
}

/** Shows the progress: a bar on a terminal, otherwise a line every 15 seconds. */
interface Progress {
  /**
   * Stores the progress. The next tick shows it, so files that are answered together appear together.
   * @param total undefined while it is not known
   * @param remarks further counts, such as `3 failed`
   */
  show(done: number, total: number | undefined, remarks?: readonly string[]): void;
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
  let latest: { done: number; total: number | undefined; remarks: readonly string[] } | undefined;
  const stop = repeat(terminal.isInteractive ? REDRAW_EVERY_MS : LINE_EVERY_MS, () => {
    if (!latest) return;
    const { done, total, remarks } = latest;
    pace.note(done, now());
    const { rate } = pace;
    const left = total === undefined ? [] : [`${duration((total - done) / rate)} left`];
    const speed = rate > 0 ? [...left, `${rate.toFixed(rate < 10 ? 1 : 0)}/s`] : [];
    const ofAll = total === undefined ? '' : ` of ${count(total)}`;
    const parts = [`${count(done)}${ofAll} ${unit}`, ...speed, ...remarks];
    const line = parts.join(', ');
    if (!terminal.isInteractive) return terminal.note(line);
    // A narrow terminal shows the first parts.
    const shorter = parts.map((_, index) => parts.slice(0, parts.length - index).join(', '));
    terminal.status(...(total === undefined ? [] : [`${bar(done, total)} ${line}`]), ...shorter);
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
