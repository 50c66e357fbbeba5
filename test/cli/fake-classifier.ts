import { parseCategories } from '../../src/classify/categories.ts';
import type {
  BrokenFile,
  Classifier,
  CollectOptions,
  PictureCollection,
  Ranking,
} from '../../src/classify/classifier.ts';
import { joinTiles } from '../../src/classify/decide.ts';
import type { WorkContext } from '../../src/work-context.ts';

/** A "picture" of a word: only the signature of a GIF is valid. */
export function pictureOf(word: string): string {
  return `GIF89a ${word}`;
}

/** The words of all fakes, because an index outlives a run. */
const known: string[] = [];

/** Between the embeddings of two words, in radians. */
const STEP = 0.01;

export interface FakeClassifierOptions {
  /** Delays `add`; its errors are thrown while the picture is classified. */
  readonly onAdd?: (word: string) => Promise<void>;
}

export interface FakeClassifier {
  readonly classifier: Classifier;
  /** The words of the pictures, in order of arrival. */
  readonly added: string[];
}

/**
 * Ranks pictures of words: the matching candidate scores 0.9, the others share the rest. A picture of "broken" is
 * broken.
 */
export function createFakeClassifier({ onAdd }: FakeClassifierOptions = {}): FakeClassifier {
  const added: string[] = [];
  // Far enough apart to survive the rounding of the index.
  const embeddingOf = (word: string): Float32Array => {
    if (!known.includes(word)) known.push(word);
    const angle = known.indexOf(word) * STEP;
    return Float32Array.of(Math.cos(angle), Math.sin(angle));
  };
  const wordOf = ([cosine = 0, sine = 0]: Float32Array): string =>
    known[Math.round(Math.atan2(sine, cosine) / STEP)] ?? '';
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
  const warningOf = (word: string) => (word === 'cut' ? 'The picture is cut off.' : undefined);
  const collect = ({ signal }: WorkContext, { faultOf }: CollectOptions = {}): PictureCollection => {
    const words: [name: string, word: string][] = [];
    const faults: BrokenFile[] = [];
    const names: string[] = [];
    let failure: { readonly thrown: unknown } | undefined;
    const orFailure = async <T>(answer: () => T): Promise<T> => {
      if (failure) throw failure.thrown;
      return answer();
    };
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
          return { settled: Promise.resolve({ file: name, embedding: embeddingOf(word) }) };
        }
        if (word === 'broken') faults.push({ file: name, code: 'image_broken', error: 'It is broken.' });
        else words.push([name, word]);
        signal.throwIfAborted();
        return { settled: Promise.resolve({ file: name, embedding: embeddingOf(word) }) };
      },
      addEmbedding: (name, tiles) => {
        const embedding = joinTiles(tiles);
        names.push(name);
        words.push([name, wordOf(embedding)]);
        return embedding;
      },
      embeddings: () =>
        orFailure(() =>
          words.map(([file, word]) => ({ file, embedding: embeddingOf(word), warning: warningOf(word) })),
        ),
      refuse: (file, { code, message }) => {
        names.push(file);
        faults.push({ file, code, error: message });
      },
      names: () => names,
      broken: () => orFailure(() => faults),
      thumbnails: async () => [],
      warnings: async () =>
        words.flatMap(([file, word]) => {
          const warning = warningOf(word);
          return warning === undefined ? [] : [{ file, warning }];
        }),
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
        logitScale: 100,
      },
      collect,
      embedTexts: async (texts) => texts.map(embeddingOf),
      async createRanker({ labels }, { limit }) {
        return (embedding) => rank([['', wordOf(embedding)]], own(labels), limit)[0]?.candidates ?? [];
      },
      findSynonyms: async () => [],
      async createComparison({ labels }, { limit }) {
        return {
          width: labels.length,
          compare: (embedding) => labels.map((label) => (label === wordOf(embedding) ? 0.3 : 0.01)),
          rank: (all, category) => {
            const similarities = all[category] ?? new Float64Array();
            return [...similarities.entries()]
              .map(([name, similarity]) => {
                const score = similarity === 0.3 ? 0.9 : 0.1 / Math.max(1, similarities.length - 1);
                return { name, score, similarity: score / 3 };
              })
              .toSorted((a, b) => b.score - a.score)
              .slice(0, limit);
          },
        };
      },
      countTokens: () => Promise.reject(new Error('the fake knows no tokens')),
      parseTexts: () => {
        throw new Error('the fake reads no texts');
      },
      searchVideo: () => Promise.reject(new Error('the fake sees no videos')),
      parseCategories: (document) => parseCategories(document, 1000),
      checkLabels: async () => undefined,
    },
  };
}
