import { keyframePositions, type PacketIndex } from './packet-index.ts';

/** Closer keyframes show nothing more: two of them are in every scene of 0.7 s. */
const LEAST_SECONDS = 0.3;
/** Looking at so many keyframes for each frame that may be chosen leaves enough to choose from. */
const KEYFRAMES_PER_FRAME = 8;

/**
 * Which keyframes to decode: all that are shown, but no more than are useful.
 * @param maximumFrames that may be chosen in all
 * @returns positions in the packet index, ascending
 */
export function chooseKeyframes(index: PacketIndex, maximumFrames: number): number[] {
  const distance = Math.max(LEAST_SECONDS, (index.end - index.start) / (KEYFRAMES_PER_FRAME * maximumFrames));
  let last = Number.NEGATIVE_INFINITY;
  return keyframePositions(index).filter((at) => {
    const timestamp = index.timestamps[at]!;
    if (index.hidden[at] || timestamp - last < distance) return false;
    last = timestamp;
    return true;
  });
}

/** So many positions of these, evenly: for a video of more keyframes than may be decoded. */
export function thinOut(positions: readonly number[], most: number): number[] {
  if (positions.length <= most) return [...positions];
  return Array.from(
    { length: most },
    (_, order) => positions[Math.floor((order * positions.length) / most)]!,
  );
}
