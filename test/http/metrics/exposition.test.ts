import { describe, expect, test } from 'bun:test';
import { Counter, Registry } from 'prom-client';
import { parseExposition } from './exposition.ts';

const head = '# HELP a_total What.\n# TYPE a_total counter\n';

describe('the parser that judges /metrics', () => {
  test('reads names, labels and values', () => {
    expect(parseExposition(`${head}a_total{b="c",d="e,}"} 1.5e3\na_total 2\n`)).toEqual([
      {
        name: 'a_total',
        help: 'What.',
        type: 'counter',
        samples: [
          { name: 'a_total', labels: { b: 'c', d: 'e,}' }, value: 1500 },
          { name: 'a_total', labels: {}, value: 2 },
        ],
      },
    ]);
  });

  test('what the library escapes comes back as it was', async () => {
    const registry = new Registry();
    const value = 'quote " backslash \\ and\nline';
    const help = 'Backslash \\ and\nline.';
    new Counter({ name: 'a_total', help, labelNames: ['b'], registers: [registry] }).inc({ b: value });
    expect(parseExposition(await registry.metrics())).toMatchObject([
      { help, samples: [{ labels: { b: value }, value: 1 }] },
    ]);
  });

  test.each([
    ['no end of line', `${head}a_total 1`],
    ['no type', 'a_total 1\n'],
    ['a sample of another metric', `${head}b_total 1\n`],
    ['a series twice', `${head}a_total 1\na_total 2\n`],
    ['a metric twice', `${head}${head}`],
    ['a quote that is not escaped', `${head}a_total{b="c"d"} 1\n`],
    ['a label twice', `${head}a_total{b="c",b="d"} 1\n`],
    ['no number', `${head}a_total one\n`],
    ['no value', `${head}a_total \n`],
    ['a name that is none', `${head}a-total 1\n`],
  ])('refuses %s', (_, text) => {
    expect(() => parseExposition(text)).toThrow();
  });
});
