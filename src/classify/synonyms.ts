import { cosine, SYNONYM_COSINE } from './decide.ts';

/** Two categories that mean almost the same to the model. */
export interface Synonyms {
  readonly categories: readonly [string, string];
  /** Cosine; −1 to 1. */
  readonly similarity: number;
  /** A sentence for a person. */
  readonly warning: string;
}

/** Two million pairs, which takes some tenths of a second. Further categories are not compared. */
const MAX_COMPARED = 2000;
/** The most pairs that are reported. */
const MAX_REPORTED = 10;
/** Numbers of an embedding after which most pairs are known to be different. */
const FIRST_NUMBERS = 32;

/**
 * Finds categories that mean almost the same to the model. The service and the page both call this function.
 * @param embeddings of the categories, [D] float32, L2-normalised
 * @yields after each category, so that the caller can let other work have its turn
 * @returns the most similar pairs first, ties in input order; at most ten. Of more than 2,000 categories, only the first
 *   2,000 are compared
 */
export function* findSynonyms(
  labels: readonly string[],
  embeddings: readonly Float32Array[],
): Generator<undefined, readonly Synonyms[]> {
  let found: Pair[] = [];
  const count = Math.min(labels.length, MAX_COMPARED);
  for (let second = 1; second < count; second++) {
    const embedding = embeddings[second]!;
    for (let first = 0; first < second; first++) {
      if (areFarApart(embedding, embeddings[first]!)) continue;
      const similarity = cosine(embedding, embeddings[first]!);
      if (similarity < SYNONYM_COSINE) continue;
      found.push({ first, second, similarity });
    }
    // Equal texts could be found in two million pairs.
    if (found.length > 100 * MAX_REPORTED) found = mostSimilar(found);
    yield;
  }
  return mostSimilar(found).map(({ first, second, similarity }) => {
    const categories = [labels[first]!, labels[second]!] as const;
    return { categories, similarity, warning: sentenceOf(categories, similarity) };
  });
}

/** Two categories by their places. */
interface Pair {
  readonly first: number;
  readonly second: number;
  readonly similarity: number;
}

/** A sentence shows at most this much of a category. */
const SHOWN_CHARACTERS = 40;

function sentenceOf(categories: Synonyms['categories'], similarity: number): string {
  const [first, second] = categories.map((label) =>
    JSON.stringify(label.length > SHOWN_CHARACTERS ? `${label.slice(0, SHOWN_CHARACTERS)}…` : label),
  );
  return `${first} and ${second} mean almost the same to the model (cosine ${similarity.toFixed(3)}), so they share one score. Leave one of them out, or make them phrases of one category.`;
}

function mostSimilar(found: readonly Pair[]): Pair[] {
  return found.toSorted((a, b) => b.similarity - a.similarity).slice(0, MAX_REPORTED);
}

/** Of normalised vectors, the squared distance is 2 − 2 · cosine. Its first summands alone are often too many. */
const MAX_SQUARED_DISTANCE = 2 - 2 * SYNONYM_COSINE + 1e-6;

function areFarApart(a: Float32Array, b: Float32Array): boolean {
  let sum = 0;
  const end = a.length - (a.length % FIRST_NUMBERS);
  for (let start = 0; start < end; start += FIRST_NUMBERS) {
    for (let i = start; i < start + FIRST_NUMBERS; i++) {
      const difference = a[i]! - b[i]!;
      sum += difference * difference;
    }
    if (sum > MAX_SQUARED_DISTANCE) return true;
  }
  return false;
}
