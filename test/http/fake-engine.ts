import type {
  BrokenFile,
  Classifier,
  FileThumbnail,
  ModelSummary,
  PictureCollection,
  RankingOptions,
  SearchVideo,
} from '../../src/classify/classifier.ts';
import { joinTiles, usesBackground } from '../../src/classify/decide.ts';
import { ServiceError } from '../../src/errors.ts';
import { createFakeVideos, type FakeVideoBehaviour, type FakeVideos } from './fake-video.ts';

export const fakeModel: ModelSummary = {
  name: 'fake',
  sha256: '00'.repeat(32),
  precision: 'fp32',
  embeddingDimension: 2,
  imageResolution: 1,
  logitScale: 100,
  precisionReport: {
    accepted: true,
    reasons: [],
    pictures: { count: 98, meanCosine: 0.9999, minCosine: 0.9998 },
    texts: { count: 1000, meanCosine: 0.9997, minCosine: 0.9995 },
    bestLabels: { clear: 816, agreeing: 816 },
    fp32Products: ['visual.transformer.resblocks.7.mlp.c_proj'],
    rowProducts: ['visual.transformer.resblocks.7.mlp.c_fc'],
  },
};

/** What a test may change and read. */
export interface FakeEngine {
  readonly classifier: Classifier;
  /** Every picture that was added, in order. */
  readonly added: { name: string; bytes: number }[];
  readonly signals: AbortSignal[];
  readonly videos: FakeVideos;
}

export interface FakeBehaviour extends FakeVideoBehaviour {
  /** Back-pressure: resolves when the engine accepts the next picture. */
  readonly onAdd?: (signal: AbortSignal) => Promise<void>;
  /** Called with every picture's bytes at its turn. */
  readonly onBytes?: (bytes: Uint8Array) => void;
  /** The work on an accepted picture. */
  readonly onWork?: (signal: AbortSignal) => Promise<void>;
  readonly onRank?: (signal: AbortSignal) => Promise<void>;
  /** Instead of that of text videos. */
  readonly searchVideo?: SearchVideo;
  /** In characters. */
  readonly longestLabel?: number;
  readonly onCheckLabels?: (signal: AbortSignal) => Promise<void>;
}

/** Rejects when the signal is aborted, as all waits of the engine do. */
function abortOf(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    if (signal.aborted) reject(signal.reason);
    signal.addEventListener('abort', () => reject(signal.reason), { once: true });
  });
}

/** Where a word lies on the unit circle. */
function embeddingOf(word: string): Float32Array {
  const angle = [...word].reduce((sum, character) => (sum * 31 + character.charCodeAt(0)) % 6283, 0) / 1000;
  const embedding = Float32Array.of(Math.cos(angle), Math.sin(angle));
  known.set(embedding.join(), word);
  return embedding;
}

const known = new Map<string, string>();

/** The word whose embedding it is. */
function wordOf(embedding: Float32Array): string {
  return known.get(embedding.join()) ?? '';
}

function rankWord(
  word: string,
  candidates: [string, string][],
  { limit = Number.POSITIVE_INFINITY, onKept, ...rules }: RankingOptions,
) {
  const background = usesBackground(rules) && { background: { phrase: 'object', similarity: 0.1 } };
  const kept = candidates
    .map(([candidate, shown]) => {
      const score = word === shown ? 0.8 : 0.2 / Math.max(1, candidates.length - 1);
      return { name: candidate, score, similarity: score / 4, ...background };
    })
    .toSorted((a, b) => b.score - a.score)
    .slice(0, rules.several ? candidates.length : limit);
  onKept?.(kept.length);
  return kept;
}

const own = (labels: readonly string[]) => labels.map((label): [string, string] => [label, label]);

/**
 * A classifier of text "pictures". The content is the word that the picture shows. A candidate scores 0.8 if it is that
 * word; the others share the rest. Content that begins with "broken:CODE" is a broken picture, "unshown:BYTES" one with
 * a thumbnail of that many bytes.
 */
