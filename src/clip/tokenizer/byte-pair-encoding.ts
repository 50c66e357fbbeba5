import { endOfWord, type Vocabulary } from './vocabulary.ts';

/**
 * Encodes one word as the reference's `bpe` does: of all neighbours the pair with the lowest rank is merged
 * wherever it stands, from left to right, until no pair is in the vocabulary. Time grows with the word's
 * length times the number of different pairs merged.
 * @returns token ids; none for an empty word
 */
export function encodeWord(word: string, { byteIds, merge }: Vocabulary): number[] {
  const ids = Array.from(Buffer.from(word), (byte) => byteIds[byte] as number);
  if (ids.length === 0) return ids;
  ids.push((ids.pop() as number) + endOfWord);

  for (;;) {
    let merged = Number.POSITIVE_INFINITY;
    let left = 0;
    let right = 0;
    for (let i = 0; i + 1 < ids.length; i++) {
      const candidate = merge(ids[i] as number, ids[i + 1] as number);
      if (candidate === undefined || candidate >= merged) continue;
      merged = candidate;
      left = ids[i] as number;
      right = ids[i + 1] as number;
    }
    if (merged === Number.POSITIVE_INFINITY) return ids;

    let length = 0;
    for (let i = 0; i < ids.length; i++) {
      const isPair = ids[i] === left && ids[i + 1] === right;
      ids[length] = isPair ? merged : (ids[i] as number);
      length++;
      if (isPair) i++;
    }
    ids.length = length;
  }
}
