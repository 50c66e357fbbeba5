import { setTimeout as pause } from 'node:timers/promises';
import type { Classifier } from '../../classify/classifier.ts';
import { DECIDING_CANDIDATES, decide } from '../../classify/decide.ts';
import { invariant, ServiceError } from '../../errors.ts';
import type { WorkContext } from '../../work-context.ts';
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
    const { score, similarity } = best;
    const timestamp = decide(ranked, question)?.timestamp ?? null;
    const listed = moments && { moments: found.slice(0, question.top_k) };
    return { category, timestamp, score, similarity, scores: ranked.slice(0, question.top_k), ...listed };
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
  /** How long to wait after inference has broken down. */
  readonly restartMs?: number;
}

/** How often a picture is tried when inference breaks down. */
const ATTEMPTS = 5;
/** A new inference thread has usually loaded its graphs by then. */
const RESTART_MS = 5000;

/** Pictures that are answered together, about every second. */
const CHUNK_FILES = 32;
/** While one chunk is ranked, the next one is read and encoded. */
const CHUNKS_AT_ONCE = 2;
/** Pictures that are read ahead of the encoder, each of any accepted size. */
const READS_AT_ONCE = 3;

/**
 * The classifier in this process.
 * @throws ServiceError label_too_long
 */
export async function createEngineAnswers(
  classifier: Classifier,
  { question, maxImageBytes, signal, dispose, restartMs = RESTART_MS }: EngineAnswersOptions,
): Promise<Answers> {
  const { categories } = question;
  const options = asked(question);

  /** @returns the picture's fault; undefined if it was taken */
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

  /** Reads files ahead and adds the pictures among them. @returns the other files, by their place */
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

  /** If one picture fails unexpectedly, the others are still answered. */
  const collect = () =>
    classifier.collect({ signal }, (thrown) => {
      if (signal.aborted || thrown instanceof ServiceError) return isRestarting(thrown) ? thrown : undefined;
      return unexpectedFault(thrown);
    });

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
      const ranked = rankingOf.get(String(place)) ?? [];
      const [best] = ranked;
      invariant(best, 'a sound picture without a ranking');
      return {
        kind: 'answered',
        file,
        category: decide(ranked, question)?.name ?? null,
        score: best.score,
        similarity: best.similarity,
        scores: ranked
          .slice(0, question.top_k)
          .map(({ name, ...standing }) => ({ category: name, ...standing })),
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

  // Without pictures, this encodes the labels once, before several chunks need them at the same time.
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
      // The name of a picture that is tried again begins with its place, too.
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
        const answer = decide(candidates, question);
        return {
          category,
          file: answer && pathOf(answer.name),
          score: best?.score ?? null,
          similarity: best?.similarity ?? null,
          scores: candidates
            .slice(0, question.top_k)
            .map(({ name, ...standing }) => ({ file: pathOf(name), ...standing })),
        };
      });
    },

    video: (request) => searchVideoHere(classifier, question, request, { signal }),
    [Symbol.asyncDispose]: dispose,
  };
}

/** @param fault an error that was thrown, or a picture's outcome */
function isRestarting(fault: unknown): fault is ServiceError {
  return typeof fault === 'object' && fault !== null && 'code' in fault && fault.code === 'engine_restarting';
}
