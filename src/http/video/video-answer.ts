import type { ModelSummary, VideoSearch } from '../../classify/classifier.ts';
import { frameName } from '../../contract/frame-name.ts';
import type { VideoDetails, VideoProgress } from '../../contract/schemas.ts';
import type { ServiceError } from '../../errors.ts';
import { wireModel } from '../answers.ts';
import { errorBody } from '../json-answer.ts';
import type { StoredFile } from '../spool.ts';

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

/** How an answer travels: as one JSON document, or as events of which the last one holds it. */
type AnswerFormat = 'json' | 'ndjson' | 'sse';

const mediaTypes: ReadonlyMap<string, AnswerFormat> = new Map([
  ['application/json', 'json'],
  ['application/x-ndjson', 'ndjson'],
  ['text/event-stream', 'sse'],
]);

/** Half of the least step that a quality can make: of equal qualities a named type wins over "anything". */
const WILDCARD_MALUS = 0.0005;

/**
 * The format that an Accept header prefers among those it names. Events are only for those who name them:
 * who accepts anything gets JSON, and so does who accepts neither.
 */
export function answerFormatOf(headers: Headers): AnswerFormat {
  let preferred: { format: AnswerFormat; quality: number } = { format: 'json', quality: 0 };
  for (const range of (headers.get('accept') ?? '').split(',')) {
    const [type = '', ...parameters] = range.split(';').map((word) => word.trim().toLowerCase());
    const isWildcard = type === '*/*' || type === 'application/*';
    const format = isWildcard ? 'json' : mediaTypes.get(type);
    if (!format) continue;
    const quality = qualityOf(parameters) - (isWildcard ? WILDCARD_MALUS : 0);
    const isBetter = quality > preferred.quality || (quality === preferred.quality && format === 'json');
    if (isBetter) preferred = { format, quality };
  }
  return preferred.format;
}

/** RFC 9110, 12.4.2: 0 to 1, three decimals. What breaks that grammar is not asked for. */
function qualityOf(parameters: readonly string[]): number {
  const weight = parameters.find((parameter) => parameter.startsWith('q='));
  if (weight === undefined) return 1;
  return /^q=(?:0(?:\.\d{0,3})?|1(?:\.0{0,3})?)$/.test(weight) ? Number(weight.slice(2)) : 0;
}

type Result = Omit<VideoDetails['results'][number], 'image'> & {
  /** null: below the threshold; undefined: not asked for. */
  readonly image: StoredFile | null | undefined;
};

/** What a search has found, complete but for the pictures, which lie on the disk. */
export interface VideoAnswer extends Omit<VideoDetails, 'results'> {
  readonly results: readonly Result[];
}

/** The frames that are an answer, each once, in the order of time. */
export function winningTimestamps({ rankings }: VideoSearch, threshold = 0): readonly number[] {
  const winners = rankings
    .flatMap(({ frames }) => frames.slice(0, 1))
    .filter(({ score }) => score >= threshold);
  return [...new Set(winners.map(({ timestamp }) => timestamp))].toSorted((a, b) => a - b);
}

/**
 * @param videoName as its client has it
 * @param images of the winners, by timestamp; undefined where none is asked for
 */
export function composeAnswer(
  model: ModelSummary,
  search: VideoSearch,
  videoName: string,
  images: ReadonlyMap<number, StoredFile> | undefined,
  threshold = 0,
): VideoAnswer {
  const { duration, width, height, frameRate, codec } = search.video;
  const { framesConsidered, scenes, warnings } = search;
  return {
    model: wireModel(model),
    video: { duration, width, height, frameRate, codec, framesConsidered, scenes },
    results: search.rankings.map(({ category, frames }) => {
      const [best] = frames;
      if (!best) throw new Error('a ranking without a frame: this is a bug');
      const { timestamp, score, similarity } = best;
      const standing = { category, score, similarity, scores: [...frames] };
      if (score < threshold) return { ...standing, file: null, timestamp: null, image: images && null };
      return { ...standing, file: frameName(videoName, timestamp), timestamp, image: images?.get(timestamp) };
    }),
    warnings: [...warnings],
  };
}

/** Whole groups of three bytes: the base64 of such blocks is the base64 of the file. */
const BLOCK_BYTES = 3 * 64 * 1024;

/**
 * An answer's JSON text, piece by piece: a thousand categories with a picture each may be a gigabyte.
 * @param details the detailed shape; otherwise that of 2021: category → [file, picture]
 */
export function answerJson(answer: VideoAnswer, details: boolean): AsyncGenerator<string> {
  return details ? detailedJson(answer) : plainJson(answer);
}

/** By hand, as `json-entries` does, for the keys' order. */
async function* plainJson({ results }: VideoAnswer): AsyncGenerator<string> {
  for (const [index, { category, file, image }] of results.entries()) {
    yield `${index === 0 ? '{' : ','}${JSON.stringify(category)}:`;
    if (file === null) {
      yield 'null';
      continue;
    }
    yield `[${JSON.stringify(file)}`;
    if (image) {
      yield ',';
      yield* base64Json(image);
    }
    yield ']';
  }
  yield results.length === 0 ? '{}' : '}';
}

async function* detailedJson({ results, warnings, ...head }: VideoAnswer): AsyncGenerator<string> {
  yield `${JSON.stringify(head).slice(0, -1)},"results":[`;
  for (const [index, { image, ...result }] of results.entries()) {
    yield `${index === 0 ? '' : ','}${JSON.stringify(result).slice(0, -1)}`;
    if (image !== undefined) yield ',"image":';
    if (image === null) yield 'null';
    if (image) yield* base64Json(image);
    yield '}';
  }
  yield `],"warnings":${JSON.stringify(warnings)}}`;
}

async function* base64Json({ path, bytes }: StoredFile): AsyncGenerator<string> {
  yield '"';
  for (let offset = 0; offset < bytes; offset += BLOCK_BYTES) {
    const block = await Bun.file(path)
      .slice(offset, offset + BLOCK_BYTES)
      .arrayBuffer();
    yield Buffer.from(block).toString('base64');
  }
  yield '"';
}
