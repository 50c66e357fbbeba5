import { describe, expect, test } from 'bun:test';
import fc from 'fast-check';
import { parseCategories } from '../../src/classify/categories.ts';
import { categoryOf, isInQuotes, parseDocument, parseLabels } from '../../src/page/intake/labels.ts';

const labelsOf = (text: string) => parseLabels(text).labels;
/** The names of the categories in a file. */
const namesOf = (text: string): readonly string[] =>
  parseDocument(text).labels.map((label) => categoryOf(label).name);
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
    expect(namesOf(text)).toEqual(labels);
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

  test.each([
    ['a=b', ['a=b']],
    ['a=b, "c|d, e"\nf = g | h', ['a=b', 'c|d, e', 'f = g | h']],
    ['["a=b", "c | d", "\\"e\\""]', ['a=b', 'c | d', '"e"']],
    ['"""quoted""", ""', ['"quoted"']],
  ])('a file has the same names as for the service, also with signs: %j', (text, names) => {
    expect(namesOf(text)).toEqual(names);
    expect(serviceReads(text)).toEqual(names);
  });

  test.each([
    ['{"categories":{"a=b":"c","d|e":["f = g","h | i"]}}'],
    ['{"categories":{"\\"a\\"":["\\"b\\" | c"," = "],"__proto__":"x"}}'],
  ])('a JSON document has the same phrases as for the service, written or opened: %s', (text) => {
    const { labels: names, phrases } = parseCategories(new TextEncoder().encode(text), 1000);
    const expected = names.map((name, place) => ({ name, phrases: phrases![place]! }));
    expect(labelsOf(text).map((label) => categoryOf(label))).toEqual(expected);
    expect(parseDocument(text).labels.map(categoryOf)).toEqual(expected);
  });

  test.each([
    ['dog = a dog | a puppy, cat', ['dog', 'cat'], [['a dog', 'a puppy'], ['cat']]],
    ['"a=b", c', ['a=b', 'c'], [['a=b'], ['c']]],
    ['dog = "a dog, sitting" | "x=y|z", cat', ['dog', 'cat'], [['a dog, sitting', 'x=y|z'], ['cat']]],
    ['"a, b" = c; d', ['a, b', 'd'], [['c'], ['d']]],
    ['a = "b; c" | d, e', ['a', 'e'], [['b; c', 'd'], ['e']]],
    ['5" = x | 5" pipe', ['5"'], [['x', '5" pipe']]],
  ])('%j has names and phrases', (text, names, phrases) => {
    const categories = labelsOf(text).map((label) => categoryOf(label));
    expect(categories.map(({ name }) => name)).toEqual(names);
    expect(categories.map((category) => category.phrases)).toEqual(phrases);
  });

  test.each([
    ['"a', true],
    ['dog = "a dog', true],
    ['dog = "a ""dog', true],
    ['"a"', false],
    ['5" pipe', false],
    ['dog', false],
  ])('%j is within quotes: %j', (text, expected) => {
    expect(isInQuotes(text)).toBe(expected);
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
        if (!service) return;
        expect(labelsOf(text)).toEqual(service);
        expect(namesOf(text)).toEqual(service);
      }),
      { numRuns: 2000 },
    );
  });

  test('phrases of a JSON document become the way a person writes them', () => {
    expect(labelsOf('{"categories": {"dog": ["a dog", "a puppy"], "cat": "a cat"}}')).toEqual([
      'dog = a dog | a puppy',
      'cat = a cat',
    ]);
    for (const phrases of ['1', '[]', '""', '["a", 1]', 'null']) {
      expect(parseLabels(`{"categories": {"dog": ${phrases}}}`).fault).toContain('not text');
      expect(serviceReads(`{"categories": {"dog": ${phrases}}}`)).toBeUndefined();
    }
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
    ['"a=b"', 'a=b', ['a=b']],
    ['"a|b" = "c=d" | e', 'a|b', ['c=d', 'e']],
    ['"say ""hi""', '"say ""hi""', ['"say ""hi""']],
  ])('%j is called %j', (text, name, phrases) => {
    expect(categoryOf(text)).toEqual({ name, phrases });
  });
});
