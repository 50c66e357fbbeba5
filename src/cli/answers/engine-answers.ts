import { setTimeout as pause } from 'node:timers/promises';
import type { Classifier, RankingOptions } from '../../classify/classifier.ts';
import { ServiceError } from '../../errors.ts';
import type { FoundFile } from '../files/find-files.ts';
import { type ReadFile, readPicture } from '../files/read-picture.ts';
import {
  type Answers,
  type BestFile,
  type BrokenFile,
  categoriesOf,
  type FileOutcome,
  type Question,
  type SkippedFile,
  type TakenFile,
  type VideoAnswer,
  type VideoRequest,
} from './answers.ts';
import { createFaultWatch, unexpectedFault } from './fault-watch.ts';
import { chunksOf, inOrder } from './in-order.ts';

/** Looks for the best frames of a video with the classifier in this process. */
async function searchVideoHere(
  classifier: Classifier,
  { categories, threshold = 0 }: Question,
  options: RankingOptions,
  { path, onProgress, takeJpeg }: VideoRequest,
  signal: AbortSignal,
): Promise<VideoAnswer> {
  await using search = await classifier.searchVideo(path, categories, {
    ...options,
    signal,
    onProgress(progress) {
      if (progress.stage === 'searching') onProgress(progress.secondsDone, progress.secondsTotal);
    },
  });
  const frames = search.rankings.map(({ category, frames: scores }) => {
    const [best] = scores;
    if (!best) throw new Error('a ranking without a frame: this is a bug');
    const { timestamp, score, similarity } = best;
    return { category, timestamp: score >= threshold ? timestamp : null, score, similarity, scores };
  });
  if (takeJpeg) {
    const winners = frames.flatMap(({ timestamp }) => timestamp ?? []);
    for await (const { timestamp, jpeg } of search.jpegs([...new Set(winners)])) {
      await takeJpeg(timestamp, categoriesOf(frames, timestamp), jpeg);
    }
  }
  return { frames, warnings: search.warnings };
}

interface EngineAnswersOptions {
  readonly question: Question;
  readonly maxImageBytes: number;
  readonly signal: AbortSignal;
  /** Ends the engine. */
  readonly dispose: () => Promise<void>;
  /** How long a breakdown of inference is waited for. */
  readonly restartMs?: number;
}

/** So often a picture is shown to inference that breaks down each time. */
const ATTEMPTS = 5;
/** When a new inference thread usually has its graphs. */
const RESTART_MS = 5000;

/** Answers of so many pictures come at once: every second or so. */
const CHUNK_FILES = 32;
/** While one chunk is ranked, the next ones are read and encoded. */
const CHUNKS_AT_ONCE = 2;
/** Read ahead of the encoder; each may have as many bytes as a picture may. */
const READS_AT_ONCE = 3;

/**
 * The classifier in this process.
 * @throws ServiceError label_too_long
 */
