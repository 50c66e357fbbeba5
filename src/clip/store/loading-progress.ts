/** How far a long step has come. */
export interface LoadingProgress {
  readonly stage: 'searching' | 'downloading' | 'verifying' | 'compiling' | 'warming_up';
  readonly bytesDone?: number;
  readonly bytesTotal?: number;
  /** Of this stage; 0 to 100, a whole number. */
  readonly percent?: number;
  readonly secondsLeft?: number;
}

export type ReportProgress = (progress: LoadingProgress) => void;

/** Percentage for a person: never 100 before the last byte. */
export function percentOf(done: number, total: number): number {
  return total > 0 ? Math.min(100, Math.floor((done / total) * 100)) : 100;
}