export function createFakeEngine({
  onAdd,
  onBytes,
  onWork,
  onRank,
  onCheckLabels,
  longestLabel = 300,
  searchVideo,
  ...behaviour
}: FakeBehaviour = {}): FakeEngine {
  const videos = createFakeVideos(behaviour);
  const added: FakeEngine['added'] = [];
  const signals: AbortSignal[] = [];
  const collect: Classifier['collect'] = ({ signal }, { onThumbnail } = {}): PictureCollection => {
    const names: string[] = [];
    const words = new Map<string, string>();
    const faults: BrokenFile[] = [];
    const thumbnails: FileThumbnail[] = [];
    const copies = new Map<string, number>();
    const works: Promise<unknown>[] = [];
    const register = (name: string) => {
      const copy = (copies.get(name) ?? 0) + 1;
      copies.set(name, copy);
      const file = copy === 1 ? name : `${name} (${copy})`;
      names.push(file);
      return file;
    };
    const rank = async (
      subjects: [string, string][],
      candidates: [string, string][],
      options: RankingOptions,
    ) => {
      await onRank?.(signal);
      return subjects.map(([name, word]) => ({ name, candidates: rankWord(word, candidates, options) }));
    };
    signals.push(signal);
    return {
      async add(name, picture) {
        added.push({ name, bytes: picture.byteLength });
        const file = register(name);
        if (onAdd) await Promise.race([onAdd(signal), abortOf(signal)]);
        const bytes = picture instanceof Uint8Array ? picture : await picture.read();
        onBytes?.(bytes);
        const word = new TextDecoder().decode(bytes.subarray(0, 100));
        const thumbnail =
          onThumbnail && word.startsWith('unshown:') ? new Uint8Array(Number(word.slice(8))) : undefined;
        if (thumbnail) {
          onThumbnail?.(thumbnail.byteLength);
          thumbnails.push({ file, jpeg: thumbnail });
        }
        const fault: BrokenFile | undefined = word.startsWith('broken:')
          ? { file, code: word.slice(7) as BrokenFile['code'], error: 'It is broken.' }
          : undefined;
        if (fault) faults.push(fault);
        else words.set(file, word);
        const work = onWork?.(signal) ?? Promise.resolve();
        const settled = work.then(
          () => fault ?? { file, embedding: embeddingOf(word), ...(thumbnail && { thumbnail }) },
        );
        works.push(settled);
        settled.catch(() => undefined);
        return { settled };
      },
      addEmbedding(name, tiles) {
        if (tiles.some(({ length }) => length !== 2)) {
          throw new ServiceError('embeddings_invalid', `"${name}" is too short.`);
        }
        words.set(register(name), tiles.map(wordOf).join('+'));
        return joinTiles(tiles);
      },
      refuse(name, { code, message }) {
        faults.push({ file: register(name), code, error: message });
      },
      names: () => names,
      thumbnails: async () => thumbnails,
      warnings: async () =>
        [...words]
          .filter(([, word]) => word === 'cut')
          .map(([file]) => ({ file, warning: 'The picture is cut off.' })),
      async broken() {
        await Promise.all(works);
        return faults;
      },
      embeddings: async () => [...words].map(([file, word]) => ({ file, embedding: embeddingOf(word) })),
      rankCategories: ({ labels }, options) => rank([...words], own(labels), options),
      rankFiles: ({ labels }, options) => rank(own(labels), [...words], options),
    };
  };
  const classifier: Classifier = {
    model: fakeModel,
    collect,
    embedTexts: async (texts) => texts.map(embeddingOf),
    countTokens: async (texts) => texts.reduce((sum, text) => sum + text.length, 0),
    parseTexts: (document) => new TextDecoder().decode(document).split(',').filter(Boolean),
    async createRanker({ labels }, options, { signal }) {
      await onRank?.(signal);
      return (embedding) => rankWord(wordOf(embedding), own(labels), options);
    },
    findSynonyms: async () => [],
    createComparison: () => Promise.reject(new Error('the service does not compare')),
    searchVideo: searchVideo ?? videos.searchVideo,
    parseCategories(document) {
      const text = new TextDecoder().decode(document);
      const labels: string[] = text.startsWith('["') ? JSON.parse(text) : text.split(',').filter(Boolean);
      if (labels.length === 0) throw new ServiceError('categories_missing', 'The list is empty.');
      if (labels.includes('{')) throw new ServiceError('categories_malformed', 'Not JSON.');
      if (labels.length > 1000) throw new ServiceError('categories_too_many', 'Too many.');
      return { labels };
    },
    async checkLabels({ labels }, { template = ['{}'] }, { signal }) {
      await onCheckLabels?.(signal);
      const length = Math.max(...labels.flatMap((label) => template.map((t) => t.length + label.length - 2)));
      if (length > longestLabel) throw new ServiceError('label_too_long', 'Too long.');
    },
  };
  return { classifier, added, signals, videos };
}
