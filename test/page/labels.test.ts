import { describe, expect, test } from 'bun:test';
import fc from 'fast-check';
import { parseCategories } from '../../src/classify/categories.ts';
import { categoryOf, parseLabels } from '../../src/page/intake/labels.ts';

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

  test('phrases of a JSON document become the way a person writes them', () => {
    expect(labelsOf('{"categories": {"dog": ["a dog", "a puppy"], "cat": "a cat"}}')).toEqual([
      'dog = a dog | a puppy',
      'cat = a cat',
    ]);
    expect(parseLabels('{"categories": {"dog": 1}}').fault).toContain('not text');
  });
});

describe('one category', () => {
  test.each([
    ['dog', 'dog', ['dog']],
    [' a dog ', 'a dog', ['a dog']],
    ['dog = a dog | a puppy', 'dog', ['a dog', 'a puppy']],
    ['dog=a dog', 'dog', ['a dog']],
    ['a dog | a puppy |', 'a dog', ['a dog', 'a puppy']],
    ['dog =', 'dog', ['dog']],
    ['= x', '= x', ['= x']],
    ['e = m = c', 'e', ['m = c']],
    ['|', '|', ['|']],
  ])('%j is called %j', (text, name, phrases) => {
    expect(categoryOf(text)).toEqual({ name, phrases });
  });
});
