/** What a player would say of a video. */
export interface VideoDescription {
  /** Seconds. */
  readonly duration: number;
  /** As displayed: turned upright, pixels square. */
  readonly width: number;
  readonly height: number;
  /** Frames a second, on average. */
  readonly frameRate: number;
  /** libav's name: `h264`, `hevc`, `av1`, `vp9`, `mpeg4`. */
  readonly codec: string;
}

/** A frame that is worth looking at. */
export interface VideoFrame {
  /** Seconds from the beginning, as a player shows them. */
  readonly timestamp: number;
  /** @param target receives the frame as the model sees it, [S, S, 3] u8 RGB, row-major */
  fill(target: Uint8Array): Promise<void> | void;
}

export interface FramesOptions {
  readonly signal: AbortSignal;
  /** Told how far the decoding has come, in seconds of the video. */
  readonly onProgress: (secondsDone: number) => void;
}

/** An open video: what the search for the best frames needs of a decoder. */
export interface VideoSource extends AsyncDisposable {
  readonly description: VideoDescription;
  /**
   * The frames worth looking at, each valid until the next one is asked for.
   * @throws ServiceError video_broken, video_too_large; the signal's reason
   */
  frames(options: FramesOptions): AsyncIterable<VideoFrame>;
  /** How many scenes there are; known once `frames` has ended. */
  readonly scenes: number;
  /** Sentences about what is damaged; complete once `frames` has ended. */
  readonly warnings: readonly string[];
  /**
   * Decodes one of the frames again, at full size.
   * @param timestamp of a frame that `frames` gave
   * @returns a JPEG file
   * @throws ServiceError video_broken; the signal's reason
   */
  jpegAt(timestamp: number, signal: AbortSignal): Promise<Uint8Array>;
}

/**
 * Opens a video file.
 * @throws ServiceError video_unsupported, video_broken, video_too_large; the signal's reason
 */
export type OpenVideo = (path: string, signal: AbortSignal) => Promise<VideoSource>;
