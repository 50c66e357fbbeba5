import type { Classifier, RankingOptions } from '../../classify/classifier.ts';
import type { FoundFile } from '../files/find-files.ts';
import { type ReadFile, readPicture } from '../files/read-picture.ts';
import type {
  Answers,
  BestFile,
  BrokenFile,
  FileOutcome,
  Question,
  SkippedFile,
  TakenFile,
} from './answers.ts';
import { searchVideoHere } from './engine-video.ts';
import { chunksOf, inOrder } from './in-order.ts';

export interface EngineAnswersOptions {
  readonly question: Question;
  readonly maxImageBytes: number;
  readonly signal: AbortSignal;
  /** Ends the engine. */
  readonly dispose: () => Promise<void>;
}

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
  { question, maxImageBytes, signal, dispose }: EngineAnswersOptions,
): Promise<Answers> {
  const { categories, templates, threshold, topK } = question;
  const options: RankingOptions = { limit: topK, ...(templates && { templates }) };

  /** Reads files ahead and hands the pictures among them over. @returns the others, by their place */
  const takeAll = async (
    files: readonly FoundFile[],
    add: (place: number, bytes: Uint8Array) => Promise<void>,
    tell: (outcome: TakenFile) => void = () => undefined,
  ): Promise<Map<number, BrokenFile | SkippedFile>> => {
    const left = new Map<number, BrokenFile | SkippedFile>();
    let place = 0;
    const reads = inOrder(files, READS_AT_ONCE, async (file): Promise<[FoundFile, ReadFile]> => {
      signal.throwIfAborted();
      return [file, await readPicture(file, maxImageBytes)];
    });
    for await (const [{ path: file }, read] of reads) {
      if (read.kind === 'picture') {
        await add(place, read.bytes);
        tell({ kind: 'taken', file });
      } else {
        left.set(place, { ...read, file });
        tell({ ...read, file });
      }
      place += 1;
    }
    return left;
  };

  const categorizeChunk = async (files: readonly FoundFile[]): Promise<readonly FileOutcome[]> => {
    const collection = classifier.collect(signal);
    const left = await takeAll(files, (place, bytes) => collection.add(String(place), bytes));
    const rankings = await collection.rankCategories(categories, options);
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

  // Of no pictures: encodes the labels once, before several chunks ask for them at the same time.
  await classifier.collect(signal).rankCategories(categories, options);

  return {
    model: classifier.model,

    async *categorize(files) {
      for await (const outcomes of inOrder(chunksOf(files, CHUNK_FILES), CHUNKS_AT_ONCE, categorizeChunk)) {
        yield* outcomes;
      }
    },

    async best(files, tell) {
      const collection = classifier.collect(signal);
      await takeAll(files, (place, bytes) => collection.add(String(place), bytes), tell);
      const pathOf = (name: string): string => files[Number(name)]?.path ?? name;
      for (const fault of await collection.broken()) {
        tell({ kind: 'broken', ...fault, file: pathOf(fault.file) });
      }
      const rankings = await collection.rankFiles(categories, options);
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
