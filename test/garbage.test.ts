import { expect, test } from 'bun:test';
import { createGarbageNote } from '../src/garbage.ts';

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