export async function createEngineAnswers(
  classifier: Classifier,
  { question, maxImageBytes, signal, dispose, restartMs = RESTART_MS }: EngineAnswersOptions,
): Promise<Answers> {
  const { categories, templates, threshold, topK } = question;
  const options: RankingOptions = { limit: topK, ...(templates && { templates }) };

  /** @returns what is wrong with the picture, where it could not be taken */
  const orFault = async (take: () => Promise<void>): Promise<Omit<BrokenFile, 'file'> | undefined> => {
    try {
      await take();
      return undefined;
    } catch (thrown) {
      if (signal.aborted || thrown instanceof ServiceError) throw thrown;
      const { code, message } = unexpectedFault(thrown);
      return { kind: 'broken', code, error: message };
    }
  };

  /** Reads files ahead and hands the pictures among them over. @returns the others, by their place */
  const takeAll = async (
    files: readonly FoundFile[],
    add: (place: number, bytes: Uint8Array) => Promise<unknown>,
    tell: (outcome: TakenFile) => void = () => undefined,
  ): Promise<Map<number, BrokenFile | SkippedFile>> => {
    const left = new Map<number, BrokenFile | SkippedFile>();
    let place = 0;
    const reads = inOrder(files, READS_AT_ONCE, async (file): Promise<[FoundFile, ReadFile]> => {
      signal.throwIfAborted();
      return [file, await readPicture(file, maxImageBytes)];
    });
    for await (const [{ path: file }, read] of reads) {
      const at = place;
      const outcome =
        read.kind === 'picture'
          ? await orFault(async () => {
              await add(at, read.bytes);
            })
          : read;
      if (outcome === undefined) tell({ kind: 'taken', file });
      else {
        left.set(place, { ...outcome, file });
        tell({ ...outcome, file });
      }
      place += 1;
    }
    return left;
  };

  /** One picture's fault must not keep the others from their answers, whatever it is. */
  const collect = () =>
    classifier.collect(signal, undefined, (thrown) => {
      if (signal.aborted || thrown instanceof ServiceError) return isRestarting(thrown) ? thrown : undefined;
      return unexpectedFault(thrown);
    });

  /** Asks again while inference is being restarted. */
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

  const categorizeOnce = async (files: readonly FoundFile[]): Promise<readonly FileOutcome[]> => {
    const collection = collect();
    const left = await takeAll(files, (place, bytes) => collection.add(String(place), bytes));
    const rankings = await whileRestarting(() => collection.rankCategories(categories, options));
    const rankingOf = new Map(rankings.map(({ name, candidates }) => [name, candidates]));
    const faultOf = new Map((await collection.broken()).map((fault) => [fault.file, fault]));
    return files.map(({ path: file }, place) => {
      const fault = faultOf.get(String(place));
      const outcome = left.get(place) ?? (fault && { kind: 'broken' as const, ...fault, file });
      if (outcome) return outcome;
      const [best, ...others] = rankingOf.get(String(place)) ?? [];
      if (!best) throw new Error('a sound picture without a ranking: this is a bug');
      return {
        kind: 'answered',
        file,
        category: best.score >= (threshold ?? 0) ? best.name : null,
        score: best.score,
        similarity: best.similarity,
        scores: [best, ...others].map(({ name, ...standing }) => ({ category: name, ...standing })),
      };
    });
  };

  const categorizeChunk = async (files: readonly FoundFile[]): Promise<readonly FileOutcome[]> => {
    const outcomes = [...(await categorizeOnce(files))];
    for (let attempt = 1; attempt < ATTEMPTS; attempt++) {
      const places = [...outcomes.keys()].filter((place) => isRestarting(outcomes[place]));
      if (places.length === 0) break;
      await pause(restartMs, undefined, { signal });
      const again = await categorizeOnce(places.flatMap((place) => files[place] ?? []));
      for (const [index, outcome] of again.entries()) outcomes[places[index] ?? 0] = outcome;
    }
    return outcomes;
  };

  // Of no pictures: encodes the labels once, before several chunks ask for them at the same time.
  await whileRestarting(() => collect().rankCategories(categories, options));

  return {
    model: classifier.model,

    async *categorize(files) {
      const watch = createFaultWatch();
      for await (const outcomes of inOrder(chunksOf(files, CHUNK_FILES), CHUNKS_AT_ONCE, categorizeChunk)) {
        for (const outcome of outcomes) {
          watch(outcome);
          yield outcome;
        }
      }
    },

    async best(files, tell) {
      const collection = collect();
      // A picture that is shown again has a new name, behind its place.
      const placeOf = (name: string): number => Number.parseInt(name, 10);
      const pathOf = (name: string): string => files[placeOf(name)]?.path ?? name;
      await takeAll(files, (place, bytes) => collection.add(`${place}`, bytes), tell);
      let faults = await collection.broken();
      const lasting = faults.filter((fault) => !isRestarting(fault));
      for (let attempt = 2; attempt <= ATTEMPTS; attempt++) {
        const places = faults.filter(isRestarting).map((fault) => placeOf(fault.file));
        if (places.length === 0) break;
        await pause(restartMs, undefined, { signal });
        const again = places.flatMap((place) => files[place] ?? []);
        const nameOf = (index: number) => `${places[index]}, attempt ${attempt}`;
        const left = await takeAll(again, (index, bytes) => collection.add(nameOf(index), bytes));
        for (const outcome of left.values()) tell(outcome);
        const names = new Set(again.map((_, index) => nameOf(index)));
        faults = (await collection.broken()).filter(({ file }) => names.has(file));
        lasting.push(...faults.filter((fault) => attempt === ATTEMPTS || !isRestarting(fault)));
      }
      const watch = createFaultWatch();
      const faultAt = new Map(lasting.map((fault) => [placeOf(fault.file), fault]));
      for (const [place, { path: file }] of files.entries()) {
        const fault = faultAt.get(place);
        const outcome = fault && ({ kind: 'broken', ...fault, file } as const);
        if (outcome) tell(outcome);
        watch(outcome);
      }
      const rankings = await whileRestarting(() => collection.rankFiles(categories, options));
      return rankings.map(({ name: category, candidates }): BestFile => {
        const [best] = candidates;
        return {
          category,
          file: best && best.score >= (threshold ?? 0) ? pathOf(best.name) : null,
          score: best?.score ?? null,
          similarity: best?.similarity ?? null,
          scores: candidates.map(({ name, ...standing }) => ({ file: pathOf(name), ...standing })),
        };
      });
    },

    video: (request) => searchVideoHere(classifier, question, options, request, signal),
    [Symbol.asyncDispose]: dispose,
  };
}

/** Of a fault that was thrown, and of a picture's outcome. */
function isRestarting(fault: unknown): fault is ServiceError {
  return typeof fault === 'object' && fault !== null && 'code' in fault && fault.code === 'engine_restarting';
}
