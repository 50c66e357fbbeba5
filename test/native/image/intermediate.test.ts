import { expect, test } from 'bun:test';
import { Intermediate } from '../../../native/image/bitmap.ts';

test('disposing gives the memory back', () => {
  const bytes = new Uint8Array(1024);
  {
    using intermediate = new Intermediate(bytes);
    expect(intermediate.bytes.length).toBe(1024);
  }
  expect(bytes.length).toBe(0);
});

test('memory that others look into, too, is left alone', () => {
  const pool = new ArrayBuffer(1024);
  new Intermediate(new Uint8Array(pool, 0, 100))[Symbol.dispose]();
  expect(pool.byteLength).toBe(1024);
});
