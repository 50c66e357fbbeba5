import { describe, expect, test } from 'bun:test';
import fc from 'fast-check';
import { foldCase, folderNames, numberedNames } from '../src/file-names.ts';

const nameOf = (label: string) => folderNames([label]).get(label);

describe('a label as a folder name', () => {
  const cases: readonly [label: string, name: string][] = [
    ['a photo of a cat', 'a photo of a cat'],
    ['猫 🐈‍⬛ & “dog”', '猫 🐈‍⬛ & “dog”'],
    ['../x', '___x'],
    ['..', '__'],
    ['.', '_'],
    ['.hidden', '_hidden'],
    ['a/b\\c', 'a_b_c'],
    ['/', '_'],
    ['what? a "b": <c>|*', 'what_ a _b__ _c___'],
    ['nul\0byte\nline', 'nul_byte_line'],
    ['CON', 'CON_'],
    ['nul.txt', 'nul_.txt'],
    ['COM1', 'COM1_'],
    ['console', 'console'],
    ['ends with dots...', 'ends with dots'],
    [' spaces ', 'spaces'],
    ['...   ', '___'],
    ['  ', '_'],
    ['\ud800', '\ufffd'],
    ['e\u0301', '\u00e9'],
  ];
  for (const [label, name] of cases) {
    test(`${JSON.stringify(label)} becomes ${JSON.stringify(name)}`, () => {
      expect(nameOf(label)).toBe(name);
    });
  }

  test('that is too long is cut between characters', () => {
    expect(nameOf('é'.repeat(300))).toBe('é'.repeat(100));
    // 25 bytes each, but one visible character.
    expect(nameOf('👨‍👩‍👧‍👦'.repeat(20))).toBe('👨‍👩‍👧‍👦'.repeat(8));
  });

  test('is told apart from others of the same name, also without upper and lower case', () => {
    const labels = ['a/b', 'a_b', 'Cat', 'cat', 'CAT', 'cat (2)', 'Straße', 'STRASSE'];
    expect([...folderNames(labels).values()]).toEqual([
      'a_b',
      'a_b (2)',
      'Cat',
      'cat (2)',
      'CAT (3)',
      'cat (2) (2)',
      'Straße',
      'STRASSE (2)',
    ]);
  });

  test('is one sound component, and another one for every label', () => {
    fc.assert(
      fc.property(fc.uniqueArray(fc.string({ unit: 'binary' }), { maxLength: 20 }), (labels) => {
        const names = [...folderNames(labels).values()];
        expect(new Set(names.map(foldCase)).size).toBe(labels.length);
        for (const name of names) {
          expect(Buffer.byteLength(name)).toBeLessThanOrEqual(255);
          expect(name).toMatch(/^(?!\.)[^/\\:*?"<>|\p{Cc}]+(?<![ .])$/u);
        }
      }),
    );
  });
});

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
