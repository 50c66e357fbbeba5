import { readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';

const vocabularyFile = new URL('../../../models/bpe_simple_vocab_16e6.txt.gz', import.meta.url);

/** Ids 0 to 255 are bytes, 256 to 511 bytes that end a word, then come the merges, then start and end. */
const firstMerge = 512;
const mergeCount = 48_894;
export const endOfWord = 256;
export const startToken = firstMerge + mergeCount;
export const endToken = startToken + 1;

/** How the file marks a token that ends a word. */
const END_OF_WORD = '</w>';

/** OpenAI's byte-pair vocabulary in numbers. */
export interface Vocabulary {
  /** byte → its token id where the word goes on; plus `endOfWord` where it is the word's last. [256] */
  readonly byteIds: readonly number[];
  /** Bytes of the longest token. */
  readonly longestTokenBytes: number;
  /**
   * @returns the id of the token that two neighbouring tokens become, or undefined. Ids of merges follow
   *   their rank: the lower one is merged first
   */
  merge(left: number, right: number): number | undefined;
}

/** Reads the vocabulary file; some tens of milliseconds. Provenance: models/VOCABULARY.md. */
export function loadVocabulary(): Vocabulary {
  const lines = gunzipSync(readFileSync(vocabularyFile))
    .toString('utf8')
    .split('\n', 1 + mergeCount);
  const byteIds: number[] = [];
  /** A token as the file writes it → its id. */
  const ids = new Map<string, number>();
  bytesInVocabularyOrder().forEach(({ byte, character }, id) => {
    byteIds[byte] = id;
    ids.set(character, id);
    ids.set(character + END_OF_WORD, id + endOfWord);
  });
  const merges = new Map<number, number>();
  let longestTokenBytes = 1;
  // The first line is a title.
  for (let rank = 0; rank < mergeCount; rank++) {
    const [left = '', right = ''] = lines[rank + 1]?.split(' ') ?? [];
    const [leftId, rightId] = [ids.get(left), ids.get(right)];
    if (leftId === undefined || rightId === undefined) {
      throw new Error(
        `The vocabulary is damaged: "${left}" and "${right}" of line ${rank + 2} are not known`,
      );
    }
    merges.set(pairKey(leftId, rightId), firstMerge + rank);
    const token = left + right;
    ids.set(token, firstMerge + rank);
    // The file writes each byte as a character.
    const bytes = token.length - (token.endsWith(END_OF_WORD) ? END_OF_WORD.length : 0);
    longestTokenBytes = Math.max(longestTokenBytes, bytes);
  }
  return { byteIds, longestTokenBytes, merge: (left, right) => merges.get(pairKey(left, right)) };
}

function pairKey(left: number, right: number): number {
  return left * 65_536 + right;
}

/**
 * The reference's `bytes_to_unicode`: its file writes a byte that Latin-1 shows as itself, and the others,
 * which would break lines and columns, as the characters from U+0100 on. Printable bytes have the first ids.
 */
function bytesInVocabularyOrder(): readonly { readonly byte: number; readonly character: string }[] {
  const isPrintable = (byte: number) =>
    (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
  const bytes = Array.from({ length: 256 }, (_, byte) => byte);
  return [
    ...bytes.filter(isPrintable).map((byte) => ({ byte, character: String.fromCharCode(byte) })),
    ...bytes
      .filter((byte) => !isPrintable(byte))
      .map((byte, index) => ({ byte, character: String.fromCharCode(0x100 + index) })),
  ];
}
