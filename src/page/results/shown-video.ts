import type { VideoDetails } from '../../http/schemas.ts';
import type { FramePictures } from './frame-pictures.ts';
import type { Fault } from './photo.ts';

/** The video on the page, and what is known of it. */
export interface ShownVideo {
  readonly file: File;
  /** Without pictures. */
  readonly details?: VideoDetails;
  readonly pictures?: FramePictures;
  readonly fault?: Fault;
}
