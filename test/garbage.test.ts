import { describe, expect, test } from 'bun:test';
import { createGarbageNote, giveBack } from '../src/garbage.ts';

test('collects once so many bytes have become garbage, and begins to count again', () => {
  let collections = 0;
  const noteGarbage = createGarbageNote(100, () => {
    collections += 1;
  });
  noteGarbage(99);
  expect(collections).toBe(0);
  noteGarbage(1);
  expect(collections).toBe(1);
  noteGarbage(99);
  expect(collections).toBe(1);
  noteGarbage(500);
  expect(collections).toBe(2);
});

describe('giving memory back', () => {
  test('leaves nothing of a buffer that is all theirs', () => {
    const bytes = new Uint8Array(1000);
    giveBack(bytes);
    expect(bytes.buffer.byteLength).toBe(0);
  });

  test('leaves a buffer alone of which they are a part', () => {
    const buffer = new ArrayBuffer(1000);
    giveBack(new Uint8Array(buffer, 0, 999));
    giveBack(new Uint8Array(buffer, 1));
    expect(buffer.byteLength).toBe(1000);
  });
});
