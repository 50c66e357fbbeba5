import { LRUCache } from 'lru-cache';
import { ServiceError } from '../../errors.ts';
import { encodeWord } from './byte-pair-encoding.ts';
import { cleanText } from './text-cleaning.ts';
import { endToken, loadVocabulary, startToken, type Vocabulary } from './vocabulary.ts';

/** OpenAI's CLIP tokenizer: the reference's ids for the reference's clean-up. */
export interface Tokenizer {
  /** @returns token ids without start and end; none for a text without anything visible */
  encode(text: string): number[];
  /**
   * @param contextLength tokens the model takes at most, start and end included
   * @returns [L] int32: start, ids, end; L ≤ contextLength, no padding
   * @throws ServiceError label_too_long naming the text and its tokens
   */
  tokenize(text: string, contextLength: number): Int32Array;
}

/**
 * Words in the order of the reference's pattern: start and end as written, contractions, runs of letters, single
 * digits, runs of anything else. The text is in lower case already, so that of the reference's IGNORECASE two
 * things are left: the long s is an s, and U+0345, which folds to the letter iota, is part of no word at all.
 */
const wordPattern =
  /<\|startoftext\|>|<\|endoftext\|>|'[sſ]|'t|'re|'ve|'m|'ll|'d|\p{L}+|\p{N}|(?:(?!\u0345)[^\p{White_Space}\p{L}\p{N}])+/gu;

/**
 * White space and HTML references (`&eacute;`) take more characters than the text that the model sees: a text may have
 * this many times the characters that its tokens can have at the most. Longer ones are refused before any work goes
 * into them.
 */
const shrinkage = 2;

/** Words are short and repeat; 8,192 of up to 64 characters with their ids stay below 8 MB. */
const cachedWords = 8192;
const maxCachedWordCharacters = 64;

/** How much of a text that is too long is shown. */
const shownCharacters = 60;

let sharedVocabulary: Vocabulary | undefined;

/** The vocabulary is read on the first call and shared by all later ones. */
export function createTokenizer(): Tokenizer {
  sharedVocabulary ??= loadVocabulary();
  const vocabulary = sharedVocabulary;
  const cache = new LRUCache<string, readonly number[]>({ max: cachedWords });

  const encodeCached = (word: string): readonly number[] => {
    const known = cache.get(word);
    if (known) return known;
    const ids = encodeWord(word, vocabulary);
    if (word.length <= maxCachedWordCharacters) cache.set(word, ids);
    return ids;
  };

  const wordsOf = (text: string): readonly string[] => cleanText(text).match(wordPattern) ?? [];

  const encodeWords = (words: readonly string[]): number[] =>
    words.flatMap((word) => {
      if (word === '<|startoftext|>') return startToken;
      if (word === '<|endoftext|>') return endToken;
      return encodeCached(word);
    });

  return {
    encode: (text) => encodeWords(wordsOf(text)),
    tokenize(text, contextLength) {
      // As many as the longest tokens that fit have bytes; a character has one at the least.
      const maxBytes = contextLength * vocabulary.longestTokenBytes;
      if (text.length > shrinkage * maxBytes || countMarks(text) > maxBytes) {
        throw tooLong(text, { characters: text.length }, contextLength);
      }
      const words = wordsOf(text);
      if (sum(words.map((word) => Buffer.byteLength(word))) > maxBytes) {
        throw tooLong(text, { characters: text.length }, contextLength);
      }
      const ids = Int32Array.of(startToken, ...encodeWords(words), endToken);
      if (ids.length > contextLength) throw tooLong(text, { tokens: ids.length }, contextLength);
      return ids;
    },
  };
}

/** Accents and their like. Putting a run of them into order takes as long as the square of its length. */
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
  const characters = [...text.slice(0, 2 * shownCharacters)];
  const isCut = text.length > 2 * shownCharacters || characters.length > shownCharacters;
  const label = isCut ? `${characters.slice(0, shownCharacters).join('')}…` : text;
  const came = 'tokens' in size ? `${size.tokens} tokens` : `${size.characters} characters`;
  return new ServiceError(
    'label_too_long',
    `The label "${label}" has ${came}; the model takes at most ${contextLength} tokens (words and parts of words), start and end included.`,
    { label, ...size, limit: contextLength },
  );
}
