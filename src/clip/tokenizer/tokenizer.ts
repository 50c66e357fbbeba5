import { readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';
import { LRUCache } from 'lru-cache';
import { ServiceError } from '../../errors.ts';
import { cleanText } from './text-cleaning.ts';

const vocabularyFile = new URL('../../../models/bpe_simple_vocab_16e6.txt.gz', import.meta.url);

/** Ids 0 to 255 are bytes, 256 to 511 bytes that end a word. Then come the merges, start and end. */
const FIRST_MERGE = 512;
const MERGE_COUNT = 48_894;
const END_OF_WORD_OFFSET = 256;
export const START_TOKEN = FIRST_MERGE + MERGE_COUNT;
export const END_TOKEN = START_TOKEN + 1;

/** How the file marks a token that ends a word. */
const END_OF_WORD = '</w>';

/** OpenAI's byte-pair vocabulary in numbers. */
interface Vocabulary {
  /** byte → its token id inside a word; plus `END_OF_WORD_OFFSET` at the end of a word. [256] */
  readonly byteIds: readonly number[];
  /** Bytes of the longest token. */
  readonly longestTokenBytes: number;
  /**
   * @returns the id of the token that two neighbouring tokens become, or undefined. Lower ids are merged first
   */
  merge(left: number, right: number): number | undefined;
}

/** Reads the vocabulary file; takes tens of milliseconds. Provenance: models/VOCABULARY.md. */
export function loadVocabulary(): Vocabulary {
  const lines = gunzipSync(readFileSync(vocabularyFile))
    .toString('utf8')
    .split('\n', 1 + MERGE_COUNT);
  const byteIds: number[] = [];
  /** A token as the file writes it → its id. */
  const ids = new Map<string, number>();
  bytesInVocabularyOrder().forEach(({ byte, character }, id) => {
    byteIds[byte] = id;
    ids.set(character, id);
    ids.set(character + END_OF_WORD, id + END_OF_WORD_OFFSET);
  });
  const merges = new Map<number, number>();
  let longestTokenBytes = 1;
  // The first line is a title.
  for (let rank = 0; rank < MERGE_COUNT; rank++) {
    const [left = '', right = ''] = lines[rank + 1]?.split(' ') ?? [];
    const [leftId, rightId] = [ids.get(left), ids.get(right)];
    if (leftId === undefined || rightId === undefined) {
      throw new Error(
        `The vocabulary is damaged: "${left}" and "${right}" of line ${rank + 2} are not known`,
      );
    }
    merges.set(pairKey(leftId, rightId), FIRST_MERGE + rank);
    const token = left + right;
    ids.set(token, FIRST_MERGE + rank);
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
 * The reference's `bytes_to_unicode`: the file has printable Latin-1 bytes as they are. It has the others, which would
 * break lines and columns, as characters from U+0100 on. Printable bytes have the first ids.
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

/** A queue's key is a rank times this, plus a position. Words are shorter than this. */
const POSITIONS = 2 ** 20;

/**
 * Encodes one word as the reference's `bpe` does: the pair of neighbours with the lowest rank is merged everywhere,
 * from left to right, until no pair is in the vocabulary.
 *
 * The reference searches the whole word for every merge. Here a queue has the pairs, by rank and then by position. The
 * order is the same, because a pair that a merge creates always ranks after that merge. Time grows with n · log n.
 * @returns token ids; none for an empty word
 */
export function encodeWord(word: string, { byteIds, merge }: Vocabulary): number[] {
  const ids = Array.from(Buffer.from(word), (byte) => byteIds[byte]!);
  if (ids.length === 0) return ids;
  ids.push(ids.pop()! + END_OF_WORD_OFFSET);

  // Neighbours by position. A token that was merged into its left neighbour leaves the id −1.
  const next = Int32Array.from(ids, (_, at) => at + 1);
  const previous = Int32Array.from(ids, (_, at) => at - 1);
  const queue: number[] = [];
  const enqueue = (left: number) => {
    const right = next[left]!;
    if (left < 0 || right >= ids.length) return;
    const merged = merge(ids[left]!, ids[right]!);
    if (merged !== undefined) push(queue, merged * POSITIONS + left);
  };
  for (let at = 0; at + 1 < ids.length; at++) enqueue(at);

  for (let key = pop(queue); key !== undefined; key = pop(queue)) {
    const left = key % POSITIONS;
    const merged = Math.floor(key / POSITIONS);
    const right = next[left]!;
    // One of the two has become another token in the meantime.
    if (ids[left] === -1 || right >= ids.length) continue;
    if (merge(ids[left]!, ids[right]!) !== merged) continue;
    ids[left] = merged;
    ids[right] = -1;
    const behind = next[right]!;
    next[left] = behind;
    if (behind < ids.length) previous[behind] = left;
    enqueue(left);
    enqueue(previous[left]!);
  }
  return ids.filter((id) => id !== -1);
}

/** Adds to a binary heap, whose first number is the smallest. */
function push(heap: number[], value: number): void {
  let at = heap.length;
  for (let parent = (at - 1) >> 1; at > 0 && heap[parent]! > value; parent = (at - 1) >> 1) {
    heap[at] = heap[parent]!;
    at = parent;
  }
  heap[at] = value;
}

function pop(heap: number[]): number | undefined {
  const first = heap[0];
  const last = heap.pop();
  if (heap.length === 0 || last === undefined) return first;
  let at = 0;
  for (let child = 1; child < heap.length; child = 2 * at + 1) {
    const other = heap[child + 1];
    if (other !== undefined && other < heap[child]!) child += 1;
    if (heap[child]! >= last) break;
    heap[at] = heap[child]!;
    at = child;
  }
  heap[at] = last;
  return first;
}

/** OpenAI's CLIP tokenizer: the reference's ids for the reference's clean-up. */
interface Tokenizer {
  /** @returns token ids without start and end; none for a text without visible characters */
  encode(text: string): number[];
  /**
   * @param contextLength the most tokens that the model takes, start and end included
   * @returns [L] int32: start, ids, end; L ≤ contextLength, no padding
   * @throws ServiceError label_too_long naming the text and its tokens
   */
  tokenize(text: string, contextLength: number): Int32Array;
}

/**
 * Words in the order of the reference's pattern: start and end as written, contractions, runs of letters, single
 * digits, runs of anything else. The text is in lower case. Of the reference's IGNORECASE two effects remain: the long
 * s counts as an s, and U+0345, which folds to the letter iota, belongs to no word.
 */
const wordPattern =
  /<\|startoftext\|>|<\|endoftext\|>|'[sſ]|'t|'re|'ve|'m|'ll|'d|\p{L}+|\p{N}|(?:(?!\u0345)[^\p{White_Space}\p{L}\p{N}])+/gu;

/**
 * White space and HTML references (`&eacute;`) make a text longer than what the model sees. So a text may have this
 * many times the characters that its tokens can have. Longer texts are refused before any work.
 */
const SHRINKAGE = 2;

/** Words are short and repeat. 8,192 of up to 64 characters, with their ids, take less than 8 MB. */
const CACHED_WORDS = 8192;
const MAX_CACHED_WORD_CHARACTERS = 64;

/** Shown characters of a text that is too long. */
const SHOWN_CHARACTERS = 60;

let sharedVocabulary: Vocabulary | undefined;

/** The vocabulary is read on the first call and shared by all later ones. */
export function createTokenizer(): Tokenizer {
  sharedVocabulary ??= loadVocabulary();
  const vocabulary = sharedVocabulary;
  const cache = new LRUCache<string, readonly number[]>({ max: CACHED_WORDS });

  const encodeCached = (word: string): readonly number[] => {
    const known = cache.get(word);
    if (known) return known;
    const ids = encodeWord(word, vocabulary);
    if (word.length <= MAX_CACHED_WORD_CHARACTERS) cache.set(word, ids);
    return ids;
  };

  const wordsOf = (text: string): readonly string[] => cleanText(text).match(wordPattern) ?? [];

  const encodeWords = (words: readonly string[]): number[] =>
    words.flatMap((word) => {
      if (word === '<|startoftext|>') return START_TOKEN;
      if (word === '<|endoftext|>') return END_TOKEN;
      return encodeCached(word);
    });

  return {
    encode: (text) => encodeWords(wordsOf(text)),
    tokenize(text, contextLength) {
      // The bytes of as many longest tokens as fit. A character has at least one byte.
      const maxBytes = contextLength * vocabulary.longestTokenBytes;
      if (text.length > SHRINKAGE * maxBytes || countMarks(text) > maxBytes) {
        throw tooLong(text, { characters: text.length }, contextLength);
      }
      const words = wordsOf(text);
      if (sum(words.map((word) => Buffer.byteLength(word))) > maxBytes) {
        throw tooLong(text, { characters: text.length }, contextLength);
      }
      const ids = Int32Array.of(START_TOKEN, ...encodeWords(words), END_TOKEN);
      if (ids.length > contextLength) throw tooLong(text, { tokens: ids.length }, contextLength);
      return ids;
    },
  };
}

/** Counts accents and similar marks. Normalising a run of them takes time that grows with its length squared. */
function countMarks(text: string): number {
  return text.match(/\p{M}/gu)?.length ?? 0;
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, number) => total + number, 0);
}

function tooLong(
  text: string,
  size: { readonly tokens: number } | { readonly characters: number },
  contextLength: number,
): ServiceError {
  const characters = [...text.slice(0, 2 * SHOWN_CHARACTERS)];
  const isCut = text.length > 2 * SHOWN_CHARACTERS || characters.length > SHOWN_CHARACTERS;
  const label = isCut ? `${characters.slice(0, SHOWN_CHARACTERS).join('')}…` : text;
  const came = 'tokens' in size ? `${size.tokens} tokens` : `${size.characters} characters`;
  return new ServiceError(
    'label_too_long',
    `The label "${label}" has ${came}; the model takes at most ${contextLength} tokens (words and parts of words), start and end included.`,
    { label, ...size, limit: contextLength },
  );
}
