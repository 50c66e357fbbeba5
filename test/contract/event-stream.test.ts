import { describe, expect, test } from 'bun:test';
import { createEventReader, createLineReader } from '../../src/contract/event-stream.ts';

const line = (event: string, data: unknown) => `${JSON.stringify({ event, data })}\n`;

function read(...pieces: readonly string[]) {
  const progress: unknown[] = [];
  const reader = createEventReader((data) => progress.push(data));
  const during = pieces.map((piece) => reader.read(piece));
  return { progress, during, received: reader.end() };
}

describe('events', () => {
  const searching = { stage: 'searching', seconds_done: 3 };
  const text = `${line('progress', { stage: 'uploading' })}${line('progress', searching)}${line('result', 7)}`;

  test('are read in whatever pieces they come', () => {
    const { progress, during, received } = read(text.slice(0, 30), text.slice(30, 90), text.slice(90));
    expect(progress).toEqual([{ stage: 'uploading' }, searching]);
    expect(received).toEqual({ status: 200, body: 7 });
    expect(during).toEqual([undefined, undefined, received]);
  });

  test('that break off are no answer', () => {
    expect(read(text.slice(0, -3)).received).toEqual({ status: 0, body: 'the answer broke off' });
  });

  test('end with the first event that is not progress', () => {
    const error = { code: 'video_broken', error: 'Damaged.' };
    expect(read(line('error', error) + line('result', 7)).received).toEqual({ status: 500, body: error });
  });

  test.each(['<html>\nPlease log in', '{"event":"other","data":1}\n', 'null\n', ''])(
    'are not found in %j',
    (other) => {
      const { received } = read(other);
      expect(received.status).toBe(200);
      expect(typeof received.body).toBe('string');
    },
  );
});

test('lines are read once each, in whatever pieces they come', () => {
  const text = 'one\ntwo\n\nthree\nfour';
  const readLine = createLineReader();
  expect([...text].flatMap((letter) => readLine(letter))).toEqual(['one', 'two', 'three']);
});
