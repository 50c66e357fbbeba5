/** Told of the engine's work as it is done, for whoever measures it. It must not throw. Times in milliseconds. */
export interface EngineObserver {
  /** A picture was decoded, waiting for memory included. */
  pictureDecoded(ms: number): void;
  /** A picture became an embedding. */
  pictureEncoded(): void;
  /** A picture cannot be used, for a reason with this code. */
  pictureBroken(code: string): void;
  /** So many frames of a video became embeddings. */
  framesEncoded(count: number): void;
  /** Labels that were asked for: those whose embeddings were there, and those that have to be encoded. */
  textsLookedUp(known: number, unknown: number): void;
  /**
   * The model ran.
   * @param ms from the batch's beginning to its embeddings
   * @param waitedMs how long the batch's first item had waited for it
   */
  batchRun(encoder: 'image' | 'text', items: number, ms: number, waitedMs: number): void;
  /** The inference thread has ended, and is started again. */
  inferenceBrokeDown(): void;
}

const nothing = () => undefined;

/** Nobody measures. */
export const unobserved: EngineObserver = {
  pictureDecoded: nothing,
  pictureEncoded: nothing,
  pictureBroken: nothing,
  framesEncoded: nothing,
  textsLookedUp: nothing,
  batchRun: nothing,
  inferenceBrokeDown: nothing,
};
