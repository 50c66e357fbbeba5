/** Receives reports of the engine's work. It must not throw. Times are in milliseconds. */
export interface EngineObserver {
  /** A picture was decoded. @param ms waiting for memory included */
  pictureDecoded(ms: number): void;
  /** A picture became an embedding. */
  pictureEncoded(): void;
  /** A picture cannot be used. @param code the error code */
  pictureBroken(code: string): void;
  /** Frames of a video became embeddings. */
  framesEncoded(count: number): void;
  /** Labels were requested. @param known embeddings in the cache @param unknown labels to encode */
  textsLookedUp(known: number, unknown: number): void;
  /**
   * The model ran.
   * @param ms from the start of the batch to its embeddings
   * @param waitedMs the time that the batch's first item waited
   */
  batchRun(encoder: 'image' | 'text', items: number, ms: number, waitedMs: number): void;
  /** The inference thread failed and is restarted. */
  inferenceBrokeDown(): void;
}

const nothing = () => undefined;

/** Ignores all reports. */
export const unobserved: EngineObserver = {
  pictureDecoded: nothing,
  pictureEncoded: nothing,
  pictureBroken: nothing,
  framesEncoded: nothing,
  textsLookedUp: nothing,
  batchRun: nothing,
  inferenceBrokeDown: nothing,
};
