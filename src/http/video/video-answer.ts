import type { ModelSummary, VideoSearch } from '../../classify/classifier.ts';
import { decide } from '../../classify/decide.ts';
import { frameName } from '../../contract/frame-name.ts';
import type { VideoOptions } from '../../contract/options.ts';
import type { VideoDetails, VideoProgress } from '../../contract/schemas.ts';
import { invariant, type ServiceError } from '../../errors.ts';
import { errorBody, wireModel } from '../answers.ts';
import type { StoredFile } from '../spool.ts';

/** The text around the data of each event. */
export interface EventNotation {
  readonly contentType: string;
  /** @param name of the event, with the text before and after its data */
  around(name: 'progress' | 'result' | 'error'): readonly [before: string, after: string];
  /** A sign of life. @param last the last progress that was sent, if any */
  quiet(last: VideoProgress | undefined): string;
}

/** Newline-delimited JSON: one object a line. */
const ndjson: EventNotation = {
  contentType: 'application/x-ndjson; charset=utf-8',
  around: (name) => [`{"event":"${name}","data":`, '}\n'],
  // NDJSON has no comments, and not every reader ignores an empty line.
  quiet: (last) => (last ? progressEvent(ndjson, last) : ''),
};

/** Server-sent events, as WHATWG HTML defines them. The data is one line: JSON text has no line breaks. */
const sse: EventNotation = {
  contentType: 'text/event-stream; charset=utf-8',
  around: (name) => [`event: ${name}\ndata: `, '\n\n'],
  quiet: () => ': still at work\n\n',
};

export const notations = { ndjson, sse } as const;

export function progressEvent(notation: EventNotation, progress: VideoProgress): string {
  return notation.around('progress').join(JSON.stringify(progress));
}

/** The data is the body that an error response has. */
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

/** An answer is one JSON document, or events of which the last one holds it. */
type AnswerFormat = 'json' | 'ndjson' | 'sse';

const mediaTypes: ReadonlyMap<string, AnswerFormat> = new Map([
  ['application/json', 'json'],
  ['application/x-ndjson', 'ndjson'],
  ['text/event-stream', 'sse'],
]);

/** Half of the least step of a quality: of equal qualities, a named type wins over a wildcard. */
const WILDCARD_MALUS = 0.0005;

/**
 * The format that an Accept header prefers. Events are sent only if their type is named; a wildcard, or a header that
 * accepts no known type, gets JSON.
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

/** RFC 9110, 12.4.2: 0 to 1, three decimals. A weight that breaks that grammar counts as 0. */
function qualityOf(parameters: readonly string[]): number {
  const weight = parameters.find((parameter) => parameter.startsWith('q='));
  if (weight === undefined) return 1;
  return /^q=(?:0(?:\.\d{0,3})?|1(?:\.0{0,3})?)$/.test(weight) ? Number(weight.slice(2)) : 0;
}

type Result = Omit<VideoDetails['results'][number], 'image'> & {
  /** null: no frame is good enough; undefined: not asked for. */
  readonly image?: StoredFile | null | undefined;
};

/** The result of a search. The pictures are files on the disk. */
export interface VideoAnswer extends Omit<VideoDetails, 'results'> {
  readonly results: readonly Result[];
}

interface AnswerParts {
  readonly model: ModelSummary;
  /** Its name on the client's side. */
  readonly videoName: string;
  readonly options: VideoOptions;
}

/** The answer without pictures. */
export function composeAnswer(
  { video, framesConsidered, scenes, rankings, warnings }: VideoSearch,
  { model, videoName, options }: AnswerParts,
): VideoAnswer {
  const { duration, width, height, frameRate, codec } = video;
  return {
    model: wireModel(model),
    video: {
      duration,
      width,
      height,
      frame_rate: frameRate,
      codec,
      frames_considered: framesConsidered,
      scenes,
    },
    results: rankings.map(({ category, frames, moments }) => {
      const [best] = frames;
      invariant(best, 'a ranking has no frame.');
      const { score, similarity } = best;
      const timestamp = decide(frames, options)?.timestamp ?? null;
      const scores = frames.slice(0, options.top_k);
      const file = timestamp === null ? null : frameName(videoName, timestamp);
      const result = { category, score, similarity, scores, file, timestamp };
      return options.moments ? { ...result, moments: moments.slice(0, options.top_k) } : result;
    }),
    warnings: [...warnings],
  };
}

/** The frames that are an answer, each once, ascending. */
export function winningTimestamps({ results }: VideoAnswer): readonly number[] {
  const winners = new Set(results.flatMap(({ timestamp }) => timestamp ?? []));
  return [...winners].sort((a, b) => a - b);
}

/** @param images of the winners, by timestamp */
export function withImages(answer: VideoAnswer, images: ReadonlyMap<number, StoredFile>): VideoAnswer {
  const results = answer.results.map((result) => ({
    ...result,
    image: result.timestamp === null ? null : images.get(result.timestamp),
  }));
  return { ...answer, results };
}

/** A multiple of three bytes, so that the base64 of the blocks, joined, is the base64 of the file. */
const BLOCK_BYTES = 3 * 64 * 1024;

/**
 * An answer's JSON text, in pieces: a thousand categories with a picture each may be a gigabyte.
 * @param details the detailed shape; otherwise category → [file, picture]
 */
export function answerJson(answer: VideoAnswer, details: boolean): AsyncGenerator<string> {
  return details ? detailedJson(answer) : plainJson(answer);
}

/** Written by hand for the order of the keys, as `jsonObject` is. */
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
