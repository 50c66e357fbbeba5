import { answerTo, type Photo, type Question } from './photo.ts';

/**
 * For each category the photos that fit it best, best first, equal ones in the order given. Ranked by
 * similarity: photos come from several requests, and a softmax over photos (the score of /image) only holds
 * within one; over all of them it would give this same order.
 * @param count how many for each category
 * @param threshold least score a photo has for the category, 0 to 1
 */
export function bestPhotos(
  photos: readonly Photo[],
  question: Question,
  count: number,
  threshold: number,
): readonly (readonly Photo[])[] {
  const answered = photos.filter((photo) => !photo.fault && answerTo(photo, question));
  return question.labels.map((_, label) => {
    const best: Photo[] = [];
    for (const photo of answered) {
      const similarity = similarityTo(photo, label);
      // NaN where the service listed only other categories.
      if (!(similarity >= -1) || (photo.answer?.scores[label] ?? 0) < threshold) continue;
      const last = best[count - 1];
      if (last && similarity <= similarityTo(last, label)) continue;
      let place = best.length;
      while (place > 0 && similarity > similarityTo(best[place - 1] as Photo, label)) place--;
      best.splice(place, 0, photo);
      if (best.length > count) best.pop();
    }
    return best;
  });
}

function similarityTo({ answer }: Photo, label: number): number {
  return answer?.similarities[label] ?? Number.NaN;
}
