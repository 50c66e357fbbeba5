import { readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';

const vocabularyFile = new URL('../../../models/bpe_simple_vocab_16e6.txt.gz', import.meta.url);

/**
 * The reference's `simple_tokenizer.py` as it reads, on strings: slow and plain, to hold the fast one against.
 * Without the clean-up.
 */
export function createReferenceTokenizer() {
  const byteEncoder = bytesToUnicode();
  const merges = gunzipSync(readFileSync(vocabularyFile))
    .toString('utf8')
    .split('\n')
    .slice(1, 49152 - 256 - 2 + 1);
  const characters = [...byteEncoder.values()];
  const tokens = [
    ...characters,
    ...characters.map((character) => `${character}</w>`),
    ...merges.map((merge) => merge.replace(' ', '')),
    '<|startoftext|>',
    '<|endoftext|>',
  ];
  const ids = new Map(tokens.map((token, id) => [token, id]));
  const ranks = new Map(merges.map((merge, rank) => [merge, rank]));
  const byteDecoder = new Map([...byteEncoder].map(([byte, character]) => [character, byte]));

  const encodeWord = (word: string): number[] => {
    const symbols = [...Buffer.from(word)].map((byte) => byteEncoder.get(byte)!);
    symbols.push(`${symbols.pop()}</w>`);
    for (;;) {
      const pairs = symbols.slice(1).map((right, i) => `${symbols[i]} ${right}`);
      const best = pairs.reduce(
        (a, b) => ((ranks.get(b) ?? Infinity) < (ranks.get(a) ?? Infinity) ? b : a),
        '',
      );
      if (!ranks.has(best)) return symbols.map((symbol) => ids.get(symbol)!);
      const at = pairs.indexOf(best);
      symbols.splice(at, 2, best.replace(' ', ''));
    }
  };

  const decode = (tokenIds: readonly number[]): string => {
    const text = tokenIds.map((id) => tokens[id]!).join('');
    const bytes = [...text.replaceAll('</w>', ' ')].map((character) => byteDecoder.get(character) ?? 0x20);
    return Buffer.from(bytes).toString('utf8');
  };

  return { tokens, encodeWord, decode };
}

function bytesToUnicode(): Map<number, string> {
  const range = (first: string, last: string) => {
    const start = first.charCodeAt(0);
    return Array.from({ length: last.charCodeAt(0) - start + 1 }, (_, i) => start + i);
  };
  const printable = [...range('!', '~'), ...range('¡', '¬'), ...range('®', 'ÿ')];
  const encoder = new Map(printable.map((byte) => [byte, String.fromCharCode(byte)]));
  let next = 256;
  for (let byte = 0; byte < 256; byte++) {
    if (!encoder.has(byte)) encoder.set(byte, String.fromCharCode(next++));
  }
  return encoder;
}
