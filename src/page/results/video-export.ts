import type { VideoDetails } from '../../http/schemas.ts';
import { csvText } from './csv.ts';

/** What is saved of a video; pictures are not part of it. */
export interface VideoResults {
  readonly name: string;
  readonly details: VideoDetails;
  /** Least score that counts, 0 to 1. */
  readonly threshold: number;
  /** How many frames of a category are listed. */
  readonly topK: number;
}

export function videoJson({ name, details, threshold, topK }: VideoResults): string {
  const { model, video, warnings } = details;
  const results = details.results.map(({ category, score, similarity, timestamp, scores }) => ({
    category,
    timestamp: score >= threshold ? timestamp : null,
    score,
    similarity,
    scores: scores.slice(0, topK),
  }));
  return `${JSON.stringify({ file: name, model, threshold, video, results, warnings }, null, 2)}\n`;
}

/** One line a category and frame, best first. */
export function videoCsv({ name, details, threshold, topK }: VideoResults): string {
  return csvText([
    ['file', 'category', 'seconds', 'score', 'similarity'],
    ...details.results.flatMap(({ category, scores }) =>
      scores
        .slice(0, topK)
        .filter(({ score }) => score >= threshold)
        .map(({ timestamp, score, similarity }) => [name, category, timestamp, score, similarity]),
    ),
  ]);
}
