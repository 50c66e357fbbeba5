import { setTimeout as pause } from 'node:timers/promises';
import type { CandidateScore, Categories, Classifier } from '../../classify/classifier.ts';
import { DECIDING_CANDIDATES, decide } from '../../classify/decide.ts';
import { invariant, ServiceError } from '../../errors.ts';
import type { WorkContext } from '../../work-context.ts';
import type { OpenIndex } from '../index/photo-index.ts';
import {
  type Answers,
  type BrokenFile,
  categoriesOf,
  type Question,
  type TellSynonyms,
  type VideoAnswer,
  type VideoRequest,
} from './answers.ts';
import type { Embedder, EmbeddingOutcome } from './embedder.ts';
import { createEmbeddingAnswers } from './embedding-answers.ts';
import { unexpectedFault } from './fault-watch.ts';
import { chunksOf, inOrder } from './in-order.ts';
import { similaritiesOf } from './similarities.ts';

/** The question, with the number of candidates that the decision and the list need. */
function asked(question: Question) {
  return { ...question, limit: Math.max(question.top_k, DECIDING_CANDIDATES) };
}

/** Searches a video with the classifier in this process. */
async function searchVideoHere(
  classifier: Classifier,
  question: Question,
  { path, thorough, moments, onProgress, takeJpeg }: VideoRequest,
  work: WorkContext,
): Promise<VideoAnswer> {
  const options: Parameters<Classifier['searchVideo']>[2] = {
    ...asked(question),
    thorough,
    onProgress(progress) {
      if (progress.stage === 'searching') onProgress(progress.secondsDone, progress.secondsTotal);
    },
  };
  await using search = await classifier.searchVideo(path, question.categories, options, work);
  const frames = search.rankings.map(({ category, frames: ranked, moments: found }) => {
    const [best] = ranked;
    invariant(best, 'a ranking without a frame');
    const { score, similarity, background } = best;
    const timestamp = decide(ranked, question)?.timestamp ?? null;
    const listed = moments && { moments: found.slice(0, question.top_k) };
    const scores = ranked.slice(0, question.top_k);
    const standing = { score, similarity, ...(background && { background }) };
    return { category, timestamp, ...standing, scores, ...listed };
  });
  if (takeJpeg) {
    const winners = frames.flatMap(({ timestamp }) => timestamp ?? []);
    for await (const { timestamp, jpeg } of search.jpegs([...new Set(winners)])) {
      await takeJpeg(timestamp, categoriesOf(frames, timestamp), jpeg);
    }
  }
  return { frames, warnings: search.warnings };
}

interface EngineEmbedderOptions {
  /** How pictures are read. */
  readonly question: Pick<Question, 'background' | 'fit'>;
  readonly signal: AbortSignal;
  /** Ends the engine. */
  readonly dispose: () => Promise<void>;
  /** How long to wait after inference has broken down. */
  readonly restartMs?: number;
}

interface EngineAnswersOptions extends EngineEmbedderOptions {
  readonly question: Question;
  readonly maxImageBytes: number;
  readonly index?: OpenIndex | undefined;
  readonly tellSynonyms?: TellSynonyms;
}

/** How often a picture is tried when inference breaks down. */
const ATTEMPTS = 5;
/** A new inference thread has usually loaded its graphs by then. */
const RESTART_MS = 5000;

/** Similarities that are kept at a time, with 8 bytes each. */
const MAX_SIMILARITIES = 32e6;

/** Pictures that are read ahead of the encoder, each of any accepted size. */
const READS_AT_ONCE = 3;

/**
 * The classifier in this process.
 * @throws ServiceError label_too_long
 */
export async function createEngineAnswers(
  classifier: Classifier,
  options: EngineAnswersOptions,
): Promise<Answers> {
  const { question, signal, tellSynonyms } = options;
  const embedder = createEngineEmbedder(classifier, options);
  const answers = await createEmbeddingAnswers(embedder, options);
  tellSynonyms?.(await classifier.findSynonyms(question.categories, question, { signal }));
  return {
    ...answers,
    video: (request) => searchVideoHere(classifier, question, request, { signal }),
  };
}

