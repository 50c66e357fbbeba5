import type { VideoDetails } from '../../http/schemas.ts';
import type { Fault } from './photo.ts';

/** The video on the page, and what is known of it. */
export interface ShownVideo {
  readonly file: File;
  readonly details?: VideoDetails;
  readonly fault?: Fault;
}
