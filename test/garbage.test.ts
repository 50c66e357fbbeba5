import { describe, expect, test } from 'bun:test';
import { createGarbageNote, giveBack } from '../src/garbage.ts';

test('collects after this number of bytes, and starts to count again', () => {
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
  test('frees a buffer that the bytes fill', () => {
    const bytes = new Uint8Array(1000);
    expect(giveBack(bytes)).toBe(true);
    expect(bytes.buffer.byteLength).toBe(0);
  });

  test('keeps a buffer that the bytes are only a part of', () => {
    const buffer = new ArrayBuffer(1000);
    expect(giveBack(new Uint8Array(buffer, 0, 999))).toBe(false);
    expect(giveBack(new Uint8Array(buffer, 1))).toBe(false);
    expect(buffer.byteLength).toBe(1000);
  });
});
