import type { FramePictures } from '../results/frame-pictures.ts';

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
