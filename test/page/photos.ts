import type { Photo, Question } from '../../src/page/results/photo.ts';

/** A photo with these scores, one per category; similarities rise with the scores. */
export function answeredPhoto(id: number, question: Question, scores: readonly number[]): Photo {
  const best = [...scores.keys()].sort((a, b) => (scores[b] ?? 0) - (scores[a] ?? 0) || a - b).slice(0, 10);
  return {
    id,
    file: new File(['x'], `${id}.jpg`),
    bytes: 1,
    path: `${id}.jpg`,
    answer: {
      question,
      scores: Float32Array.from(scores),
      similarities: Float32Array.from(scores, (score) => score / 2),
      best,
    },
  };
}

export function newPhoto(id: number, bytes = 1): Photo {
  return { id, file: new File([new Uint8Array(bytes)], `${id}.jpg`), bytes, path: `${id}.jpg` };
}

export const paths = (photos: readonly Photo[] | undefined) => photos?.map(({ path }) => path);
