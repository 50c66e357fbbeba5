import { writeCategories } from '../../classify/categories.ts';
import type { CandidateScore, Categories, RankingOptions } from '../../classify/classifier.ts';
import {
  categorizeDetailsSchema,
  embeddingsAnswerSchema,
  imageDetailsSchema,
} from '../../contract/schemas.ts';
import type { AnsweringModel } from '../output/provenance.ts';
import { UsageError } from '../usage-error.ts';
import type { BrokenFile, SkippedFile, TellSynonyms } from './answers.ts';
import type { Embedder, EmbeddingOutcome } from './embedder.ts';
import { chunksOf } from './in-order.ts';
import { type FormPart, type PostForm, ServerError } from './server-client.ts';
import { expectShape, fileParts, inHalves, wrongShape } from './server-requests.ts';

interface ServerEmbedderOptions {
  readonly post: PostForm;
  /** Behind transparent pictures. */
  readonly background?: string | undefined;
  readonly signal: AbortSignal;
  readonly tellSynonyms?: TellSynonyms;
}

/** The most that the details of an answer list. */
const MAX_TOP_K = 1000;

/**
 * A running service that gives and takes embeddings. It ranks and scores them, too, by the rules of its model.
 * @returns undefined: an earlier version of the service, without embeddings
 * @throws UsageError
 */
