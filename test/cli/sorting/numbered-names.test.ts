import { describe, expect, test } from 'bun:test';
import { numberedNames } from '../../../src/cli/sorting/file-operations.ts';

const first = (count: number, name: string, from?: number) => [...numberedNames(name, from).take(count)];

describe('names for files whose name is taken', () => {
  test('are numbered before the extension', () => {
    expect(first(3, 'photo.jpg')).toEqual(['photo.jpg', 'photo (2).jpg', 'photo (3).jpg']);
    expect(first(2, 'archive.tar.gz')).toEqual(['archive.tar.gz', 'archive.tar (2).gz']);
    expect(first(2, 'no extension')).toEqual(['no extension', 'no extension (2)']);
    expect(first(2, '.jpg')).toEqual(['.jpg', '.jpg (2)']);
  });

  test('go on from any number', () => {
    expect(first(2, 'photo.jpg', 7)).toEqual(['photo (7).jpg', 'photo (8).jpg']);
  });

  test('stay within what file systems allow', () => {
    const name = `${'ä'.repeat(125)}.jpg`;
    const [same, second = ''] = first(2, name);
    expect(same).toBe(name);
    expect(second).toBe(`${'ä'.repeat(123)} (2).jpg`);
    expect(Buffer.byteLength(second)).toBeLessThanOrEqual(255);
  });
});
