import * as v from 'valibot';
import type { PictureHeader, ResizeAndCrop } from '../../../native/image/bitmap.ts';

/** What a process that decodes pictures is told; the picture's bytes follow on its standard input. */
export interface PictureOrder {
  readonly byteLength: number;
  readonly header: PictureHeader;
  readonly place: ResizeAndCrop;
  /** Side of the square. */
  readonly side: number;
}

/** What the process says: once that it is there, then one word for each order. */
export const pictureMessageSchema = v.variant('kind', [
  v.object({ kind: v.literal('started') }),
  v.object({
    kind: v.literal('decoded'),
    /** [side, side, 3] u8 RGB, row-major. */
    pixels: v.custom<Uint8Array>((value) => value instanceof Uint8Array),
  }),
  v.object({
    kind: v.literal('failed'),
    /** A DecodeError's; undefined: not the picture's fault. */
    reason: v.optional(v.picklist(['broken', 'unsupported', 'too_large'])),
    message: v.string(),
  }),
]);
export type PictureMessage = v.InferOutput<typeof pictureMessageSchema>;
