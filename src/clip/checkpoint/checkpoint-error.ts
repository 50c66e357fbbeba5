/** A checkpoint file that cannot be used, with one sentence for the operator who put it there. */
export class CheckpointError extends Error {
  override readonly name = 'CheckpointError';
}

const QUOTED_CHARACTERS = 120;

/** A name out of a file nobody vouches for: escaped and short enough for a log line. */
export function quote(name: string): string {
  return JSON.stringify(name.length <= QUOTED_CHARACTERS ? name : `${name.slice(0, QUOTED_CHARACTERS)}…`);
}
