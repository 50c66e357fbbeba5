import type { ServiceError } from '../../errors.ts';
import { errorBody } from '../error-response.ts';
import type { VideoProgress } from '../schemas.ts';

/** How events are written: what stands around the data of each. */
export interface EventNotation {
  readonly contentType: string;
  /** @param name of the event, with the text before and after its data */
  around(name: 'progress' | 'result' | 'error'): readonly [before: string, after: string];
  /** A sign of life. @param last what was told last, if anything */
  quiet(last: VideoProgress | undefined): string;
}

/** Newline-delimited JSON: one object a line. */
const ndjson: EventNotation = {
  contentType: 'application/x-ndjson; charset=utf-8',
  around: (name) => [`{"event":"${name}","data":`, '}\n'],
  // It has no comments, and not every reader passes over an empty line.
  quiet: (last) => (last ? progressEvent(ndjson, last) : ''),
};

/** Server-sent events, as WHATWG HTML defines them. JSON text has no line break of its own. */
const sse: EventNotation = {
  contentType: 'text/event-stream; charset=utf-8',
  around: (name) => [`event: ${name}\ndata: `, '\n\n'],
  quiet: () => ': still at work\n\n',
};

export const notations = { ndjson, sse } as const;

export function progressEvent(notation: EventNotation, progress: VideoProgress): string {
  return notation.around('progress').join(JSON.stringify(progress));
}

/** The same body as an answer of its own would have. */
export function errorEvent(notation: EventNotation, error: ServiceError): string {
  return notation.around('error').join(JSON.stringify(errorBody(error)));
}

export async function* resultEvent(
  notation: EventNotation,
  json: AsyncIterable<string>,
): AsyncGenerator<string> {
  const [before, after] = notation.around('result');
  yield before;
  yield* json;
  yield after;
}
