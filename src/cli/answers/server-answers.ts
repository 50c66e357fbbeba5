import { categorizeDetailsSchema, imageDetailsSchema } from '../../http/schemas.ts';
import type { FoundFile } from '../files/find-files.ts';
import { readPicture } from '../files/read-picture.ts';
import type { AnsweringModel } from '../output/provenance.ts';
import { UsageError } from '../usage-error.ts';
import type {
  Answers,
  BestFile,
  BrokenFile,
  FileOutcome,
  Question,
  SkippedFile,
  TakenFile,
} from './answers.ts';
import { chunksOf, inOrder } from './in-order.ts';
import type { FormPart } from './multipart-body.ts';
import { categoriesPart, expectShape, queryOf, wrongShape } from './question-form.ts';
import { type PostForm, ServerError } from './server-client.ts';
import { searchVideoOnServer } from './server-video.ts';

export interface ServerAnswersOptions {
  readonly post: PostForm;
  readonly question: Question;
  readonly maxImageBytes: number;
  readonly signal: AbortSignal;
}

/** A request's overhead is small beside this, and its answers come every second or so. */
const CHUNK_FILES = 32;
/** While one request is answered, the next one is sent: the server never waits. */
const REQUESTS_AT_ONCE = 2;
const READS_AT_ONCE = 3;

/** @returns undefined where no picture was sent, because none of the files is one */
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

/** A running service. Files go there under their place in the list: nothing has to be said of names. */
export function createServerAnswers(options: ServerAnswersOptions): Answers {
  const { post, question, maxImageBytes, signal } = options;
  const query = queryOf(question);
  let model: AnsweringModel | undefined;
  /** @throws UsageError where it is another one than before: the server was started anew meanwhile */
  const takeModel = (next: AnsweringModel) => {
    if (model && (model.sha256 !== next.sha256 || model.precision !== next.precision)) {
      throw new UsageError(
        `The server answered with another model than before, ${next.name} instead of ${model.name}: the answers cannot stand side by side.`,
      );
    }
    model = next;
  };

  /** The form of these files, read while it is sent. `left` receives those that are no pictures. */
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

  const categorizeChunk = async (files: readonly FoundFile[]): Promise<readonly FileOutcome[]> => {
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

  return {
    get model() {
      return model;
    },

    async *categorize(files) {
      for await (const outcomes of inOrder(chunksOf(files, CHUNK_FILES), REQUESTS_AT_ONCE, categorizeChunk)) {
        yield* outcomes;
      }
    },

    async best(files, tell) {
      // All in one request: only a server that has all of them can compare them.
      let told = 0;
      const parts = () => {
        let place = 0;
        // Sent again, they are not told again.
        return formOf(files, new Map(), (outcome) => {
          if (place >= told) tell(outcome);
          place += 1;
          told = Math.max(told, place);
        });
      };
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
    },

    async video(request) {
      const { model: itsModel, ...answer } = await searchVideoOnServer(post, question, request);
      takeModel(itsModel);
      return answer;
    },
    async [Symbol.asyncDispose]() {},
  };
}
