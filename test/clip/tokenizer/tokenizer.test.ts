import { describe, expect, test } from 'bun:test';
import fc from 'fast-check';
import { createTokenizer, encodeWord, loadVocabulary } from '../../../src/clip/tokenizer/tokenizer.ts';
import { ServiceError } from '../../../src/errors.ts';
import { createReferenceTokenizer } from './reference-tokenizer.ts';

interface GoldenTexts {
  readonly cases: readonly { readonly text: string; readonly ids: readonly number[] }[];
}

const golden = async (name: string): Promise<GoldenTexts> =>
  Bun.file(new URL(`../../golden/${name}`, import.meta.url)).json();

const tokenizer = createTokenizer();
const reference = createReferenceTokenizer();

/** Any UTF-16, lone surrogates too. */
const anyString = fc
  .array(fc.oneof(fc.nat(0xffff), fc.integer({ min: 0xd800, max: 0xdfff }), fc.nat(0x7f)))
  .map((units) => String.fromCharCode(...units));

function faultOf(text: string, contextLength = 77): ServiceError {
  try {
    tokenizer.tokenize(text, contextLength);
  } catch (fault) {
    if (fault instanceof ServiceError) return fault;
    throw fault;
  }
  throw new Error(`Accepted: ${text}`);
}

describe('the reference', () => {
  test.each(['tokenizer.json', 'tokenizer-more.json'])('gives the same ids: %s', async (name) => {
    const { cases } = await golden(name);
    const answers = cases.map(({ text }) => ({ text, ids: [...tokenizer.tokenize(text, 1000)] }));
    expect(answers).toEqual(cases.map(({ text, ids }) => ({ text, ids: [...ids] })));
    expect(cases.length).toBeGreaterThan(100);
  });

  test('property: any word gets the ids of the plain form of the algorithm', () => {
    const word = fc.oneof(
      fc.stringMatching(/^[a-z]{1,40}$/),
      // Repeated and overlapping pairs.
      fc.string({ unit: fc.constantFrom('a', 'b', 'ha', 'o'), minLength: 1, maxLength: 40 }),
      fc.string({ unit: fc.constantFrom('!', '.', '?', '😂', '❤'), minLength: 1, maxLength: 40 }),
      fc.string({ unit: fc.constantFrom('世', '界', 'か', 'ж', 'ω', 'é', 'ß'), minLength: 1, maxLength: 40 }),
    );
    fc.assert(
      fc.property(word, (text) => {
        expect(tokenizer.encode(text)).toEqual(reference.encodeWord(text));
      }),
      { numRuns: 500 },
    );
  });

  test('every token of the vocabulary that is a word by itself encodes to itself', () => {
    const words = [...reference.tokens.entries()].filter(([, token]) => /^[a-z]+<\/w>$/.test(token));
    expect(words.length).toBeGreaterThan(20_000);
    const strays = words.filter(([id, token]) => {
      const ids = tokenizer.encode(token.replace('</w>', ''));
      return ids.length !== 1 || ids[0] !== id;
    });
    expect(strays).toEqual([]);
  });
});

describe('encodeWord', () => {
  test('takes some steps for each byte, however long a word is', () => {
    const vocabulary = loadVocabulary();
    const stepsFor = (word: string) => {
      let steps = 0;
      const merge = (left: number, right: number) => {
        steps += 1;
        return vocabulary.merge(left, right);
      };
      encodeWord(word, { ...vocabulary, merge });
      return steps;
    };
    const letters = Array.from({ length: 4096 }, (_, at) =>
      String.fromCharCode(97 + ((at * at * 31 + at * 17) % 26)),
    ).join('');
    for (const word of ['a'.repeat(4096), letters, 'ha'.repeat(2048), '!?'.repeat(2048)]) {
      expect(stepsFor(word)).toBeLessThan(8 * word.length);
    }
  });

  test('property: a long word gets the ids of the plain form of the algorithm', () => {
    fc.assert(
      fc.property(fc.stringMatching(/^[a-e]{200,300}$/), (text) => {
        expect(tokenizer.encode(text)).toEqual(reference.encodeWord(text));
      }),
      { numRuns: 20 },
    );
  });
});

