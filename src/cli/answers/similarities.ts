import type { ScannedPictures } from './embedder.ts';

/** A picture's similarity with itself is below 1 by less than this, because embeddings are rounded in the index. */
export const ROUNDING = 1e-6;

/** The cosines of the pictures that can be used, and their places, ascending. */
export interface Similarities {
  readonly places: Uint32Array;
  readonly values: Float64Array;
}

/**
 * Compares many pictures with subjects, and keeps only the similarities.
 * @param compare returns the cosine of a picture with each subject
 * @returns for each subject
 */
export async function similaritiesOf(
  { count, scan }: ScannedPictures,
  subjects: number,
  compare: (embedding: Float32Array) => readonly number[],
): Promise<readonly Similarities[]> {
  const all = Array.from({ length: subjects }, () => new Float64Array(count));
  const isUsable = new Uint8Array(count);
  await scan((place, embedding) => {
    isUsable[place] = 1;
    for (const [subject, similarity] of compare(embedding).entries()) all[subject]![place] = similarity;
  });
  const places = Uint32Array.from(isUsable.keys()).filter((place) => isUsable[place] === 1);
  return all.map((values) => ({ places, values: Float64Array.from(places, (place) => values[place]!) }));
}
