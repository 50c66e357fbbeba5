import type { VideoDetails } from '../../http/schemas.ts';

/** The frames' pictures, JPEG files by timestamp in seconds. */
export type FramePictures = ReadonlyMap<number, Blob>;

/**
 * Takes the pictures out of an answer: their base64 would stay in the page's memory, files need not. A frame
 * that is the best one for many categories comes with each of them and is kept once.
 */
export function separatePictures(details: VideoDetails): {
  readonly details: VideoDetails;
  readonly pictures: FramePictures;
} {
  const pictures = new Map<number, Blob>();
  const results = details.results.map(({ image, ...result }) => {
    const { timestamp } = result;
    if (image && timestamp !== null && !pictures.has(timestamp)) pictures.set(timestamp, jpegOf(image));
    return result;
  });
  return { details: { ...details, results }, pictures };
}

function jpegOf(base64: string): Blob {
  const characters = atob(base64);
  const bytes = new Uint8Array(characters.length);
  for (let index = 0; index < bytes.length; index++) bytes[index] = characters.charCodeAt(index);
  return new Blob([bytes], { type: 'image/jpeg' });
}
