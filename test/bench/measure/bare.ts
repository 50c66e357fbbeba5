import type { Precision } from '../../../src/precision.ts';
import type { Bench } from '../bench.ts';
import type { PhotoKind } from '../photos/photo-set.ts';
import { type ChildAnswer, inChild } from './child.ts';
import type { DecodeInput, DecodeRates } from './decode-program.ts';
import type { EncodeInput, EncodeRates } from './encode-program.ts';

/**
 * Decodes photos of one kind and does nothing else.
 * @param root the checkout that decodes
 */
export async function bareDecodes(
  bench: Bench,
  kind: PhotoKind,
  concurrency: readonly number[],
  root?: string,
): Promise<ChildAnswer<DecodeRates>> {
  const { photos } = await bench.photos(kind);
  const seconds = bench.options.seconds / 2;
  const input: DecodeInput = { paths: photos.map(({ path }) => path), seconds, concurrency };
  return await inChild('decode-program.ts', input, root);
}

/** Runs the vision tower and does nothing else. */
export async function bareEncodes(
  bench: Bench,
  precision: Precision,
  batches: readonly number[],
): Promise<ChildAnswer<EncodeRates>> {
  const model = bench.compiled.get(precision);
  if (!model) throw new Error(`The service does not know the precision ${precision}.`);
  const seconds = bench.options.seconds / 2;
  return await inChild('encode-program.ts', {
    model,
    threads: bench.threads,
    seconds,
    batches,
  } satisfies EncodeInput);
}
