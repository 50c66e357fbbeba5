import type { VideoDetails } from '../../http/schemas.ts';

/** The frames' pictures, as addresses an `<img>` takes. */
export interface FramePictures {
  /** @param timestamp seconds. @returns undefined where there is no picture of that frame */
  at(timestamp: number): string | undefined;
  release(): void;
}

/**
 * A frame that is the best one for many categories comes with each of them and is kept once. The JPEG is kept
 * outside of the page's own memory.
 */
export function createFramePictures({ results }: VideoDetails): FramePictures {
  const addresses = new Map<number, string>();
  for (const { timestamp, image } of results) {
    if (timestamp === null || !image || addresses.has(timestamp)) continue;
    const jpeg = Uint8Array.from(atob(image), (character) => character.charCodeAt(0));
    addresses.set(timestamp, URL.createObjectURL(new Blob([jpeg], { type: 'image/jpeg' })));
  }
  return {
    at: (timestamp) => addresses.get(timestamp),
    release() {
      for (const address of addresses.values()) URL.revokeObjectURL(address);
      addresses.clear();
    },
  };
}
