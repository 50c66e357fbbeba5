import type {
  BrokenFile,
  CandidateScore,
  Categories,
  ModelSummary,
  PictureCollection,
  Ranking,
  RankingOptions,
} from '../classify/classifier.ts';
import { ServiceError } from '../errors.ts';
import { jsonObject } from './json-entries.ts';
import type { AnswerOptions } from './options.ts';
import type { CategorizeDetails, ImageDetails, WireModel } from './schemas.ts';

/** A JSON text, and the headers that go with it. */
export interface Answer {
  readonly json: string;
  readonly brokenFiles: number;
}

/** Some 20 MB of JSON. The five best of every subject are always listed. */
const MAX_LISTED_SCORES = 250_000;
const ALWAYS_LISTED = 5;

/** /categorize: for every picture the best category. */
export async function answerCategorize(
  model: ModelSummary,
  collection: PictureCollection,
  categories: Categories,
  options: AnswerOptions,
): Promise<Answer> {
  const broken = await toleratedFaults(collection, options);
  const names = collection.names();
  const rankings = await collection.rankCategories(
    categories,
    rankingOptions(options, names.length, categories.labels.length),
  );
  if (options.details) {
    const results = rankings.map(({ name, candidates }) => {
      const scores = candidates.map(({ name, score, similarity }) => ({ category: name, score, similarity }));
      return { file: name, category: winner(candidates, options.threshold), ...standing(candidates), scores };
    });
    return detailed({ model: wireModel(model), results, errors: [...broken] }, broken.length);
  }
  const bestOf = new Map(rankings.map((ranking) => [ranking.name, ranking.candidates]));
  return {
    json: jsonObject(names.map((file) => [file, winner(bestOf.get(file) ?? [], options.threshold)])),
    brokenFiles: broken.length,
  };
}

/** /image: for every category the best picture. */
export async function answerImage(
  model: ModelSummary,
  collection: PictureCollection,
  categories: Categories,
  options: AnswerOptions,
): Promise<Answer> {
  const broken = await toleratedFaults(collection, options);
  const rankings = await collection.rankFiles(
    categories,
    rankingOptions(options, categories.labels.length, collection.names().length),
  );
  if (options.details) {
    const results = rankings.map(({ name, candidates }) => {
      const scores = candidates.map(({ name, score, similarity }) => ({ file: name, score, similarity }));
      return { category: name, file: winner(candidates, options.threshold), ...standing(candidates), scores };
    });
    return detailed({ model: wireModel(model), results, errors: [...broken] }, broken.length);
  }
  return {
    json: jsonObject(rankings.map((ranking) => plainEntry(ranking, options))),
    brokenFiles: broken.length,
  };
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
 * The broken pictures, where the request goes on without them.
 * @throws ServiceError files_broken, or image_unsupported where nothing else is wrong
 */
async function toleratedFaults(
  collection: PictureCollection,
  { onError }: AnswerOptions,
): Promise<readonly BrokenFile[]> {
  const broken = await collection.broken();
  const [first] = broken;
  if (!first || onError === 'skip') return broken;
  const others = broken.length - 1;
  const sentence =
    others === 0
      ? `${JSON.stringify(first.file)} cannot be used: ${first.error}`
      : `${broken.length} files cannot be used, the first of them ${JSON.stringify(first.file)}: ${first.error}`;
  const code = broken.every((file) => file.code === 'image_unsupported')
    ? 'image_unsupported'
    : 'files_broken';
  throw new ServiceError(code, sentence, { errors: broken });
}

/**
 * What the engine is asked for.
 * @throws ServiceError option_invalid where the answer would be enormous
 */
export function rankingOptions(
  { details, topK, templates }: Pick<AnswerOptions, 'details' | 'topK' | 'templates'>,
  subjects: number,
  candidates: number,
): RankingOptions {
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

function detailed(details: CategorizeDetails | ImageDetails, brokenFiles: number): Answer {
  return { json: JSON.stringify(details), brokenFiles };
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
