import type { VideoDetails } from '../../contract/schemas.ts';
import type { Fault } from './photo.ts';

/** The frames' pictures, JPEG files by timestamp in seconds. */
type FramePictures = ReadonlyMap<number, Blob>;

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

/** The video on the page, and what is known of it. */
export interface ShownVideo {
  readonly file: File;
  /** Without pictures. */
  readonly details?: VideoDetails;
  readonly pictures?: FramePictures;
  readonly fault?: Fault;
}

/** Addresses of the frames' pictures, as an `<img>` takes them. */
export interface FrameAddresses {
  /** @param timestamp seconds. @returns undefined where there is no picture of that frame */
  at(timestamp: number): string | undefined;
  release(): void;
}

export function createFrameAddresses(pictures: FramePictures): FrameAddresses {
  const addresses = new Map([...pictures].map(([timestamp, jpeg]) => [timestamp, URL.createObjectURL(jpeg)]));
  return {
    at: (timestamp) => addresses.get(timestamp),
    release() {
      for (const address of addresses.values()) URL.revokeObjectURL(address);
    },
  };
}
