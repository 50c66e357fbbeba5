import type { Asked, Photo } from '../../src/page/results/photo.ts';

const ORIGIN = 'a model';

/** A question whose embeddings are the axes of a space; the last axis is the background. */
export function askedFor(names: readonly string[]): Asked {
  const axis = (place: number) => Float32Array.from({ length: names.length + 1 }, (_, at) => +(at === place));
  return {
    categories: names.map((name) => ({ name, phrases: [name] })),
    template: '',
    embeddings: names.map((_, place) => axis(place)),
    background: [axis(names.length)],
    logitScale: 10,
    origin: ORIGIN,
  };
}

/** A photo with these similarities to the categories. @param background its similarity to the background */
export function embeddedPhoto(id: number, similarities: readonly number[], background = 0.5): Photo {
  return {
    ...newPhoto(id),
    embedding: { origin: ORIGIN, embedding: Float32Array.from([...similarities, background]) },
  };
}

export function newPhoto(id: number, bytes = 1): Photo {
  return { id, file: new File([new Uint8Array(bytes)], `${id}.jpg`), bytes, path: `${id}.jpg` };
}

export const paths = (photos: readonly Photo[] | undefined) => photos?.map(({ path }) => path);
