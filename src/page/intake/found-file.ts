/** A file, and the folders it was found in below the one that was dropped. */
export interface FoundFile {
  readonly file: File;
  /** With folders where there are any: `holiday/day 1/beach.jpg`. */
  readonly path: string;
  readonly inFolder: boolean;
}
