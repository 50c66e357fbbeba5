import { withoutControls, withoutControlsInLines } from '../output/escape-text.ts';

/** The part of a stream that is written to. */
export interface TextStream {
  readonly isTTY?: boolean;
  readonly columns?: number;
  write(text: string, done?: (error?: Error | null) => void): boolean;
}

/** Whoever reads standard output has left, as `head` does. */
export class ReaderGoneError extends Error {
  override readonly name = 'ReaderGoneError';
}

/**
 * Standard output for answers, standard error for everything that is said about them. A status line at the
 * bottom of a terminal gives way to what is written.
 */
export interface CommandTerminal {
  /** Whether a status line can be drawn. */
  readonly isInteractive: boolean;
  /** Writes answers, as they are; on a terminal without what would tell it something. @throws ReaderGoneError */
  print(text: string): Promise<void>;
  /** Writes a line about something. File names in it may be anything. */
  note(sentence: string): void;
  /** Draws the status line anew; empty: removes it. */
  status(line: string): void;
}

export function createCommandTerminal(stdout: TextStream, stderr: TextStream): CommandTerminal {
  let drawn = '';
  const draw = (line: string) => {
    // A line that wraps could not be overwritten.
    const cut = [...withoutControls(line)].slice(0, (stderr.columns ?? 80) - 1).join('');
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
          if (error) reject(new ReaderGoneError('nobody reads', { cause: error }));
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
