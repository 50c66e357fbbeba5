import { expect, test } from 'bun:test';
import { loadVocabulary, START_TOKEN } from '../../../src/clip/tokenizer/tokenizer.ts';

test("the vocabulary file is OpenAI's, byte for byte", async () => {
  const file = Bun.file(new URL('../../../models/bpe_simple_vocab_16e6.txt.gz', import.meta.url));
  const hash = new Bun.CryptoHasher('sha256').update(await file.bytes()).digest('hex');
  expect(hash).toBe('924691ac288e54409236115652ad4aa250f48203de50a9e4722a6ecd48d6804a');
});

test('bytes come first, in the order of their printable characters', () => {
  const { byteIds } = loadVocabulary();
  expect(byteIds['!'.charCodeAt(0)]).toBe(0);
  expect(byteIds['a'.charCodeAt(0)]).toBe(64);
  expect(byteIds[0xff]).toBe(187);
  expect(byteIds[0]).toBe(188);
  expect([...byteIds].sort((a, b) => a - b)).toEqual(Array.from({ length: 256 }, (_, id) => id));
});

test('merges have the ids of their lines', () => {
  const { byteIds, merge } = loadVocabulary();
  const [i, n, t] = ['i', 'n', 't'].map((letter) => byteIds[letter.charCodeAt(0)]!);
  // Line 2: "i n"; the last one used, line 48,895: "jeky ll</w>".
  expect(merge(i!, n!)).toBe(512);
  expect(merge(n!, t!)).not.toBe(merge(t!, n!));
  expect(merge(START_TOKEN, i!)).toBeUndefined();
});
