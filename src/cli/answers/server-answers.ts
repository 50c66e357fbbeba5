import * as v from 'valibot';
import { writeCategories } from '../../classify/categories.ts';
import { questionKeys } from '../../contract/options.ts';
import {
  categorizeDetailsSchema,
  imageDetailsSchema,
  type VideoDetails,
  videoDetailsSchema,
  videoProgressSchema,
} from '../../contract/schemas.ts';
import type { FoundFile } from '../files/find-files.ts';
import { readPicture } from '../files/read-picture.ts';
import type { AnsweringModel } from '../output/provenance.ts';
import { UsageError } from '../usage-error.ts';
import {
  type Answers,
  type BestFile,
  type BrokenFile,
  categoriesOf,
  type FileOutcome,
  type Question,
  type SkippedFile,
  type TakenFile,
  type TellSynonyms,
  type VideoAnswer,
  type VideoRequest,
} from './answers.ts';
import { createFaultWatch } from './fault-watch.ts';
import { chunksOf, inOrder } from './in-order.ts';
import type { FormPart, PostForm } from './server-client.ts';
import {
  CHUNK_FILES,
  expectShape,
  fileParts,
  inHalves,
  mayBeAFile,
  orNothing,
  REQUESTS_AT_ONCE,
  wrongShape,
} from './server-requests.ts';

/** The options of the question. Every endpoint is asked for its detailed answer. */
function queryOf(question: Question): URLSearchParams {
  const query = new URLSearchParams({ details: 'true' });
  for (const name of questionKeys) {
    // An earlier version of the service does not know the option, and has no other fit.
    if (name === 'fit' && question.fit === 'crop') continue;
    for (const value of [question[name] ?? []].flat()) query.append(name, String(value));
  }
  return query;
}

function categoriesPart({ categories }: Question): FormPart {
  return { name: 'categories', content: new TextEncoder().encode(writeCategories(categories)) };
}

/** Lets a server find the best frames of a video. The video is read while it is sent. */
async function searchVideoOnServer(
  post: PostForm,
  question: Question,
  { path, thorough, moments, onProgress, takeJpeg }: VideoRequest,
): Promise<VideoAnswer & Pick<VideoDetails, 'model' | 'category_warnings'>> {
  async function* parts(): AsyncGenerator<FormPart> {
    yield categoriesPart(question);
    yield { name: 'video', filename: 'video', content: Bun.file(path).stream() };
  }
  const query = queryOf(question);
  query.set('images', String(takeJpeg !== undefined));
  // An earlier version of the service refuses options that it does not know.
  if (thorough) query.set('thorough', 'true');
  if (moments) query.set('moments', 'true');
  const answer = await post({
    path: 'video',
    query,
    parts,
    onProgress(data) {
      const progress = v.safeParse(videoProgressSchema, data);
      if (!progress.success || progress.output.stage !== 'searching') return;
      onProgress(progress.output.seconds_done ?? 0, progress.output.seconds_total);
    },
  });
  const { model, results, warnings, category_warnings } = expectShape(videoDetailsSchema, answer);
  const frames = results.map(({ file: _, image: __, ...frame }) => frame);
  const images = new Map(results.map(({ timestamp, image }) => [timestamp, image]));
  for (const [timestamp, image] of images) {
    if (timestamp === null || !image) continue;
    await takeJpeg?.(timestamp, categoriesOf(frames, timestamp), Buffer.from(image, 'base64'));
  }
  return { model, frames, warnings, category_warnings };
}

interface ServerAnswersOptions {
  readonly post: PostForm;
  readonly question: Question;
  readonly maxImageBytes: number;
  readonly signal: AbortSignal;
  readonly tellSynonyms?: TellSynonyms;
}

function nothingFits(category: string): BestFile {
  return { category, file: null, score: null, similarity: null, scores: [] };
}

