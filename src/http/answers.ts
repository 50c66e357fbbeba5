import type {
  BrokenFile,
  CandidateScore,
  Categories,
  ModelSummary,
  PictureCollection,
  Ranking,
  RankingOptions,
} from '../classify/classifier.ts';
import type { AnswerOptions } from '../contract/options.ts';
import type { CategorizeDetails, ImageDetails, WireModel } from '../contract/schemas.ts';
import { ServiceError } from '../errors.ts';
import type { JsonText } from './json-answer.ts';
import type { Lease } from './resources.ts';

/**
 * The text of a JSON object with its keys in the given order, in pieces. A JavaScript object would move keys such
 * as "10" to the front and swallow "__proto__", and both are sound file names and labels.
 * @param entries distinct keys, each with a JSON value
 */
export function* jsonObject(entries: Iterable<readonly [string, unknown]>): Generator<string> {
  let before = '{';
  for (const [key, value] of entries) {
    yield `${before}${JSON.stringify(key)}:${JSON.stringify(value)}`;
    before = ',';
  }
  yield before === '{' ? '{}' : '}';
}

/** The items of a JSON array, each as it is written, with what stands between them. */
export function* jsonItems(items: Iterable<object>): Generator<string> {
  let before = '';
  for (const item of items) {
    yield before + JSON.stringify(item);
    before = ',';
  }
}

/** An answer to /categorize or /image. */
export interface Answer extends JsonText {
  readonly brokenFiles: number;
  /** Why it is no success, where it is none. */
  readonly refusal?: ServiceError;
}

/** What is asked of a request's pictures. */
interface PictureQuestion {
  readonly model: ModelSummary;
  readonly collection: PictureCollection;
  readonly categories: Categories;
  readonly options: AnswerOptions;
  /** Of the request; the rankings are held by it. */
  readonly lease: Pick<Lease, 'take'>;
}

/** Some 20 MB of JSON. The five best of every subject are always listed. */
const MAX_LISTED_SCORES = 250_000;
const ALWAYS_LISTED = 5;
/** The object around a score and a similarity. */
const SCORE_BYTES = 100;

/** /categorize: for every picture the best category. */
export async function answerCategorize({
  model,
  collection,
  categories,
  options,
  lease,
}: PictureQuestion): Promise<Answer> {
  const broken = await collection.broken();
  const refusal = refusalOf(broken, options);
  if (refusal) return refusal;
  const names = collection.names();
  const asked = rankingOptions(options, names.length, categories.labels.length);
  lease.take('keptBytes', names.length * Math.min(asked.limit, categories.labels.length) * SCORE_BYTES);
  const rankings = await collection.rankCategories(categories, asked);
  const advice = adviceOf(options, names, categories.labels);
  if (options.details) {
    const results = function* () {
      for (const { name, candidates } of rankings) {
        yield {
          head: { file: name, category: winner(candidates, options.threshold), ...standing(candidates) },
          scores: scoresOf('category', candidates),
        };
      }
    };
    return { pieces: () => detailed(model, results(), broken), advice, brokenFiles: broken.length };
  }
  const bestOf = new Map(rankings.map((ranking) => [ranking.name, ranking.candidates]));
  const entries = function* () {
    for (const file of names) yield [file, winner(bestOf.get(file) ?? [], options.threshold)] as const;
  };
  return { pieces: () => jsonObject(entries()), advice, brokenFiles: broken.length };
}

/** /image: for every category the best picture. */
export async function answerImage({
  model,
  collection,
  categories,
  options,
  lease,
}: PictureQuestion): Promise<Answer> {
  const broken = await collection.broken();
  const refusal = refusalOf(broken, options);
  if (refusal) return refusal;
  const names = collection.names();
  const asked = rankingOptions(options, categories.labels.length, names.length);
  lease.take('keptBytes', categories.labels.length * Math.min(asked.limit, names.length) * SCORE_BYTES);
  const rankings = await collection.rankFiles(categories, asked);
  const advice = adviceOf(options, names, categories.labels);
  if (options.details) {
    const results = function* () {
      for (const { name, candidates } of rankings) {
        yield {
          head: { category: name, file: winner(candidates, options.threshold), ...standing(candidates) },
          scores: scoresOf('file', candidates),
        };
      }
    };
    return { pieces: () => detailed(model, results(), broken), advice, brokenFiles: broken.length };
  }
  const entries = function* () {
    for (const ranking of rankings) yield plainEntry(ranking, options);
  };
  return { pieces: () => jsonObject(entries()), advice, brokenFiles: broken.length };
}

export function wireModel(model: ModelSummary): WireModel {
  return {
    name: model.name,
    sha256: model.sha256,
    precision: model.precision,
    embedding_dimension: model.embeddingDimension,
    image_resolution: model.imageResolution,
  };
}

/**
 * The refusal of a request with broken pictures, unless it goes on without them: files_broken, or
 * image_unsupported where nothing else is wrong. Its list of them may be long, so it is no error that is thrown.
 */
