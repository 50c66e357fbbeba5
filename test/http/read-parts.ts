import { ServiceError } from '../../src/errors.ts';
import { readParts } from '../../src/http/multipart.ts';
import { boundary, closing, part } from './harness.ts';

interface ReadPart {
  readonly name: string;
  readonly filename: string | undefined;
  readonly text: string;
}

export async function* chunksOf(...chunks: readonly Uint8Array[]) {
  yield* chunks;
}

/** Reads a body to its end, its bytes as Latin-1. */
export async function read(chunks: readonly Uint8Array[], bound = boundary): Promise<ReadPart[]> {
  const parts: ReadPart[] = [];
  for await (const { name, filename, content } of readParts(chunksOf(...chunks), bound)) {
    const kept: Uint8Array[] = [];
    for await (const chunk of content) kept.push(chunk);
    parts.push({ name, filename, text: Buffer.concat(kept).toString('latin1') });
  }
  return parts;
}

/** The error for a body. */
export const faultOf = async (chunks: readonly Uint8Array[]): Promise<ServiceError | undefined> => {
  try {
    await read(chunks);
    return undefined;
  } catch (fault) {
    if (fault instanceof ServiceError) return fault;
    throw fault;
  }
};

/** Splits a body at ascending positions. */
export const cutAt = (body: Buffer, positions: readonly number[]) =>
  [0, ...positions].map((from, index) => body.subarray(from, positions[index] ?? body.length));

/** A body with a name outside ASCII, content that resembles a boundary, a preamble and an epilogue. */
export const threeParts = Buffer.concat([
  Buffer.from('a preamble\r\n'),
  part(
    'form-data; name="files"; filename="写真 \\"1\\".jpg"',
    '\r\n--test-boundar\r\n--\r\n',
    'Content-Type: image/jpeg',
  ),
  part('form-data; name="files"; filename=""', ''),
  part('form-data; name="categories"', 'a,b'),
  closing,
  Buffer.from('an epilogue\r\n--test-boundary\r\n'),
]);
