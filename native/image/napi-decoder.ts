import { Transformer } from '@napi-rs/image';
import { DecodeError } from './builtin-decoder.ts';

/**
 * Decodes the formats that `Bun.Image` cannot: AVIF, the first frame of an animated WebP, rare BMPs.
 * Runs off the main thread. The orientation is not applied. An aborted signal cancels only work that has not
 * begun: when the promise settles, nothing reads the bytes any more.
 * @returns the pixels as a BMP of 24 or 32 bits, which `Bun.Image` reads
 * @throws DecodeError; the signal's reason
 */
export async function decodeToBitmap(
  bytes: Uint8Array,
  { isAvif }: { readonly isAvif: boolean },
  signal?: AbortSignal,
): Promise<Uint8Array> {
  const transformer = new Transformer(isAvif ? withStillBrand(bytes) : bytes);
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

const MAJOR_BRAND_OFFSET = 8;

/** The library recognises an AVIF by its major brand only. A sequence has `avis`, some files have `mif1`. */
function withStillBrand(bytes: Uint8Array): Uint8Array {
  const brand = new TextEncoder().encode('avif');
  if (Buffer.compare(bytes.subarray(MAJOR_BRAND_OFFSET, MAJOR_BRAND_OFFSET + 4), brand) === 0) return bytes;
  const branded = new Uint8Array(bytes);
  branded.set(brand, MAJOR_BRAND_OFFSET);
  return branded;
}
