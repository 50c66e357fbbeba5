import type { Classifier, RankingOptions } from '../../classify/classifier.ts';
import { categoriesOf, type Question, type VideoAnswer, type VideoRequest } from './answers.ts';

/** Looks for the best frames of a video with the classifier in this process. */
export async function searchVideoHere(
  classifier: Classifier,
  { categories, threshold = 0 }: Question,
  options: RankingOptions,
  { path, onProgress, takeJpeg }: VideoRequest,
  signal: AbortSignal,
): Promise<VideoAnswer> {
  await using search = await classifier.searchVideo(path, categories, {
    ...options,
    signal,
    onProgress(progress) {
      if (progress.stage === 'searching') onProgress(progress.secondsDone, progress.secondsTotal);
    },
  });
  const frames = search.rankings.map(({ category, frames: scores }) => {
    const [best] = scores;
    if (!best) throw new Error('a ranking without a frame: this is a bug');
    const { timestamp, score, similarity } = best;
    return { category, timestamp: score >= threshold ? timestamp : null, score, similarity, scores };
  });
  if (takeJpeg) {
    const winners = frames.flatMap(({ timestamp }) => timestamp ?? []);
    for await (const { timestamp, jpeg } of search.jpegs([...new Set(winners)])) {
      await takeJpeg(timestamp, categoriesOf(frames, timestamp), jpeg);
    }
  }
  return { frames, warnings: search.warnings };
}
