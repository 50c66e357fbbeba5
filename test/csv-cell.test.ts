import { describe, expect, test } from 'bun:test';
import { parse } from 'csv-parse/sync';
import fc from 'fast-check';
import { csvCell, withoutFormulaGuard } from '../src/csv-cell.ts';

describe('a value of a CSV file', () => {
  test.each([
    ['=1+1', "'=1+1"],
    ['+1', "'+1"],
    ['-1', "'-1"],
    ['@SUM(A1)', "'@SUM(A1)"],
    ['＝1', "'＝1"],
    ['\tx', '"\'\tx"'],
    ['\rx', '"\'\rx"'],
    ['\n=1', '"\'\n=1"'],
    ['  =1', "'  =1"],
    ['\u200b=1', "'\u200b=1"],
    ["'=1", "''=1"],
  ])('%j gets an apostrophe, since a spreadsheet would run it', (text, cell) => {
    expect(csvCell(text)).toBe(cell);
  });

  test.each(['a=b', "it's", "'quoted'", 'photo-1.jpg', 'a@b', '1+1', ''])('%j stays as it is', (text) => {
    expect(csvCell(text)).toBe(text);
  });

  test('that is a number stays one; none is empty', () => {
    expect([csvCell(-0.5), csvCell(2), csvCell(null)]).toEqual(['-0.5', '2', '']);
  });

  test('is quoted where a reader could take a part of it for something else', () => {
    expect(csvCell('a;=b')).toBe('"a;=b"');
    expect(csvCell('a,"b"\r\n')).toBe('"a,""b""\r\n"');
  });

  test('never begins with a sign once it is read, and is read back as it was', () => {
    const unit = fc.constantFrom(
      "'",
      '=',
      '+',
      '-',
      '@',
      '＝',
      ' ',
      '\t',
      '\r',
      '\n',
      '\u200b',
      ',',
      '"',
      'a',
    );
    fc.assert(
      fc.property(fc.string({ unit, minLength: 1, maxLength: 8 }), (text) => {
        const [[cell = ''] = []]: string[][] = parse(`${csvCell(text)},x`);
        expect(cell).not.toMatch(/^[\s\u200b]*[=+\-@＝]/);
        expect(withoutFormulaGuard(cell)).toBe(text);
      }),
    );
  });
});