/** Encodes with the classifier in this process. While inference is being restarted, pictures are tried again. */
export function createEngineEmbedder(
  classifier: Classifier,
  { question: { background, fit }, signal, dispose, restartMs = RESTART_MS }: EngineEmbedderOptions,
): Embedder {
  const { name, sha256, precision, embeddingDimension: dimension } = classifier.model;

  /** If one picture fails unexpectedly, the others are still encoded. */
  const collect = () =>
    classifier.collect(
      { signal },
      {
        background,
        fit,
        faultOf(thrown) {
          if (signal.aborted || thrown instanceof ServiceError)
            return isRestarting(thrown) ? thrown : undefined;
          return unexpectedFault(thrown);
        },
      },
    );

  /** @returns the picture's fault; undefined if it was taken */
  const orFault = async (take: () => Promise<unknown>): Promise<Omit<BrokenFile, 'file'> | undefined> => {
    try {
      await take();
      return undefined;
    } catch (thrown) {
      if (signal.aborted || thrown instanceof ServiceError) throw thrown;
      const { code, message } = unexpectedFault(thrown);
      return { kind: 'broken', code, error: message };
    }
  };

  /** Tries again while inference is being restarted. */
  const whileRestarting = async <T>(ask: () => Promise<T>): Promise<T> => {
    for (let attempt = 1; ; attempt++) {
      try {
        return await ask();
      } catch (fault) {
        if (attempt === ATTEMPTS || !isRestarting(fault)) throw fault;
        await pause(restartMs, undefined, { signal });
      }
    }
  };

  const embedOnce: Embedder['embed'] = async (files, read) => {
    const collection = collect();
    const outcomes = new Map<string, EmbeddingOutcome>();
    let place = 0;
    const reads = inOrder(files, READS_AT_ONCE, async (file) => {
      signal.throwIfAborted();
      return [file.path, await read(file)] as const;
    });
    for await (const [file, found] of reads) {
      const at = String(place);
      place += 1;
      const other = found.kind === 'picture' ? await orFault(() => collection.add(at, found.bytes)) : found;
      if (other) outcomes.set(at, { ...other, file });
    }
    const pathOf = (name: string): string => files[Number(name)]?.path ?? name;
    for (const fault of await collection.broken()) {
      outcomes.set(fault.file, { kind: 'broken', ...fault, file: pathOf(fault.file) });
    }
    for (const { file, embedding, warning } of await collection.embeddings()) {
      outcomes.set(file, { kind: 'embedded', file: pathOf(file), embedding, warning });
    }
    return files.map((_, index) => {
      const outcome = outcomes.get(String(index));
      invariant(outcome, 'a file without an outcome');
      return outcome;
    });
  };

  return {
    model: { name, sha256, precision },
    dimension,
    async embed(files, read) {
      const outcomes = [...(await embedOnce(files, read))];
      for (let attempt = 1; attempt < ATTEMPTS; attempt++) {
        const places = [...outcomes.keys()].filter((place) => isRestarting(outcomes[place]));
        if (places.length === 0) break;
        await pause(restartMs, undefined, { signal });
        const again = await embedOnce(
          places.flatMap((place) => files[place] ?? []),
          read,
        );
        for (const [index, outcome] of again.entries()) outcomes[places[index] ?? 0] = outcome;
      }
      return outcomes;
    },
    async embedText(words, options) {
      const [embedding] = await whileRestarting(() => classifier.embedTexts([words], options, { signal }));
      invariant(embedding, 'a text without an embedding');
      return embedding;
    },
    async rankCategories(embeddings, categories, options) {
      const rank = await whileRestarting(() => classifier.createRanker(categories, options, { signal }));
      return embeddings.map((embedding) => rank(embedding));
    },
    async rankPictures(pictures, categories, options) {
      const portion = Math.max(1, Math.floor(MAX_SIMILARITIES / Math.max(1, pictures.count)));
      const rankings: (readonly CandidateScore<number>[])[] = [];
      for (const some of chunksOf([...categories.labels.keys()], portion)) {
        const comparison = await whileRestarting(() =>
          classifier.createComparison(someOf(categories, some), options, { signal }),
        );
        const similarities = await similaritiesOf(pictures, comparison.width, comparison.compare);
        const values = similarities.map((one) => one.values);
        for (const order of some.keys()) {
          const ranked = comparison.rank(values, order);
          const places = similarities[order]?.places ?? [];
          rankings.push(ranked.map((one) => ({ ...one, name: places[one.name] ?? Number.NaN })));
        }
      }
      return rankings;
    },
    [Symbol.asyncDispose]: dispose,
  };
}

function someOf({ labels, phrases }: Categories, places: readonly number[]): Categories {
  return {
    labels: places.map((place) => labels[place]!),
    phrases: phrases && places.map((place) => phrases[place]!),
  };
}

/** @param fault an error that was thrown, or a picture's outcome */
function isRestarting(fault: unknown): fault is ServiceError {
  return typeof fault === 'object' && fault !== null && 'code' in fault && fault.code === 'engine_restarting';
}
