import { expect, test } from 'bun:test';
import fc from 'fast-check';
import { jsonItems, jsonObject } from '../../src/http/answers.ts';

const textOf = (entries: Parameters<typeof jsonObject>[0]) => [...jsonObject(entries)].join('');

test('items of an array are written as in the whole', () => {
  for (const items of [[], [{ a: 'é"' }], [{ a: 1 }, { b: null }, { c: 2.5e-7 }]]) {
    expect(`[${[...jsonItems(items)].join('')}]`).toBe(JSON.stringify(items));
  }
});

test('keys stay in order, also those that objects would move or swallow', () => {
  expect(
    textOf([
      ['b', 'x'],
      ['10', 'y'],
      ['2', null],
      ['__proto__', 'z'],
      ['"\n', 1],
    ]),
  ).toBe('{"b":"x","10":"y","2":null,"__proto__":"z","\\"\\n":1}');
});

test('no entries are an empty object', () => {
  expect(textOf([])).toBe('{}');
});

test('it reads back as what was written', () => {
  const entries = fc.uniqueArray(fc.tuple(fc.string(), fc.jsonValue()), { selector: ([key]) => key });
  fc.assert(
    fc.property(entries, (written) => {
      const expected = new Map(written);
      const read: unknown = JSON.parse(textOf(written));
      expect(Object.keys(read as object).toSorted()).toEqual([...expected.keys()].toSorted());
      for (const [key, value] of Object.entries(read as object)) {
        expect(JSON.stringify(value)).toBe(JSON.stringify(expected.get(key)));
      }
    }),
  );
});
