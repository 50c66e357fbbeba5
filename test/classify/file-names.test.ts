import { describe, expect, test } from 'bun:test';
import fc from 'fast-check';
import { createFileNames } from '../../src/classify/picture-collection.ts';

const named = (names: readonly string[]): string[] => names.map(createFileNames());

describe('file names of one request', () => {
  test('names stay as they were sent', () => {
    expect(named(['a.jpg', 'B.jpg', '__proto__', '../../etc/passwd'])).toEqual([
      'a.jpg',
      'B.jpg',
      '__proto__',
      '../../etc/passwd',
    ]);
  });

  test('further pictures of a name are counted', () => {
    expect(named(['a.jpg', 'a.jpg', 'b.jpg', 'a.jpg'])).toEqual(['a.jpg', 'a.jpg (2)', 'b.jpg', 'a.jpg (3)']);
  });

  test('a counted name that was sent already is passed over', () => {
    expect(named(['a (2)', 'a', 'a', 'a (2)'])).toEqual(['a (2)', 'a', 'a (3)', 'a (2) (2)']);
  });

  test('no two pictures ever share a name, and the first of a name keeps it', () => {
    const name = fc.constantFrom('a', 'a (2)', 'a (3)', 'a (2) (2)', 'b');
    fc.assert(
      fc.property(fc.array(name, { minLength: 1, maxLength: 40 }), (names) => {
        const unique = named(names);
        expect(new Set(unique).size).toBe(names.length);
        expect(unique[0]).toBe(names[0] as string);
      }),
    );
  });
});
