import * as v from 'valibot';
import { isAboutFiles } from '../../contract/codes.ts';
import { questionKeys } from '../../contract/options.ts';
import {
  categorizeDetailsSchema,
  imageDetailsSchema,
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
  type VideoAnswer,
  type VideoRequest,
} from './answers.ts';
import { createFaultWatch } from './fault-watch.ts';
import { chunksOf, inOrder } from './in-order.ts';
import { type FormPart, type PostForm, ServerError } from './server-client.ts';

/** The options of the question. Every endpoint is asked for its detailed answer. */
function queryOf(question: Question): URLSearchParams {
  const query = new URLSearchParams({ details: 'true' });
  for (const name of questionKeys) {
    for (const value of [question[name] ?? []].flat()) query.append(name, String(value));
  }
  return query;
}

function categoriesPart({ categories: { labels } }: Question): FormPart {
  return { name: 'categories', content: new TextEncoder().encode(JSON.stringify(labels)) };
}

/** @throws UsageError if the answer has another shape: of another version of the service, or of a proxy */
function expectShape<Schema extends v.GenericSchema>(schema: Schema, answer: unknown): v.InferOutput<Schema> {
  const parsed = v.safeParse(schema, answer);
  if (parsed.success) return parsed.output;
  throw wrongShape();
}

function wrongShape(): UsageError {
  return new UsageError(
    'The server answered something else than this command expects. Does it have the same version? Is a proxy in between?',
  );
}

/** Lets a server find the best frames of a video. The video is read while it is sent. */
async function searchVideoOnServer(
  post: PostForm,
  question: Question,
  { path, thorough, moments, onProgress, takeJpeg }: VideoRequest,
): Promise<VideoAnswer & { readonly model: AnsweringModel }> {
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
  const { model, results, warnings } = expectShape(videoDetailsSchema, answer);
  const frames = results.map(({ file: _, image: __, ...frame }) => frame);
  const images = new Map(results.map(({ timestamp, image }) => [timestamp, image]));
  for (const [timestamp, image] of images) {
    if (timestamp === null || !image) continue;
    await takeJpeg?.(timestamp, categoriesOf(frames, timestamp), Buffer.from(image, 'base64'));
  }
  return { model, frames, warnings };
}

interface ServerAnswersOptions {
  readonly post: PostForm;
  readonly question: Question;
  readonly maxImageBytes: number;
  readonly signal: AbortSignal;
}

/** The work for this many files is large beside the overhead of a request, and answers come about every second. */
const CHUNK_FILES = 32;
/** While one request is answered, the next one is sent, so that the server never waits. */
const REQUESTS_AT_ONCE = 2;
const READS_AT_ONCE = 3;

/** @returns undefined if no picture was sent, because none of the files is a picture */
async function orNothing(answer: Promise<unknown>): Promise<unknown> {
  try {
    return await answer;
  } catch (fault) {
    if (fault instanceof ServerError && fault.code === 'files_missing') return undefined;
    throw fault;
  }
}

function nothingFits(category: string): BestFile {
  return { category, file: null, score: null, similarity: null, scores: [] };
}

/** Whether the same request with other files may be answered. */
function mayBeAFile(fault: unknown): fault is ServerError {
  return fault instanceof ServerError && (isAboutFiles(fault) || fault.about === 'unknown');
}

/** Answers of a running service. Each file is sent under its place in the list, because names may repeat or be private. */
export function createServerAnswers(options: ServerAnswersOptions): Answers {
  const { post, question, maxImageBytes, signal } = options;
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
    let place = 0;
    for await (const [{ path: file }, read] of inOrder(files, READS_AT_ONCE, async (found) => {
      signal.throwIfAborted();
      return [found, await readPicture(found, maxImageBytes)] as const;
    })) {
      const filename = String(place);
      place += 1;
      if (read.kind === 'picture') {
        yield { name: 'files', filename, content: read.bytes };
        tell({ kind: 'taken', file });
      } else {
        left.set(filename, { ...read, file });
        tell({ ...read, file });
      }
    }
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
    const resultOf = new Map(details?.results.map((result) => [result.file, result]));
    const faultOf = new Map(details?.errors.map((fault) => [fault.file, fault]));
    return files.map(({ path: file }, index) => {
      const place = String(index);
      const fault = faultOf.get(place);
      const outcome = left.get(place) ?? (fault && { kind: 'broken' as const, ...fault, file });
      if (outcome) return outcome;
      const result = resultOf.get(place);
      if (result?.score == null || result.similarity == null) throw wrongShape();
      const { category, score, similarity, scores } = result;
      return { kind: 'answered', file, category, score, similarity, scores };
    });
  };

  /** Sends the question without files. @throws ServerError unless the server only misses the files */
  const proveAnswering = async (): Promise<void> => {
    await orNothing(post({ path: 'categorize', query, parts: () => formOf([], new Map()) }));
  };

  /**
   * If a request fails, perhaps because of one of its files, halves of it are sent until that file is found.
   * @param unanswerable receives such files
   */
  const categorizeChunk = async (
    files: readonly FoundFile[],
    unanswerable: BrokenFile[] = [],
  ): Promise<readonly FileOutcome[]> => {
    try {
      return await categorizeOnce(files);
    } catch (fault) {
      signal.throwIfAborted();
      if (!mayBeAFile(fault)) throw fault;
      // If the server answers nothing at all, the halves need not be tried.
      await proveAnswering().catch(() => {
        signal.throwIfAborted();
        throw fault;
      });
      const [only] = files;
      if (files.length === 1 && only) {
        const code = fault instanceof ServerError && fault.code ? fault.code : 'internal';
        const broken: BrokenFile = { kind: 'broken', file: only.path, code, error: fault.message };
        unanswerable.push(broken);
        return [broken];
      }
      const middle = Math.ceil(files.length / 2);
      const halves = [files.slice(0, middle), files.slice(middle)];
      const outcomes: FileOutcome[] = [];
      for (const half of halves) outcomes.push(...(await categorizeChunk(half, unanswerable)));
      return outcomes;
    }
  };

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
    const pathOf = (place: string): string => files[Number(place)]?.path ?? place;
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
      const { model: itsModel, ...answer } = await searchVideoOnServer(post, question, request);
      takeModel(itsModel);
      return answer;
    },
    async [Symbol.asyncDispose]() {},
  };
}
