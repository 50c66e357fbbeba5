import { stat } from 'node:fs/promises';
import { resolve } from 'node:path';
import type { CandidateScore } from '../../classify/classifier.ts';
import { DECIDING_CANDIDATES, decide, decideSeveral, similarityOf, tilesOf } from '../../classify/decide.ts';
import { rankSimilarities } from '../../classify/ranking.ts';
import { MAX_PICTURE_TILES } from '../../contract/options.ts';
import { invariant } from '../../errors.ts';
import type { FoundFile } from '../files/find-files.ts';
import { readPicture } from '../files/read-picture.ts';
import { stampOf } from '../files/stamp.ts';
import {
  type ContentHash,
  hashContent,
  type IndexedPicture,
  type NewEntry,
  type OpenIndex,
  type StampedFile,
} from '../index/photo-index.ts';
import { createEmbeddingCoder, type StoredEmbedding } from '../index/stored-embedding.ts';
import type {
  AnsweredFile,
  Answers,
  BestFile,
  BrokenFile,
  FileOutcome,
  PhotoLibrary,
  Question,
  SearchOptions,
  SimilarFile,
  SkippedFile,
  TellFile,
} from './answers.ts';
import type { Embedder, ScannedPictures } from './embedder.ts';
import { createFaultWatch } from './fault-watch.ts';
import { inOrder } from './in-order.ts';
import { groupNearDuplicates } from './near-duplicates.ts';
import { ROUNDING, similaritiesOf } from './similarities.ts';

interface EmbeddingAnswersOptions {
  readonly question: Question;
  readonly maxImageBytes: number;
  readonly signal: AbortSignal;
  /** undefined: every picture is encoded */
  readonly index?: OpenIndex | undefined;
}

/** Pictures that are answered together, one batch of the model. The index has them before they are answered. */
export const CHUNK_FILES = 8;
/** As long as the index has them all, more are looked up at once, which takes half as long. */
const KNOWN_FILES = 64;
/** While one chunk is ranked, the next ones are read and encoded. */
export const CHUNKS_AT_ONCE = 3;

/** A picture, as its embedding in the form of the index. */
interface LookedAt {
  readonly kind: 'picture';
  readonly file: string;
  /** undefined: the index does not have it */
  readonly picture: IndexedPicture | undefined;
  readonly salt: number;
  /** undefined if it is in the index, and was not asked for */
  readonly embedding: Float32Array | undefined;
  /** Set if the index does not have it. */
  readonly stored: StoredEmbedding | undefined;
  /** Such pictures are not kept in the index: its second answer would lack the warning. */
  readonly warning?: string | undefined;
}

type Look = LookedAt | BrokenFile | SkippedFile;

/** The pictures of a question, without their embeddings. */
interface Photos extends ScannedPictures {
  /** The usable ones, in their order. */
  readonly files: readonly FoundFile[];
}

/** For embeddings that no index holds. */
const NO_SALT = 0;

/**
 * Answers from embeddings: from those in the index, and by encoding the pictures that it does not have. All go through
 * the form in which the index stores them, so that an answer has the same digits with and without an index.
 * @throws ServiceError label_too_long
 */