export function refusalOf(
  broken: readonly BrokenFile[],
  { onError }: Pick<AnswerOptions, 'onError'>,
): Answer | undefined {
  const [first] = broken;
  if (!first || onError === 'skip') return undefined;
  const others = broken.length - 1;
  const sentence =
    others === 0
      ? `${JSON.stringify(first.file)} cannot be used: ${first.error}`
      : `${broken.length} files cannot be used, the first of them ${JSON.stringify(first.file)}: ${first.error}`;
  const code = broken.every((file) => file.code === 'image_unsupported')
    ? 'image_unsupported'
    : 'files_broken';
  const pieces = function* () {
    yield `${JSON.stringify({ error: sentence, code }).slice(0, -1)},"errors":[`;
    yield* jsonItems(broken);
    yield ']}';
  };
  return {
    pieces,
    advice: () => `It would name ${broken.length} files that cannot be used; send fewer, or shorter names.`,
    brokenFiles: 0,
    refusal: new ServiceError(code, sentence),
  };
}

/**
 * What the engine is asked for.
 * @throws ServiceError option_invalid where the answer would be enormous
 */
export function rankingOptions(
  { details, topK, templates }: Pick<AnswerOptions, 'details' | 'topK' | 'templates'>,
  subjects: number,
  candidates: number,
): RankingOptions & { readonly limit: number } {
  const limit = details ? topK : 1;
  const listed = subjects * Math.min(limit, candidates);
  if (limit > ALWAYS_LISTED && listed > MAX_LISTED_SCORES) {
    throw new ServiceError(
      'option_invalid',
      `The option top_k=${topK} would list ${listed} scores, at most ${MAX_LISTED_SCORES} are accepted; ask for a smaller top_k or send less at once.`,
    );
  }
  return { limit, ...(templates && { templates }) };
}

/** @returns makes a sentence: what of a request makes its answer long, with numbers */
export function adviceOf(
  { details, topK }: Pick<AnswerOptions, 'details' | 'topK'>,
  names: readonly string[],
  labels: readonly string[],
): () => string {
  return () => {
    const cures = details && topK > 1 ? [`ask for a smaller top_k than ${topK}`] : [];
    const longest = longestOf([
      ...names.map((text) => ({ kind: 'file name', text })),
      ...labels.map((text) => ({ kind: 'category', text })),
    ]);
    if (longest) {
      const { kind, text, bytes } = longest;
      const shown = JSON.stringify(text.length > 40 ? `${text.slice(0, 40)}…` : text);
      cures.push(`shorten names (the longest, the ${kind} ${shown}, takes ${bytes} bytes in JSON)`);
    }
    cures.push('send less at once');
    const sentence = cures.join(', or ');
    return `${sentence.charAt(0).toUpperCase()}${sentence.slice(1)}.`;
  };
}

interface Named {
  readonly kind: string;
  readonly text: string;
}

function longestOf(candidates: readonly Named[]): (Named & { readonly bytes: number }) | undefined {
  let longest: (Named & { readonly bytes: number }) | undefined;
  for (const { kind, text } of candidates) {
    // No character takes more than six bytes.
    if (longest && 6 * text.length + 2 <= longest.bytes) continue;
    const bytes = Buffer.byteLength(JSON.stringify(text));
    if (!longest || bytes > longest.bytes) longest = { kind, text, bytes };
  }
  return longest;
}

interface DetailedResult {
  readonly head: Omit<CategorizeDetails['results'][number] | ImageDetails['results'][number], 'scores'>;
  readonly scores: Iterable<object>;
}

function* detailed(
  model: ModelSummary,
  results: Iterable<DetailedResult>,
  errors: readonly BrokenFile[],
): Generator<string> {
  yield `{"model":${JSON.stringify(wireModel(model))},"results":[`;
  let before = '';
  for (const { head, scores } of results) {
    yield `${before}${JSON.stringify(head).slice(0, -1)},"scores":[`;
    yield* jsonItems(scores);
    yield ']}';
    before = ',';
  }
  yield '],"errors":[';
  yield* jsonItems(errors);
  yield ']}';
}

function* scoresOf(key: 'category' | 'file', candidates: readonly CandidateScore[]): Generator<object> {
  for (const { name, score, similarity } of candidates) yield { [key]: name, score, similarity };
}

function plainEntry(
  { name, candidates }: Ranking,
  { threshold }: AnswerOptions,
): readonly [string, string | null] {
  return [name, winner(candidates, threshold)];
}

function winner(candidates: readonly CandidateScore[], threshold = 0): string | null {
  const [best] = candidates;
  return best && best.score >= threshold ? best.name : null;
}

/** How good the best candidate is, also where it stays below the threshold. */
function standing([best]: readonly CandidateScore[]) {
  return { score: best?.score ?? null, similarity: best?.similarity ?? null };
}
