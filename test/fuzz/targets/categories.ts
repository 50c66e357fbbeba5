import { parseCategories } from '../../../src/classify/categories.ts';
import { createTokenizer } from '../../../src/clip/tokenizer/tokenizer.ts';
import { ServiceError } from '../../../src/errors.ts';
import { concat } from '../../media/sample-pictures.ts';
import { check, type Target } from '../target.ts';

const tokenizer = createTokenizer();
const MAXIMUM_CATEGORIES = 1000;
const CONTEXT_LENGTH = 77;
/** Each of a thousand labels would take the time of finding others. */
const TOKENIZED_LABELS = 30;

/** Readers of a category document, of every kind that is taken, and of its labels. */
export const categories: Target = {
  name: 'categories',
  maxBytes: 2048,

  async seeds() {
    const texts = [
      'cat,dog',
      'cat;dog,hot\n"a ""b"" c";d',
      'category\ncat\ndog\n',
      'one\ttwo\tthree',
      '["a","b\\u00e9"]',
      '{"categories":["a","a photo of a cat"],"x":{"y":[1,2,null]}}',
      '[1]',
      '{"categories": [ "a", ] }',
      " \ufeffa cat &amp;amp; a dog &lt;3, don't, 12 34, \u017fs, \u4e2d\u6587, \u{1f600}\n",
      '"unclosed, a\nb',
      '<|startoftext|> a <|endoftext|>, \u00c3\u00a9t\u00c3\u00a9, \u0345',
      'x'.repeat(600),
    ];
    return [
      ...texts.map((text) => concat(Buffer.from(text))),
      concat('\xff\xfe', Buffer.from('a,b\r\nc\u00e9', 'utf16le')),
      concat('\xfe\xff\0a\0,\0b'),
      Uint8Array.of(0x61, 0xff, 0x2c, 0x62),
    ];
  },

  run(bytes) {
    const labels = orRefused(() => parseCategories(bytes, MAXIMUM_CATEGORIES).labels);
    if (!labels) return;
    check(labels.length > 0 && labels.length <= MAXIMUM_CATEGORIES, `${labels.length} labels`);
    check(new Set(labels).size === labels.length, 'equal labels');
    for (const label of labels)
      check(label !== '' && label.trim() === label, `the label ${JSON.stringify(label)}`);
    for (const label of labels.slice(0, TOKENIZED_LABELS)) {
      const ids = orRefused(() => tokenizer.tokenize(label, CONTEXT_LENGTH));
      if (!ids) continue;
      check(ids.length >= 2 && ids.length <= CONTEXT_LENGTH, `${ids.length} tokens`);
      check(ids[0] === 49_406 && ids.at(-1) === 49_407, 'tokens without a start and an end');
      check(
        ids.every((id) => id >= 0 && id <= 49_407),
        'a token that does not exist',
      );
    }
  },
};

function orRefused<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch (fault) {
    if (!(fault instanceof ServiceError)) throw fault;
    check(/^(?:categories_|label_)/.test(fault.code), `the code of a document's fault is ${fault.code}`);
    return undefined;
  }
}