/** Answers of a running service. Each file is sent under its place in the list, because names may repeat or be private. */
export function createServerAnswers(options: ServerAnswersOptions): Answers {
  const { post, question, maxImageBytes, signal, tellSynonyms } = options;
  const query = queryOf(question);
  let model: AnsweringModel | undefined;
  /** @throws UsageError if it is not the same model as before, because the server was restarted */
  const takeModel = (next: AnsweringModel) => {
    if (model && (model.sha256 !== next.sha256 || model.precision !== next.precision)) {
      throw new UsageError(
        `The server answered with another model than before, ${next.name} instead of ${model.name}: their answers cannot be compared.`,
      );
    }
    model = next;
  };

  /** The form of these files, which are read while it is sent. `left` receives the files that are not pictures. */
  async function* formOf(
    files: readonly FoundFile[],
    left: Map<string, BrokenFile | SkippedFile>,
    tell: (outcome: TakenFile) => void = () => undefined,
  ): AsyncGenerator<FormPart> {
    yield categoriesPart(question);
    yield* fileParts(files, { read: (file) => readPicture(file, maxImageBytes), left, tell, signal });
  }

  const categorizeOnce = async (files: readonly FoundFile[]): Promise<readonly FileOutcome[]> => {
    let left = new Map<string, BrokenFile | SkippedFile>();
    const parts = () => {
      left = new Map();
      return formOf(files, left);
    };
    const answer = await orNothing(post({ path: 'categorize', query, parts }));
    const details = answer === undefined ? undefined : expectShape(categorizeDetailsSchema, answer);
    if (details) takeModel(details.model);
    tellSynonyms?.(details?.category_warnings ?? []);
    const resultOf = new Map(details?.results.map((result) => [result.file, result]));
    const faultOf = new Map(details?.errors.map((fault) => [fault.file, fault]));
    const warningOf = new Map(details?.warnings?.map(({ file, warning }) => [file, warning]));
    return files.map(({ path: file }, index) => {
      const place = String(index);
      const fault = faultOf.get(place);
      const outcome = left.get(place) ?? (fault && { kind: 'broken' as const, ...fault, file });
      if (outcome) return outcome;
      const result = resultOf.get(place);
      if (result?.score == null || result.similarity == null) throw wrongShape();
      const { category, categories, score, similarity, background, scores } = result;
      return {
        kind: 'answered',
        file,
        warning: warningOf.get(place),
        category,
        ...(categories && { categories }),
        score,
        similarity,
        ...(background && { background }),
        scores,
      };
    });
  };

  /** Sends the question without files. @throws ServerError unless the server only misses the files */
  const proveAnswering = async (): Promise<void> => {
    await orNothing(post({ path: 'categorize', query, parts: () => formOf([], new Map()) }));
  };

  /** @param unanswerable receives the files at which the server fails */
  const categorizeChunk = (
    files: readonly FoundFile[],
    unanswerable: BrokenFile[] = [],
  ): Promise<readonly FileOutcome[]> =>
    inHalves(files, { answer: categorizeOnce, prove: proveAnswering, unanswerable, signal });

  async function* categorize(
    files: readonly FoundFile[],
    unanswerable: BrokenFile[] = [],
  ): AsyncGenerator<FileOutcome> {
    const watch = createFaultWatch();
    const chunks = inOrder(chunksOf(files, CHUNK_FILES), REQUESTS_AT_ONCE, (chunk) =>
      categorizeChunk(chunk, unanswerable),
    );
    for await (const outcomes of chunks) {
      for (const outcome of outcomes) {
        watch(outcome);
        yield outcome;
      }
    }
  }

  /** @param told the files of which `tell` was called already */
  const bestOnce = async (
    files: readonly FoundFile[],
    told: Set<string>,
    tell: (outcome: TakenFile) => void,
  ): Promise<readonly BestFile[]> => {
    const parts = () =>
      formOf(files, new Map(), (outcome) => {
        if (!told.has(outcome.file)) tell(outcome);
        told.add(outcome.file);
      });
    // All in one request, because only then the server can compare them.
    const answer = await orNothing(post({ path: 'image', query, parts }));
    if (answer === undefined) return question.categories.labels.map(nothingFits);
    const details = expectShape(imageDetailsSchema, answer);
    takeModel(details.model);
    tellSynonyms?.(details.category_warnings ?? []);
    const pathOf = (place: string): string => files[Number(place)]?.path ?? place;
    for (const { file, warning } of details.warnings ?? []) {
      tell({ kind: 'warned', file: pathOf(file), warning });
    }
    for (const fault of details.errors) tell({ kind: 'broken', ...fault, file: pathOf(fault.file) });
    return details.results.map((result) => ({
      ...result,
      file: result.file === null ? null : pathOf(result.file),
      scores: result.scores.map((standing) => ({ ...standing, file: pathOf(standing.file) })),
    }));
  };

  return {
    get model() {
      return model;
    },

    categorize: (files) => categorize(files),

    async best(files, tell) {
      const told = new Set<string>();
      try {
        return await bestOnce(files, told, tell);
      } catch (fault) {
        if (!mayBeAFile(fault)) throw fault;
        // Smaller requests find the file.
        const unanswerable: BrokenFile[] = [];
        for await (const _ of categorize(files, unanswerable)) signal.throwIfAborted();
        if (unanswerable.length === 0) throw fault;
        for (const broken of unanswerable) tell(broken);
        const left = new Set(unanswerable.map(({ file }) => file));
        return await bestOnce(
          files.filter(({ path }) => !left.has(path)),
          told,
          tell,
        );
      }
    },

    async video(request) {
      const found = await searchVideoOnServer(post, question, request);
      const { model: itsModel, category_warnings: synonyms = [], ...answer } = found;
      takeModel(itsModel);
      tellSynonyms?.(synonyms);
      return answer;
    },
    async [Symbol.asyncDispose]() {},
  };
}