describe('encode', () => {
  test('property: never throws, and says the same the second time', () => {
    fc.assert(
      fc.property(anyString, (text) => {
        const ids = tokenizer.encode(text);
        expect(ids.every((id) => Number.isInteger(id) && id >= 0 && id < 49408)).toBe(true);
        expect(tokenizer.encode(text)).toEqual(ids);
      }),
      { numRuns: 1000 },
    );
  });

  test('property: clean text comes back when it is decoded', () => {
    const word = fc.string({
      unit: fc.constantFrom(...'abcdexyzäéñßабвжλω猫犬카ا'),
      minLength: 1,
      maxLength: 12,
    });
    fc.assert(
      fc.property(fc.array(word), (words) => {
        expect(reference.decode(tokenizer.encode(words.join(' ')))).toBe(
          words.map((text) => `${text} `).join(''),
        );
      }),
    );
  });

  test('takes half a surrogate pair for a replacement character', () => {
    expect(tokenizer.encode('a\ud83d')).toEqual(tokenizer.encode('a\ufffd'));
    // A control character between the halves is removed, but does not make them one.
    expect(tokenizer.encode('\ud83d\u0007\ude02')).toEqual(tokenizer.encode('\ufffd\ufffd'));
  });

  test('leaves out U+0345, which folds to a letter and is none', () => {
    expect(tokenizer.encode('cat\u0345')).toEqual(tokenizer.encode('cat'));
    expect(tokenizer.encode('\u0345')).toEqual([]);
  });

  test('gives every instance the same ids from one vocabulary', () => {
    expect(createTokenizer().encode('a photo of a cat')).toEqual([320, 1125, 539, 320, 2368]);
  });
});

describe('tokenize', () => {
  test('puts start and end around the ids and pads nothing', () => {
    const ids = tokenizer.tokenize('a photo of a cat', 77);
    expect(ids).toEqual(Int32Array.of(49406, 320, 1125, 539, 320, 2368, 49407));
    expect(tokenizer.tokenize(' ', 77)).toEqual(Int32Array.of(49406, 49407));
  });

  test('accepts as many tokens as the context has, and not one more', () => {
    const cats = (count: number) => Array.from({ length: count }, () => 'cat').join(' ');
    expect(tokenizer.tokenize(cats(75), 77).length).toBe(77);
    const fault = faultOf(cats(76));
    expect(fault.code).toBe('label_too_long');
    expect(fault.message).toStartWith('The label "cat cat cat');
    expect(fault.message).toContain('…" has 78 tokens; the model takes at most 77 tokens');
    expect(fault.details).toMatchObject({ tokens: 78, limit: 77 });
  });

  test('names a short label in full and the context length of the model at hand', () => {
    const fault = faultOf('a big 😂 cat', 5);
    expect(fault.message).toContain(
      'The label "a big 😂 cat" has 6 tokens; the model takes at most 5 tokens',
    );
    expect(fault.details).toEqual({ label: 'a big 😂 cat', tokens: 6, limit: 5 });
  });

  test('cuts a long label between characters, not within one', () => {
    const fault = faultOf('😂 '.repeat(100));
    expect(fault.details).toMatchObject({ label: `${'😂 '.repeat(30)}…` });
  });

  test('accepts what white space and references make long, up to twice what its tokens can be', () => {
    // The longest token has 32 bytes.
    expect(tokenizer.tokenize(`a${' '.repeat(4926)}b`, 77).length).toBe(4);
    expect(faultOf(`a${' '.repeat(4927)}b`).details).toMatchObject({ characters: 4929, limit: 77 });
  });

  test('refuses marks in a row, whose order takes long to make, before it is made', () => {
    expect(faultOf(`a${'\u0301\u0323'.repeat(1233)}`).details).toMatchObject({ characters: 2467 });
  });

  test('refuses an absurdly long label without encoding it', () => {
    const fault = faultOf('a'.repeat(4097));
    expect(fault.code).toBe('label_too_long');
    expect(fault.message).toContain('has 4097 characters; the model takes at most 77 tokens');
    expect(fault.details).toMatchObject({ characters: 4097, limit: 77 });
  });
});
