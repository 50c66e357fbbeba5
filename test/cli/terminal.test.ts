import { describe, expect, test } from 'bun:test';
import {
  createCommandTerminal,
  createPace,
  createProgress,
  duration,
  ReaderGoneError,
  type TextStream,
} from '../../src/cli/terminal.ts';

function stream(isTTY: boolean, columns = 80): TextStream & { readonly written: string[] } {
  const written: string[] = [];
  return {
    isTTY,
    columns,
    written,
    write(text, done) {
      written.push(text);
      done?.();
      return true;
    },
  };
}

describe('the terminal', () => {
  test('keeps answers and remarks apart', async () => {
    const [stdout, stderr] = [stream(false), stream(false)];
    const terminal = createCommandTerminal(stdout, stderr);
    await terminal.print('answer\n');
    terminal.note('remark');
    expect([stdout.written, stderr.written]).toEqual([['answer\n'], ['remark\n']]);
  });

  test('lets the status line give way to what is written, and draws it again', async () => {
    const both = stream(true, 20);
    const terminal = createCommandTerminal(both, both);
    terminal.status('a status that is too long for the line');
    await terminal.print('answer\n');
    terminal.note('remark');
    terminal.status('');
    terminal.note('end');
    const drawn = '\r\u001b[Ka status that is to';
    expect(both.written).toEqual([
      drawn,
      '\r\u001b[K',
      'answer\n',
      drawn,
      '\r\u001b[K',
      'remark\n',
      drawn,
      '\r\u001b[K',
      'end\n',
    ]);
  });

  test('is told nothing by the names of files', () => {
    const stderr = stream(true);
    createCommandTerminal(stream(false), stderr).note('\u001b[2J\n.jpg: It is broken.');
    expect(stderr.written).toEqual(['\\u001b[2J\\n.jpg: It is broken.\n']);
  });

  test('is told nothing by answers, which are written as they are elsewhere', async () => {
    const [screen, pipe] = [stream(true), stream(false)];
    const answer = '"a\n\u001b[2J\u009b5m\u202e.jpg",cat\n';
    for (const stdout of [screen, pipe]) await createCommandTerminal(stdout, stream(false)).print(answer);
    expect(screen.written).toEqual(['"a\n\\u001b[2J\\u009b5m\\u202e.jpg",cat\n']);
    expect(pipe.written).toEqual([answer]);
  });

  test('is told nothing by the status line but where it stands', () => {
    const stderr = stream(true);
    createCommandTerminal(stream(false), stderr).status('\u001b[2J\u009b5m');
    expect(stderr.written).toEqual(['\r\u001b[K\\u001b[2J\\u009b5m']);
  });

  test('tells when nobody reads any more', () => {
    const gone: TextStream = {
      write(_, done) {
        done?.(new Error('EPIPE'));
        return false;
      },
    };
    expect(createCommandTerminal(gone, stream(false)).print('x')).rejects.toThrow(ReaderGoneError);
  });
});

describe('progress', () => {
  const shown = (
    isTTY: boolean,
    isQuiet: boolean,
    steps: readonly (readonly [ms: number, done: number])[],
    columns = 200,
  ) => {
    const stderr = stream(isTTY, columns);
    let nowMs = 0;
    let tick = () => {};
    const repeat = (_: number, next: () => void) => {
      tick = next;
      return () => undefined;
    };
    const terminal = createCommandTerminal(stream(false), stderr);
    const progress = createProgress({ terminal, unit: 'files', isQuiet, now: () => nowMs, repeat });
    for (const [ms, done] of steps) {
      nowMs = ms;
      progress.show(0, 50_000);
      progress.show(done, 50_000, ['1 failed']);
      tick();
    }
    return stderr.written;
  };

  const steps = [
    [0, 0],
    [10_000, 400],
    [20_000, 12_500],
  ] as const;

  test('is a bar with rate and time left on a terminal', () => {
    expect(shown(true, false, steps)).toEqual([
      '\r\u001b[K[----------------] 0 of 50,000 files, 1 failed',
      '\r\u001b[K[----------------] 400 of 50,000 files, 20 min 40 s left, 40/s, 1 failed',
      '\r\u001b[K[####------------] 12,500 of 50,000 files, 1 min 0 s left, 625/s, 1 failed',
    ]);
  });

  test('leaves out the bar, then the last parts, where the terminal is narrow', () => {
    const last = (columns: number) => shown(true, false, steps, columns).at(-1)?.replace('\r\u001b[K', '');
    expect([70, 55, 46, 30, 12].map(last)).toEqual([
      '12,500 of 50,000 files, 1 min 0 s left, 625/s, 1 failed',
      '12,500 of 50,000 files, 1 min 0 s left, 625/s',
      '12,500 of 50,000 files, 1 min 0 s left, 625/s',
      '12,500 of 50,000 files',
      '12,500 of 5',
    ]);
  });

  test('is a line now and then elsewhere', () => {
    expect(shown(false, false, steps)).toEqual([
      '0 of 50,000 files, 1 failed\n',
      '400 of 50,000 files, 20 min 40 s left, 40/s, 1 failed\n',
      '12,500 of 50,000 files, 1 min 0 s left, 625/s, 1 failed\n',
    ]);
  });

  test('is nothing where quiet is wanted', () => {
    expect(
      shown(true, true, [
        [0, 0],
        [20_000, 800],
      ]),
    ).toEqual([]);
  });
});

describe('the pace', () => {
  test('is that of the last half minute', () => {
    const pace = createPace(0);
    expect(pace.rate).toBe(0);
    for (let second = 1; second <= 60; second++) pace.note(second * 10, second * 1000);
    expect(pace.rate).toBeCloseTo(10);
    for (let second = 61; second <= 100; second++) pace.note(600 + (second - 60) * 2, second * 1000);
    expect(pace.rate).toBeCloseTo(2);
  });
});

test('a duration is given in two units at most', () => {
  expect([0, 1.2, 60, 3599, 3600, 90_000].map(duration)).toEqual([
    '0 s',
    '2 s',
    '1 min 0 s',
    '59 min 59 s',
    '1 h 0 min',
    '25 h 0 min',
  ]);
});
