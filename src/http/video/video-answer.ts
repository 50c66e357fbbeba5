import type { ModelSummary, Synonyms, VideoSearch } from '../../classify/classifier.ts';
import { decide } from '../../classify/decide.ts';
import { frameName } from '../../contract/frame-name.ts';
import type { VideoOptions } from '../../contract/options.ts';
import type { VideoDetails } from '../../contract/schemas.ts';
import { invariant } from '../../errors.ts';
import { wireModel, wireSynonyms } from '../answers.ts';
import type { EventNotation } from '../events.ts';
import type { StoredFile } from '../spool.ts';

export async function* resultEvent(
  notation: EventNotation,
  json: AsyncIterable<string>,
): AsyncGenerator<string> {
  const [before, after] = notation.around('result');
  yield before;
  yield* json;
  yield after;
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
  readonly synonyms: readonly Synonyms[];
}

/** The answer without pictures. */
export function composeAnswer(
  { video, framesConsidered, scenes, rankings, warnings }: VideoSearch,
  { model, videoName, options, synonyms }: AnswerParts,
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
      const { score, similarity, background } = best;
      const timestamp = decide(frames, options)?.timestamp ?? null;
      const scores = frames.slice(0, options.top_k);
      const file = timestamp === null ? null : frameName(videoName, timestamp);
      const against = background && { background };
      const result = { category, score, similarity, ...against, scores, file, timestamp };
      return options.moments ? { ...result, moments: moments.slice(0, options.top_k) } : result;
    }),
    warnings: [...warnings],
    ...wireSynonyms(synonyms),
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

async function* detailedJson({
  results,
  warnings,
  category_warnings,
  ...head
}: VideoAnswer): AsyncGenerator<string> {
  yield `${JSON.stringify(head).slice(0, -1)},"results":[`;
  for (const [index, { image, ...result }] of results.entries()) {
    yield `${index === 0 ? '' : ','}${JSON.stringify(result).slice(0, -1)}`;
    if (image !== undefined) yield ',"image":';
    if (image === null) yield 'null';
    if (image) yield* base64Json(image);
    yield '}';
  }
  yield `],${JSON.stringify({ warnings, category_warnings }).slice(1)}`;
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
