import * as v from 'valibot';
import { errorCodes } from '../../errors.ts';

const seconds = v.pipe(v.number(), v.finite());
const bytes = v.custom<Uint8Array>((value) => value instanceof Uint8Array);
const count = v.pipe(v.number(), v.integer(), v.minValue(0));

/** What the process that decodes a video is told. One task at a time; a new one comes when the last is done. */
export type VideoTask =
  | { readonly kind: 'open'; readonly path: string; readonly videoSeconds: number; readonly threads: number }
  | {
      readonly kind: 'find';
      readonly maximumFrames: number;
      readonly placement: {
        readonly resizedWidth: number;
        readonly resizedHeight: number;
        readonly cropLeft: number;
        readonly cropTop: number;
        readonly side: number;
      };
    }
  | { readonly kind: 'jpegs'; readonly timestamps: readonly number[] }
  /** So many of the pictures that were sent have been used: as many more may come. */
  | { readonly kind: 'more'; readonly pictures: number }
  /** Another video's turn has come: halt, and say so, until this one's comes again. */
  | { readonly kind: 'pause' }
  | { readonly kind: 'resume' };

/** Pictures that may be on their way: decoding goes on while the model looks at them. */
export const picturesAhead = 8;

/** What the process says. */
export const videoMessageSchema = v.variant('kind', [
  /** It is alive: the task has come to this time of the video. */
  v.object({ kind: v.literal('progress'), seconds }),
  v.object({
    kind: v.literal('opened'),
    description: v.object({
      duration: seconds,
      width: count,
      height: count,
      frameRate: seconds,
      codec: v.string(),
    }),
    /** Processor time that all that follows may take. */
    cpuSeconds: seconds,
  }),
  /** It does nothing until it is told to resume. */
  v.object({ kind: v.literal('paused') }),
  v.object({ kind: v.literal('frame'), timestamp: seconds, scene: count, pixels: bytes }),
  v.object({
    kind: v.literal('found'),
    scenes: count,
    warnings: v.array(v.string()),
    tally: v.object({ packets: count, frames: count, damaged: count, pixels: count }),
  }),
  v.object({ kind: v.literal('jpeg'), timestamp: seconds, jpeg: bytes }),
  v.object({ kind: v.literal('jpegs done') }),
  v.object({
    kind: v.literal('failed'),
    /** Undefined: not the video's fault. */
    code: v.optional(v.picklist(errorCodes)),
    /** The system gave it no more memory. */
    outOfMemory: v.boolean(),
    message: v.string(),
    details: v.record(v.string(), v.unknown()),
  }),
]);
export type VideoMessage = v.InferOutput<typeof videoMessageSchema>;
