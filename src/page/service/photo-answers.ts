import type { CategorizeDetails } from '../../contract/schemas.ts';
import type { Fault, PhotoAnswer, Question } from '../results/photo.ts';

export type Model = CategorizeDetails['model'];

/** What came of one request, by the photo's place in it. */
export interface BatchAnswer {
  readonly model: Model;
  readonly answers: ReadonlyMap<number, PhotoAnswer>;
  readonly faults: ReadonlyMap<number, Fault>;
}

/** As many as the page ever lists of one photo. */
const MAX_BEST = 10;

/** The most that `top_k` may be; more categories than that only an operator's own limit allows. */
export const MAX_TOP_K = 1000;

/**
 * Reads a detailed answer of /categorize. Files are sent under their place in the request, `0`, `1`, …: names
 * may repeat, be too long or not be meant for a log.
 * @returns undefined where the text is no such answer
 */
export function readBatchAnswer(text: string, question: Question): BatchAnswer | undefined {
  let details: CategorizeDetails;
  try {
    details = JSON.parse(text);
  } catch {
    return undefined;
  }
  if (!Array.isArray(details?.results) || !Array.isArray(details.errors)) return undefined;
  const places = new Map(question.labels.map((label, index) => [label, index]));
  const answers = new Map<number, PhotoAnswer>();
  for (const { file, scores: listed } of details.results) {
    const similarities = new Float32Array(places.size).fill(Number.NaN);
    const scores = new Float32Array(places.size);
    const best: number[] = [];
    for (const { category, score, similarity } of listed) {
      const place = places.get(category);
      if (place === undefined) continue;
      similarities[place] = similarity;
      scores[place] = score;
      if (best.length < MAX_BEST) best.push(place);
    }
    answers.set(Number(file), { question, similarities, scores, best });
  }
  const faults = new Map(
    details.errors.map(({ file, code, error }) => [Number(file), { code, sentence: error }]),
  );
  return { model: details.model, answers, faults };
}
