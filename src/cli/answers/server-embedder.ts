import { writeCategories } from '../../classify/categories.ts';
import type { CandidateScore, Categories, RankingOptions } from '../../classify/classifier.ts';
import { joinTiles, tilesOf } from '../../classify/decide.ts';
import type { Fit } from '../../contract/options.ts';
import {
  categorizeDetailsSchema,
  embeddingsAnswerSchema,
  imageDetailsSchema,
} from '../../contract/schemas.ts';
import type { AnsweringModel } from '../output/provenance.ts';
import { UsageError } from '../usage-error.ts';
import type { BrokenFile, Question, SkippedFile, TellSynonyms } from './answers.ts';
import type { Embedder, EmbeddingOutcome } from './embedder.ts';
import { chunksOf } from './in-order.ts';
import { type FormPart, type PostForm, ServerError } from './server-client.ts';
import { expectShape, fileParts, inHalves, wrongShape } from './server-requests.ts';

interface ServerEmbedderOptions {
  readonly post: PostForm;
  /** Says how pictures are looked at. */
  readonly question: Pick<Question, 'background' | 'fit'>;
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
  question: { background, fit },
  signal,
  tellSynonyms,
}: ServerEmbedderOptions): Promise<Embedder | undefined> {
  const embeddings = async (parts: () => AsyncIterable<FormPart>, template: readonly string[] = []) => {
    const query = new URLSearchParams({ encoding_format: 'base64', on_error: 'skip' });
    for (const one of template) query.append('template', one);
    if (background !== undefined) query.append('background', background);
    // An earlier version of the service does not know the option, and has no other fit.
    if (fit !== 'crop') query.append('fit', fit);
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
    const tilesByFile = Map.groupBy(answer?.embeddings ?? [], ({ file }) => file);
    const faultOf = new Map(answer?.errors.map((fault) => [fault.file, fault]));
    const warningOf = new Map(answer?.warnings?.map(({ file, warning }) => [file, warning]));
    return files.map(({ path: file }, index): EmbeddingOutcome => {
      const place = String(index);
      const fault = faultOf.get(place);
      const outcome = left.get(place) ?? (fault && { kind: 'broken' as const, ...fault, file });
      if (outcome) return outcome;
      const tiles = tilesByFile.get(place) ?? [];
      if (tiles.length !== (tiles[0]?.tiles ?? 1)) throw wrongShape();
      const embedding = joinTiles(tiles.map((tile) => numbersOf(tile.embedding, dimension)));
      const warning = warningOf.get(place);
      return { kind: 'embedded', file, embedding, warning };
    });
  };

  /** Asks about pictures by their embeddings, which have their places as names. */
  async function* question(
    categories: Categories,
    pictures: Iterable<readonly [place: number, embedding: Float32Array]>,
  ): AsyncGenerator<FormPart> {
    yield { name: 'categories', content: new TextEncoder().encode(writeCategories(categories)) };
    yield {
      name: 'embeddings',
      filename: 'embeddings.json',
      content: embeddingLines(pictures, { model, fit, dimension }),
    };
  }

  const queryOf = (options: RankingOptions) => {
    const { template = [], limit = MAX_TOP_K, threshold, others, several } = options;
    const query = new URLSearchParams({ details: 'true', top_k: String(Math.min(limit, MAX_TOP_K)) });
    if (fit !== 'crop') query.append('fit', fit);
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
  made: { readonly model: AnsweringModel; readonly fit: Fit; readonly dimension: number },
): AsyncGenerator<Uint8Array> {
  const { sha256, precision } = made.model;
  const origin = { sha256, precision, ...(made.fit !== 'crop' && { fit: made.fit }) };
  for (const [place, embedding] of pictures) {
    const tiles = tilesOf(embedding, made.dimension);
    for (const [order, { buffer, byteOffset, byteLength }] of tiles.entries()) {
      const base64 = Buffer.from(buffer, byteOffset, byteLength).toString('base64');
      const ofTile = made.fit === 'tiles' && { tile: order + 1, tiles: tiles.length };
      const line = JSON.stringify({ file: String(place), ...ofTile, ...origin, embedding: base64 });
      yield new TextEncoder().encode(`${line}\n`);
    }
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
