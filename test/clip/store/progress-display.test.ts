import { describe, expect, test } from 'bun:test';
import {
  describeProgress,
  type LoadingProgress,
  ProgressDisplay,
  percentOf,
} from '../../../src/clip/store/progress-display.ts';
import { defaultTimings } from '../../../src/clip/store/store-context.ts';
import { recordingLog } from './recording-log.ts';

function at(percent: number): LoadingProgress {
  return { stage: 'downloading', bytesDone: percent * 1e6, bytesTotal: 100e6, percent, secondsLeft: 80 };
}

describe('elsewhere than on a terminal', () => {
  test('a fast download takes few lines', () => {
    const log = recordingLog();
    const display = new ProgressDisplay(log, undefined, defaultTimings);
    for (let step = 0; step <= 1000; step++) display.show(at(step / 10), step * 10);
    // Ten seconds: the first line, and no more than one each three seconds after it.
    expect(log.lines).toHaveLength(4);
  });

  test('a slow download has a line every fifteen seconds', () => {
    const log = recordingLog();
    const display = new ProgressDisplay(log, undefined, defaultTimings);
    for (let second = 0; second < 60; second++) display.show(at(1), second * 1000);
    expect(log.lines).toHaveLength(4);
  });

  test('a download at a medium pace has a line every five percent', () => {
    const log = recordingLog();
    const display = new ProgressDisplay(log, undefined, defaultTimings);
    for (let percent = 0; percent <= 100; percent++) display.show(at(percent), percent * 1000);
    expect(log.lines).toHaveLength(21);
    expect(log.lines[1]?.text).toContain('downloading: 5 MB of 100 MB, 5 %, 1 min 20 s left');
  });

  test('the next source starts with a new line', () => {
    const log = recordingLog();
    const display = new ProgressDisplay(log, undefined, defaultTimings);
    display.show(at(90), 0);
    display.end();
    display.show(at(0), 1);
    expect(log.lines).toHaveLength(2);
  });
});

describe('on a terminal', () => {
  function terminal(columns?: number) {
    const written: string[] = [];
    return { columns, write: (text: string) => written.push(text), written };
  }

  test('a bar grows in one line, and nothing is logged', () => {
    const log = recordingLog();
    const screen = terminal(100);
    const display = new ProgressDisplay(log, screen, defaultTimings);
    display.show(at(0), 0);
    display.show(at(50), 1000);
    display.show(at(100), 2000);
    display.end();
    expect(screen.written).toEqual([
      '\r\u001b[K[----------------] downloading: 0 MB of 100 MB, 0 %, 1 min 20 s left',
      '\r\u001b[K[########--------] downloading: 50 MB of 100 MB, 50 %, 1 min 20 s left',
      '\r\u001b[K[################] downloading: 100 MB of 100 MB, 100 %, 1 min 20 s left',
      '\n',
    ]);
    expect(log.lines).toEqual([]);
  });

  test('it is not redrawn for every block', () => {
    const screen = terminal();
    const display = new ProgressDisplay(recordingLog(), screen, defaultTimings);
    for (let step = 0; step < 1000; step++) display.show(at(1), step);
    expect(screen.written).toHaveLength(10);
  });

  test('it never wraps, since a wrapped line could not be overwritten', () => {
    const screen = terminal(30);
    new ProgressDisplay(recordingLog(), screen, defaultTimings).show(at(50), 0);
    expect(screen.written[0]).toHaveLength('\r\u001b[K'.length + 29);
  });

  test('nothing is written where nothing was drawn', () => {
    const screen = terminal();
    new ProgressDisplay(recordingLog(), screen, defaultTimings).end();
    expect(screen.written).toEqual([]);
  });
});

test('progress is described as far as it is known', () => {
  expect(describeProgress({ stage: 'compiling' })).toBe('compiling');
  expect(describeProgress({ stage: 'downloading', bytesDone: 1 })).toBe('downloading: 1 MB');
  expect(describeProgress({ stage: 'downloading', bytesDone: 1, secondsLeft: 59 })).toEndWith(', 59 s left');
  expect(describeProgress({ stage: 'downloading', bytesDone: 1, secondsLeft: 3661 })).toEndWith(
    ', 1 h 1 min left',
  );
});

test('a hundred percent is the last byte, not the one before', () => {
  expect(percentOf(999_999, 1_000_000)).toBe(99);
  expect(percentOf(1_000_000, 1_000_000)).toBe(100);
  expect(percentOf(0, 0)).toBe(100);
});
