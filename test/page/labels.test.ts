import { describe, expect, test } from 'bun:test';
import fc from 'fast-check';
import { parseCategories } from '../../src/classify/categories.ts';
import { labelsText, parseLabels } from '../../src/page/intake/labels.ts';

const labelsOf = (text: string) => parseLabels(text).labels;
/** The labels that the service reads; empty if it refuses the document. */
function serviceReads(text: string): readonly string[] | undefined {
  try {
    return parseCategories(new TextEncoder().encode(text), 1000).labels;
  } catch (fault) {
    return String(fault).includes('names no category') ? [] : undefined;
  }
}

describe('the categories field', () => {
  test.each<[string, readonly string[]]>([
    ['', []],
    ['cat', ['cat']],
    ['cat\ndog\r\n\r\n bird ', ['cat', 'dog', 'bird']],
    ['cat, dog,cat', ['cat', 'dog']],
    ['a cat, sitting; a dog', ['a cat, sitting', 'a dog']],
    ['"a cat, sitting", a dog', ['a cat, sitting', 'a dog']],
    ['"say ""hi""",b', ['say "hi"', 'b']],
    ['5" pipe, x', ['5" pipe', 'x']],
    ['category\ncat', ['cat']],
    ['["a","b"]', ['a', 'b']],
    ['{"categories":["a"]}', ['a']],
  ])('%j holds %j, for the service, too', (text, labels) => {
    expect(labelsOf(text)).toEqual(labels);
    expect(serviceReads(text)).toEqual(labels);
  });

  test.each([
    ['"open', 'never closed'],
    ['["a",', 'not valid JSON'],
    ['{"labels":[]}', 'no list named "categories"'],
    ['[1]', 'not text'],
  ])('%j is named as a fault', (text, sentence) => {
    expect(parseLabels(text)).toEqual({ labels: [], fault: expect.stringContaining(sentence) });
    expect(serviceReads(text)).toBeUndefined();
  });

  test('reads whatever the service reads, as the service does', () => {
    const piece = fc.constantFrom(
      'a',
      'b c',
      '"a, b"',
      '"x ""y"""',
      ' ',
      ',',
      ',',
      ';',
      '\n',
      '\n',
      '\r\n',
      '\t',
      'é',
    );
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 12 }), (pieces) => {
        const text = pieces.join('');
        const service = serviceReads(text);
        if (service) expect(labelsOf(text)).toEqual(service);
      }),
      { numRuns: 2000 },
    );
  });

  test('a list that was opened is written so that it is read back', () => {
    const label = fc
      .string({
        unit: fc.constantFrom('a', 'B', ' ', ',', ';', '"', '\n', '\t', '[', '{', '&', 'é'),
        maxLength: 8,
      })
      .map((text) => text.trim())
      .filter((text) => text !== '');
    fc.assert(
      fc.property(fc.uniqueArray(label, { minLength: 1, maxLength: 6 }), (labels) => {
        expect(labelsOf(labelsText(labels))).toEqual(labels);
      }),
      { numRuns: 2000 },
    );
    expect(labelsOf(labelsText(['Category', 'cat']))).toEqual(['Category', 'cat']);
  });
});