export async function createEmbeddingAnswers(
  embedder: Embedder,
  { question, maxImageBytes, signal, index: opened }: EmbeddingAnswersOptions,
): Promise<Omit<Answers, 'video'>> {
  const { categories } = question;
  const { labels } = categories;
  const { template, top_k, background, fit, threshold, others, several } = question;
  const { dimension, model } = embedder;
  const limit = Math.max(top_k, DECIDING_CANDIDATES);
  const options = { template, threshold, others, several, limit };
  // The same photo has another embedding on another background, or with another fit.
  const reading = [
    model.precision,
    ...(background === undefined ? [] : [`on ${background}`]),
    ...(fit === 'crop' ? [] : [`fit ${fit}`]),
  ].join(' ');
  const roomOf = () => new Float32Array((fit === 'tiles' ? MAX_PICTURE_TILES : 1) * dimension);
  const index = opened?.of({ sha256: model.sha256, precision: reading }, dimension);
  // Encodes the labels once, before several chunks need them at the same time, and refuses them before any picture.
  if (labels.length > 0) await embedder.rankCategories([], categories, options);

  const coder = createEmbeddingCoder(dimension);
  const counts = { fromIndex: 0 };
  let nextFiles = CHUNK_FILES;

  const stampAll = (files: readonly FoundFile[]): Promise<readonly (StampedFile | undefined)[]> => {
    const stampedMs = Date.now();
    return Promise.all(
      files.map(async ({ path }) => {
        // Reading it gives the reason.
        const stats = await stat(path).catch(() => undefined);
        return stats?.isFile() ? { path, stamp: stampOf(stats), stampedMs } : undefined;
      }),
    );
  };

  /** Files that the index knows under their path, by their places. */
  const recognise = (
    stamped: readonly (StampedFile | undefined)[],
    wantsEmbedding: boolean,
  ): ReadonlyMap<number, LookedAt> => {
    const known = new Map<number, LookedAt>();
    // A file with too many bytes is refused, known or not.
    const entries = [...stamped.entries()].filter(
      (entry): entry is [number, StampedFile] =>
        entry[1] !== undefined && entry[1].stamp.size <= maxImageBytes,
    );
    const pictures = index?.recognise(entries.map(([, file]) => file)) ?? [];
    for (const [order, [place, { path: file }]] of entries.entries()) {
      const picture = pictures[order];
      if (!picture) continue;
      const embedding = wantsEmbedding ? index?.read(picture, roomOf()) : undefined;
      if (wantsEmbedding && !embedding) continue;
      const { salt } = picture;
      counts.fromIndex += 1;
      known.set(place, { kind: 'picture', file, picture, salt, embedding, stored: undefined });
    }
    return known;
  };

  /**
   * Finds the embeddings of files in the index, and makes those that are missing.
   * @param wantsEmbedding false: pictures of the index come without
   */
  const lookAt = async (files: readonly FoundFile[], wantsEmbedding: boolean): Promise<readonly Look[]> => {
    signal.throwIfAborted();
    // Before the files are read: if one changes meanwhile, it does not have this stamp any more.
    const stamped = index ? await stampAll(files) : [];
    const known = recognise(stamped, wantsEmbedding);
    const unknown = [...files.keys()].filter((place) => !known.has(place));
    nextFiles = unknown.length === 0 ? KNOWN_FILES : CHUNK_FILES;
    const contents = new Map<string, ContentHash>();
    if (unknown.length === 0) return files.flatMap((_, place) => known.get(place) ?? []);
    const outcomes = await embedder.embed(
      unknown.flatMap((place) => files[place] ?? []),
      async (file) => {
        const read = await readPicture(file, maxImageBytes);
        if (read.kind !== 'picture' || !index) return read;
        const content = hashContent(read.bytes);
        contents.set(file.path, content);
        const picture = index.find(content);
        const embedding = picture && index.read(picture, roomOf());
        return embedding ? { kind: 'known', embedding } : read;
      },
    );
    const looks: Look[] = [];
    for (const [place, look] of known) looks[place] = look;
    const entries: NewEntry[] = [];
    const entryPlaces: number[] = [];
    for (const [order, outcome] of outcomes.entries()) {
      const place = unknown[order] ?? 0;
      if (outcome.kind === 'broken' || outcome.kind === 'skipped') {
        looks[place] = outcome;
        continue;
      }
      const { file, embedding } = outcome;
      const warning = outcome.kind === 'embedded' ? outcome.warning : undefined;
      const content = warning === undefined ? contents.get(file) : undefined;
      const salt = content && index ? index.saltOf(content) : NO_SALT;
      const stored = coder.store(embedding, salt);
      if (outcome.kind === 'known') counts.fromIndex += 1;
      // A known embedding has this form, and keeps its bits.
      if (outcome.kind === 'embedded') coder.load(stored, salt, embedding);
      looks[place] = { kind: 'picture', file, picture: undefined, salt, embedding, stored, warning };
      const stamp = stamped[place];
      if (!content || !stamp) continue;
      entries.push({ ...stamp, content, stored: outcome.kind === 'embedded' ? stored : undefined });
      entryPlaces.push(place);
    }
    for (const [order, picture] of (entries.length > 0 ? (index?.save(entries) ?? []) : []).entries()) {
      const place = entryPlaces[order] ?? 0;
      const look = looks[place];
      if (picture && look?.kind === 'picture') looks[place] = { ...look, picture, stored: undefined };
    }
    return looks;
  };

  function* chunksOfFiles(files: readonly FoundFile[]): Generator<readonly FoundFile[]> {
    for (let start = 0; start < files.length; ) {
      const chunk = files.slice(start, start + nextFiles);
      start += chunk.length;
      yield chunk;
    }
  }

  /** Looks at all files, chunk by chunk. */
  const look = (files: readonly FoundFile[], wantsEmbedding: boolean): AsyncGenerator<readonly Look[]> =>
    inOrder(chunksOfFiles(files), CHUNKS_AT_ONCE, (chunk) => lookAt(chunk, wantsEmbedding));

  const categorizeChunk = async (files: readonly FoundFile[]): Promise<readonly FileOutcome[]> => {
    const looks = await lookAt(files, true);
    const embeddings = looks.flatMap((one) => (one.kind === 'picture' ? (one.embedding ?? []) : []));
    const rankings = (await embedder.rankCategories(embeddings, categories, options)).values();
    return looks.map((one) => (one.kind === 'picture' ? answerOf(one, rankings.next().value ?? []) : one));
  };

  const gather = async (files: readonly FoundFile[], tell: TellFile): Promise<Photos> => {
    const usable: FoundFile[] = [];
    const ids: number[] = [];
    const salts: number[] = [];
    /** Pictures that the index could not store, by the places of their files. */
    const kept = new Map<number, StoredEmbedding>();
    const watch = createFaultWatch();
    let place = 0;
    for await (const looks of look(files, false)) {
      for (const one of looks) {
        const file = files[place];
        invariant(file, 'more outcomes than files');
        place += 1;
        watch(one.kind === 'picture' ? undefined : one);
        if (one.kind !== 'picture') {
          tell(one);
          continue;
        }
        if (one.stored) kept.set(usable.length, one.stored);
        ids.push(one.picture?.id ?? Number.POSITIVE_INFINITY);
        salts.push(one.salt);
        usable.push(file);
        tell({ kind: 'taken', file: file.path });
        if (one.warning !== undefined) tell({ kind: 'warned', file: file.path, warning: one.warning });
      }
    }
    const byId = Uint32Array.from(ids.keys()).sort(
      (a, b) => ids[a]! - ids[b]! || salts[a]! - salts[b]! || a - b,
    );
    const stored = byId.filter((at) => !kept.has(at));
    // Equal files share a picture. An index that was made anew meanwhile may have given an id to another picture.
    const isShared = (a: number, b: number) => ids[a] === ids[b] && salts[a] === salts[b];
    const firsts = Uint32Array.from(stored.keys()).filter(
      (at) => at === 0 || !isShared(stored[at]!, stored[at - 1]!),
    );
    const list = {
      ids: Float64Array.from(firsts, (at) => ids[stored[at]!]!),
      salts: Uint32Array.from(firsts, (at) => salts[stored[at]!]!),
    };
    const placesOf = (picture: number) =>
      stored.subarray(firsts[picture]!, firsts[picture + 1] ?? stored.length);

    return {
      files: usable,
      count: usable.length,
      async scan(visit) {
        const room = roomOf();
        for (const [at, itsStored] of kept) {
          const embedding = coder.load(itsStored, salts[at] ?? NO_SALT, room);
          if (embedding) visit(at, embedding);
        }
        const missing = await index?.scan(
          list,
          (picture, itsEmbedding) => {
            for (const at of placesOf(picture)) visit(at, itsEmbedding);
          },
          signal,
        );
        const places = (missing ?? []).flatMap((picture) => [...placesOf(picture)]);
        let order = 0;
        const again = places.flatMap((at) => usable[at] ?? []);
        for await (const looks of look(again, true)) {
          for (const one of looks) {
            const at = places[order] ?? 0;
            order += 1;
            if (one.kind === 'picture' && one.embedding) visit(at, one.embedding);
          }
        }
      },
    };
  };

  const answerOf = ({ file, warning }: LookedAt, ranked: readonly CandidateScore[]): AnsweredFile => {
    const [best] = ranked;
    invariant(best, 'a picture without a ranking');
    return {
      kind: 'answered',
      file,
      warning,
      category: decide(ranked, question)?.name ?? null,
      ...(several && { categories: decideSeveral(ranked, question).map(({ name }) => name) }),
      score: best.score,
      similarity: best.similarity,
      ...(best.background && { background: best.background }),
      // All candidates of a picture have the same background.
      scores: ranked
        .slice(0, top_k)
        .map(({ name, score, similarity }) => ({ category: name, score, similarity })),
    };
  };

  const library: PhotoLibrary = {
    async search(words, files, searchOptions, tell) {
      const subject = await embedder.embedText(words, { template });
      return await mostSimilar(
        await gather(files, tell),
        (embedding) => similarityOf(subject, embedding),
        searchOptions,
      );
    },

    async similar(photo, files, searchOptions, tell) {
      const [subject] = await lookAt([photo], true);
      if (subject?.kind === 'broken') return subject;
      invariant(subject?.kind === 'picture' && subject.embedding, 'a named file was skipped');
      const itself = resolve(photo.path);
      const others = files.filter(({ path }) => resolve(path) !== itself);
      const tiles = tilesOf(subject.embedding, dimension);
      return await mostSimilar(
        await gather(others, tell),
        // Of several tiles, the two that are most alike count.
        (embedding) => tiles.reduce((most, tile) => Math.max(most, similarityOf(tile, embedding)), -1),
        searchOptions,
      );
    },

    async duplicates(files, minSimilarity, tell, tellCompared) {
      const photos = await gather(files, tell);
      const embeddings: (Float32Array | undefined)[] = photos.files.map(() => undefined);
      await photos.scan((place, embedding) => {
        // Photos that have one tile in common, such as a sky, are not duplicates.
        embeddings[place] = meanOfTiles(embedding, dimension);
      });
      const groups = await groupNearDuplicates(embeddings, { minSimilarity, signal, tellCompared });
      return groups.flatMap((group, order) =>
        group.map(({ place, similarity }) => ({
          group: order + 1,
          file: photos.files[place]?.path ?? '',
          similarity,
        })),
      );
    },
  };

  return {
    model,
    counts,
    library,

    async *categorize(files) {
      const watch = createFaultWatch();
      for await (const outcomes of inOrder(chunksOfFiles(files), CHUNKS_AT_ONCE, categorizeChunk)) {
        for (const outcome of outcomes) {
          watch(outcome);
          yield outcome;
        }
      }
    },

    async best(files, tell) {
      const photos = await gather(files, tell);
      const pathOf = (place: number): string => photos.files[place]?.path ?? '';
      const rankings = await embedder.rankPictures(photos, categories, options);
      return labels.map((category, order): BestFile => {
        const ranked = rankings[order] ?? [];
        const [best] = ranked;
        const answer = decide(ranked, question);
        return {
          category,
          file: answer && pathOf(answer.name),
          score: best?.score ?? null,
          similarity: best?.similarity ?? null,
          ...(best?.background && { background: best.background }),
          scores: ranked
            .slice(0, top_k)
            .map(({ name, ...standing }) => ({ file: pathOf(name), ...standing })),
        };
      });
    },

    [Symbol.asyncDispose]: () => embedder[Symbol.asyncDispose](),
  };
}

async function mostSimilar(
  photos: Photos,
  compare: (embedding: Float32Array) => number,
  { limit, minSimilarity }: SearchOptions,
): Promise<readonly SimilarFile[]> {
  const [found] = await similaritiesOf(photos, 1, (embedding) => [compare(embedding)]);
  if (!found) return [];
  // Nothing has to add up to 1: the similarity is the score.
  const ranked = rankSimilarities(found.values, { score: (similarities) => similarities, limit });
  return ranked
    .filter(({ similarity }) => similarity >= minSimilarity - ROUNDING)
    .map(({ name, similarity }) => ({ file: photos.files[found.places[name] ?? 0]?.path ?? '', similarity }));
}

/** @returns the mean of a picture's tiles, [D] float32, L2-normalised; a copy */
function meanOfTiles(embedding: Float32Array, dimension: number): Float32Array {
  if (embedding.length === dimension) return embedding.slice();
  const sum = new Float32Array(dimension);
  for (const [at, value] of embedding.entries()) sum[at % dimension]! += value;
  const length = Math.hypot(...sum);
  return length > 0 ? sum.map((value) => value / length) : sum;
}