export async function openServerEmbedder({
  post,
  background,
  signal,
  tellSynonyms,
}: ServerEmbedderOptions): Promise<Embedder | undefined> {
  const embeddings = async (parts: () => AsyncIterable<FormPart>, template: readonly string[] = []) => {
    const query = new URLSearchParams({ encoding_format: 'base64', on_error: 'skip' });
    for (const one of template) query.append('template', one);
    if (background !== undefined) query.append('background', background);
    return expectShape(embeddingsAnswerSchema, await post({ path: 'embeddings', query, parts }));
  };
  const embedText = async (words: string, template?: readonly string[]) => {
    const answer = await embeddings(async function* () {
      yield { name: 'texts', content: new TextEncoder().encode(words) };
    }, template);
    const [first] = answer.embeddings;
    if (!first) throw wrongShape();
    return { ...answer, embedding: numbersOf(first.embedding, answer.dimension) };
  };

  let greeting: Awaited<ReturnType<typeof embedText>>;
  try {
    greeting = await embedText('a photo');
  } catch (fault) {
    if (fault instanceof ServerError && (fault.status === 404 || fault.status === 405)) return undefined;
    throw fault;
  }
  const { sha256, precision, dimension } = greeting;
  const model: AnsweringModel = { name: greeting.model, sha256, precision };

  /** @throws UsageError if the server was restarted with another model */
  const checkModel = (now: { readonly sha256: string; readonly precision: string }) => {
    if (now.sha256 === sha256 && now.precision === precision) return;
    throw new UsageError(
      `The server answered with another model than before, instead of ${model.name}: their answers cannot be compared.`,
    );
  };

  const embedOnce: Embedder['embed'] = async (files, read) => {
    let left = new Map<string, BrokenFile | SkippedFile | Extract<EmbeddingOutcome, { kind: 'known' }>>();
    let sent = 0;
    const parts = async function* () {
      left = new Map();
      sent = 0;
      for await (const part of fileParts(files, { read, left, signal })) {
        sent += 1;
        yield part;
      }
    };
    const answer = await embeddings(parts).catch((fault: unknown) => {
      // None of the files is a picture.
      if (fault instanceof ServerError && fault.code === 'files_missing' && sent === 0) return undefined;
      throw fault;
    });
    if (answer) checkModel(answer);
    const embeddingOf = new Map(answer?.embeddings.map(({ file, embedding }) => [file, embedding]));
    const faultOf = new Map(answer?.errors.map((fault) => [fault.file, fault]));
    const warningOf = new Map(answer?.warnings?.map(({ file, warning }) => [file, warning]));
    return files.map(({ path: file }, index): EmbeddingOutcome => {
      const place = String(index);
      const fault = faultOf.get(place);
      const outcome = left.get(place) ?? (fault && { kind: 'broken' as const, ...fault, file });
      if (outcome) return outcome;
      const embedding = embeddingOf.get(place);
      if (embedding === undefined) throw wrongShape();
      const warning = warningOf.get(place);
      return { kind: 'embedded', file, embedding: numbersOf(embedding, dimension), warning };
    });
  };

  /** Asks about pictures by their embeddings, which have their places as names. */
  async function* question(
    categories: Categories,
    pictures: Iterable<readonly [place: number, embedding: Float32Array]>,
  ): AsyncGenerator<FormPart> {
    yield { name: 'categories', content: new TextEncoder().encode(writeCategories(categories)) };
    yield { name: 'embeddings', filename: 'embeddings.json', content: embeddingLines(pictures, model) };
  }

  const queryOf = (options: RankingOptions) => {
    const { template = [], limit = MAX_TOP_K, threshold, others, several } = options;
    const query = new URLSearchParams({ details: 'true', top_k: String(Math.min(limit, MAX_TOP_K)) });
    for (const one of template) query.append('template', one);
    // An earlier version of the service refuses options that it does not know.
    if (others || several) query.set('others', 'true');
    if (threshold !== undefined) query.set('threshold', String(threshold));
    return query;
  };

  return {
    model,
    dimension,
    embed: (files, read) =>
      inHalves(files, {
        answer: (some) => embedOnce(some, read),
        prove: async () => {
          await embedText('a photo');
        },
        signal,
      }),
    embedText: async (words, { template }) => (await embedText(words, template)).embedding,
    async rankCategories(embeddings, categories, options) {
      const rankings: (readonly CandidateScore[])[] = [];
      // Any of them may be good enough.
      const limit = options.several
        ? Math.min(categories.labels.length, MAX_TOP_K)
        : (options.limit ?? MAX_TOP_K);
      const query = queryOf({ ...options, limit });
      const atOnce = Math.min(RANKED_AT_ONCE, Math.ceil(MAX_LISTED / limit));
      for (const some of chunksOf([...embeddings.entries()], atOnce)) {
        const parts = () => question(categories, some);
        const answer = await post({ path: 'categorize', query, parts });
        const details = expectShape(categorizeDetailsSchema, answer);
        const { model: now, results, category_warnings: synonyms = [] } = details;
        checkModel(now);
        tellSynonyms?.(synonyms);
        if (results.length !== some.length) throw wrongShape();
        for (const { scores, background: match } of results) {
          const against = match && { background: match };
          rankings.push(scores.map(({ category: name, ...standing }) => ({ name, ...standing, ...against })));
        }
      }
      return rankings;
    },
    async rankPictures({ scan }, categories, options) {
      const embeddings = new Map<number, Float32Array>();
      await scan((place, embedding) => {
        embeddings.set(place, embedding.slice());
      });
      if (embeddings.size === 0) return categories.labels.map(() => []);
      // Ties are by the order sent.
      const inOrderOfPlaces = [...embeddings].sort(([a], [b]) => a - b);
      const parts = () => question(categories, inOrderOfPlaces);
      const answer = await post({ path: 'image', query: queryOf(options), parts });
      const details = expectShape(imageDetailsSchema, answer);
      const { model: now, results, category_warnings: synonyms = [] } = details;
      checkModel(now);
      tellSynonyms?.(synonyms);
      return results.map(({ scores }) =>
        scores.map(({ file, id: _, ...standing }) => ({ name: Number(file), ...standing })),
      );
    },
    async [Symbol.asyncDispose]() {},
  };
}

/** Embeddings in one request, 3 KB each. */
const RANKED_AT_ONCE = 256;
/** The service lists more scores than this in one answer. */
const MAX_LISTED = 200_000;

async function* embeddingLines(
  pictures: Iterable<readonly [place: number, embedding: Float32Array]>,
  { sha256, precision }: AnsweringModel,
): AsyncGenerator<Uint8Array> {
  for (const [place, embedding] of pictures) {
    const { buffer, byteOffset, byteLength } = embedding;
    const base64 = Buffer.from(buffer, byteOffset, byteLength).toString('base64');
    const line = JSON.stringify({ file: String(place), sha256, precision, embedding: base64 });
    yield new TextEncoder().encode(`${line}\n`);
  }
}

/** @param written base64 of float32 numbers in little-endian order */
function numbersOf(written: string | readonly number[], dimension: number): Float32Array {
  const bytes = typeof written === 'string' ? Buffer.from(written, 'base64') : undefined;
  const numbers = bytes
    ? Float32Array.from({ length: bytes.byteLength / 4 }, (_, index) => bytes.readFloatLE(4 * index))
    : Float32Array.from(written as readonly number[]);
  if (numbers.length !== dimension) throw wrongShape();
  return numbers;
}
