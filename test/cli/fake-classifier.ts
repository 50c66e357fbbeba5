import { parseCategories } from '../../src/classify/categories.ts';
import type {
  BrokenFile,
  Classifier,
  CollectOptions,
  PictureCollection,
  Ranking,
} from '../../src/classify/classifier.ts';
import type { WorkContext } from '../../src/work-context.ts';

/** A "picture" of a word: only the signature of a GIF is valid. */
export function pictureOf(word: string): string {
  return `GIF89a ${word}`;
}

export interface FakeClassifierOptions {
  /** Delays `add`; its errors are thrown while the picture is classified. */
  readonly onAdd?: (word: string) => Promise<void>;
}

export interface FakeClassifier {
  readonly classifier: Classifier;
  /** The words of the pictures, in order of arrival. */
  readonly added: string[];
}

const noEmbedding = new Float32Array(2);

/**
 * Ranks pictures of words: the matching candidate scores 0.9, the others share the rest. A picture of "broken" is
 * broken.
 */
export function createFakeClassifier({ onAdd }: FakeClassifierOptions = {}): FakeClassifier {
  const added: string[] = [];
  const collect = ({ signal }: WorkContext, { faultOf }: CollectOptions = {}): PictureCollection => {
    const words: [name: string, word: string][] = [];
    const faults: BrokenFile[] = [];
    const names: string[] = [];
    let failure: { readonly thrown: unknown } | undefined;
    const orFailure = async <T>(answer: () => T): Promise<T> => {
      if (failure) throw failure.thrown;
      return answer();
    };
    const rank = (
      subjects: readonly (readonly [string, string])[],
      candidates: readonly (readonly [string, string])[],
      limit = candidates.length,
    ): Ranking[] =>
      subjects.map(([name, word]) => {
        const scored = candidates.map(([candidate, shown]) => {
          const score = shown === word ? 0.9 : 0.1 / Math.max(1, candidates.length - 1);
          return { name: candidate, score, similarity: score / 3 };
        });
        return { name, candidates: scored.toSorted((a, b) => b.score - a.score).slice(0, limit) };
      });
    const own = (labels: readonly string[]) => labels.map((label) => [label, label] as const);
    return {
      async add(name, picture) {
        signal.throwIfAborted();
        const bytes = picture instanceof Uint8Array ? picture : await picture.read();
        const word = new TextDecoder().decode(bytes).slice('GIF89a '.length);
        added.push(word);
        names.push(name);
        try {
          await onAdd?.(word);
        } catch (thrown) {
          const fault = faultOf?.(thrown);
          if (fault) faults.push({ file: name, code: fault.code, error: fault.message });
          else failure = { thrown };
          return { settled: Promise.resolve({ file: name, embedding: noEmbedding }) };
        }
        if (word === 'broken') faults.push({ file: name, code: 'image_broken', error: 'It is broken.' });
        else words.push([name, word]);
        signal.throwIfAborted();
        return { settled: Promise.resolve({ file: name, embedding: noEmbedding }) };
      },
      addEmbedding: () => {
        throw new Error('the fake takes no embeddings');
      },
      embeddings: () => Promise.reject(new Error('the fake makes no embeddings')),
      refuse: (file, { code, message }) => {
        names.push(file);
        faults.push({ file, code, error: message });
      },
      names: () => names,
      broken: () => orFailure(() => faults),
      thumbnails: async () => [],
      warnings: async () =>
        words
          .filter(([, word]) => word === 'cut')
          .map(([file]) => ({ file, warning: 'The picture is cut off.' })),
      rankCategories: ({ labels }, { limit }) => orFailure(() => rank(words, own(labels), limit)),
      rankFiles: ({ labels }, { limit }) => orFailure(() => rank(own(labels), words, limit)),
    };
  };
  return {
    added,
    classifier: {
      model: {
        name: 'fake',
        sha256: '0'.repeat(64),
        precision: 'fp32',
        embeddingDimension: 2,
        imageResolution: 2,
      },
      collect,
      embedTexts: () => Promise.reject(new Error('the fake makes no embeddings')),
      countTokens: () => Promise.reject(new Error('the fake knows no tokens')),
      parseTexts: () => {
        throw new Error('the fake reads no texts');
      },
      createRanker: () => Promise.reject(new Error('the fake ranks collections only')),
      searchVideo: () => Promise.reject(new Error('the fake sees no videos')),
      parseCategories: (document) => parseCategories(document, 1000),
      checkLabels: async () => undefined,
    },
  };
}
