import type { StoredFile } from '../spool.ts';
import type { VideoAnswer } from './video-answer.ts';

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
