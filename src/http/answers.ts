import type {
  BrokenFile,
  Categories,
  ModelSummary,
  PictureCollection,
  Ranking,
} from '../classify/classifier.ts';
import { DECIDING_CANDIDATES, decide } from '../classify/decide.ts';
import type { PictureOptions } from '../contract/options.ts';
import type { WireModel } from '../contract/schemas.ts';
import { ServiceError } from '../errors.ts';
import type { JsonText } from './json-answer.ts';
import type { Lease } from './resources.ts';

/**
 * The text of a JSON object with its keys in the given order, in pieces. A JavaScript object would move keys such
 * as "10" to the front and lose "__proto__"; both are valid file names and labels.
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

/** The items of a JSON array with the commas between them, in pieces. */
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
  /** The error that this answer is, where it is one. */
  readonly refusal?: ServiceError;
}

/** A request's pictures and the question about them. */
interface PictureQuestion {
  readonly model: ModelSummary;
  readonly collection: PictureCollection;
  readonly categories: Categories;
  readonly options: PictureOptions;
  /** Of the request; it accounts for the memory of the rankings. */
  readonly lease: Pick<Lease, 'take'>;
}

/** Some 20 MB of JSON. The five best of every subject may always be listed. */
const MAX_LISTED_SCORES = 250_000;
const ALWAYS_LISTED = 5;
/** A score and a similarity as an object. */
const SCORE_BYTES = 100;

/** /categorize: for every picture the best category. */
export function answerCategorize(asked: PictureQuestion): Promise<Answer> {
  return answer(asked, { subject: 'file', candidate: 'category' });
}

/** /image: for every category the best picture. */
export function answerImage(asked: PictureQuestion): Promise<Answer> {
  return answer(asked, { subject: 'category', candidate: 'file' });
}

/** What is compared with what: for every subject, the best candidate is the answer. */
type Sides =
  | { readonly subject: 'file'; readonly candidate: 'category' }
  | { readonly subject: 'category'; readonly candidate: 'file' };

async function answer(
  { model, collection, categories, options, lease }: PictureQuestion,
  sides: Sides,
): Promise<Answer> {
  const broken = await collection.broken();
  const refusal = refusalOf(broken, options);
  if (refusal) return refusal;
  const files = collection.names();
  const { labels } = categories;
  const [subjects, candidates] = sides.subject === 'file' ? [files, labels] : [labels, files];
  const limit = rankingLimit(options, subjects.length, candidates.length);
  lease.take('keptBytes', subjects.length * Math.min(limit, candidates.length) * SCORE_BYTES);
  const asked = { ...options, limit };
  const rankings =
    sides.subject === 'file'
      ? await collection.rankCategories(categories, asked)
      : await collection.rankFiles(categories, asked);
  const pieces = options.details
    ? () => detailed({ model, rankings, sides, options, errors: broken })
    : () => jsonObject(plainEntries(subjects, rankings, options));
  return { pieces, advice: adviceOf(options, files, labels), brokenFiles: broken.length };
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
 * The refusal of a request with broken pictures, unless `on_error` is skip: files_broken, or image_unsupported where
 * that is the fault of all of them. It is an answer, not a thrown error, because its list of files may be long.
 */
export function refusalOf(
  broken: readonly BrokenFile[],
  { on_error }: Pick<PictureOptions, 'on_error'>,
): Answer | undefined {
  const [first] = broken;
  if (!first || on_error === 'skip') return undefined;
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
 * How many candidates of each ranking the answer needs.
 * @throws ServiceError option_invalid where the answer would be enormous
 */
export function rankingLimit(
  { details, top_k }: Pick<PictureOptions, 'details' | 'top_k'>,
  subjects: number,
  candidates: number,
): number {
  const limit = Math.max(details ? top_k : 1, DECIDING_CANDIDATES);
  const listed = subjects * Math.min(limit, candidates);
  if (limit > ALWAYS_LISTED && listed > MAX_LISTED_SCORES) {
    throw new ServiceError(
      'option_invalid',
      `The option top_k=${top_k} would list ${listed} scores, at most ${MAX_LISTED_SCORES} are accepted; ask for a smaller top_k or send less at once.`,
    );
  }
  return limit;
}

/** @returns makes a sentence that says how to get a shorter answer, with numbers */
export function adviceOf(
  { details, top_k }: Pick<PictureOptions, 'details' | 'top_k'>,
  names: readonly string[],
  labels: readonly string[],
): () => string {
  return () => {
    const cures = details && top_k > 1 ? [`ask for a smaller top_k than ${top_k}`] : [];
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
    // A character takes at most six bytes.
    if (longest && 6 * text.length + 2 <= longest.bytes) continue;
    const bytes = Buffer.byteLength(JSON.stringify(text));
    if (!longest || bytes > longest.bytes) longest = { kind, text, bytes };
  }
  return longest;
}

/** A subject without a ranking is a broken file: its answer is null. */
function* plainEntries(
  subjects: readonly string[],
  rankings: readonly Ranking[],
  options: PictureOptions,
): Generator<readonly [string, string | null]> {
  const rankedFor = new Map(rankings.map(({ name, candidates }) => [name, candidates]));
  for (const subject of subjects) {
    yield [subject, decide(rankedFor.get(subject) ?? [], options)?.name ?? null];
  }
}

interface DetailedAnswer {
  readonly model: ModelSummary;
  readonly rankings: readonly Ranking[];
  readonly sides: Sides;
  readonly options: PictureOptions;
  readonly errors: readonly BrokenFile[];
}

/** Score and similarity are those of the best candidate, also where it is not good enough to be the answer. */
function* detailed({ model, rankings, sides, options, errors }: DetailedAnswer): Generator<string> {
  yield `{"model":${JSON.stringify(wireModel(model))},"results":[`;
  let before = '';
  for (const { name, candidates } of rankings) {
    const [best] = candidates;
    const head = {
      [sides.subject]: name,
      [sides.candidate]: decide(candidates, options)?.name ?? null,
      score: best?.score ?? null,
      similarity: best?.similarity ?? null,
    };
    const scores = candidates
      .slice(0, options.top_k)
      .map(({ name, score, similarity }) => ({ [sides.candidate]: name, score, similarity }));
    yield `${before}${JSON.stringify(head).slice(0, -1)},"scores":[`;
    yield* jsonItems(scores);
    yield ']}';
    before = ',';
  }
  yield '],"errors":[';
  yield* jsonItems(errors);
  yield ']}';
}
