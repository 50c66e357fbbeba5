import { Transformer } from '@napi-rs/image';
import { DecodeError } from './builtin-decoder.ts';

/**
 * Decodes the formats that `Bun.Image` cannot: plain AVIF, the first frame of an animated WebP.
 * Runs off the main thread. The orientation is not applied. An aborted signal cancels only work that has not
 * begun: when the promise settles, nothing reads the bytes any more.
 * @returns the pixels as a BMP of 24 or 32 bits, which `Bun.Image` reads
 * @throws DecodeError; the signal's reason
 */
export async function decodeToBitmap(bytes: Uint8Array, signal?: AbortSignal): Promise<Uint8Array> {
  const transformer = new Transformer(bytes);
  try {
    return await transformer.bmp(signal);
  } catch (cause) {
    signal?.throwIfAborted();
    const message = (cause as Error).message;
    throw new DecodeError(reasonOf(message), message, { cause });
  }
}

function reasonOf(message: string): DecodeError['reason'] {
  if (/limit exceeded|limits? are exceeded/i.test(message)) return 'too_large';
  if (/not support|unsupported|not implemented/i.test(message)) return 'unsupported';
  return 'broken';
}
