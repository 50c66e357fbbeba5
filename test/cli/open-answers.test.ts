import { expect, test } from 'bun:test';
import { createEngineLog, describeLoading } from '../../src/cli/open-answers.ts';

test('the status line says how far the model is prepared', () => {
  expect([
    describeLoading({ stage: 'compiling' }),
    describeLoading({ stage: 'compiling', percent: 40 }),
    describeLoading({ stage: 'downloading', percent: 40 }),
  ]).toEqual(['Preparing the model (only once)…', 'Preparing the model (only once)… 40 %', '']);
});

test('a long list in a message of the engine is not printed', () => {
  const notes: string[] = [];
  const log = createEngineLog('info', (sentence) => notes.push(sentence));
  log.warn({ path: 'a.pt', expected: Array.from({ length: 11 }, () => 'f'.repeat(64)) }, 'not a known one');
  log.warn({ reasons: ['a', 'b'] }, 'slow');
  log.debug({}, 'not asked for');
  expect(notes).toEqual([
    'not a known one (path: a.pt, expected: one of 11 values)',
    'slow (reasons: ["a","b"])',
  ]);
});
