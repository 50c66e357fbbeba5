import type { Bench } from '../bench.ts';
import type { PhotoKind } from '../photos/photo-set.ts';
import { bareDecodes, bareEncodes } from './bare.ts';
import { bestRate, type Rate } from './rate.ts';

/** Batches of the size that the service makes under load. */
const FULL_BATCH = 8;

/**
 * The machine's own limit for photos of one kind: the time of the bare decodes plus the time of the bare
 * model runs, both with all cores and nothing around them.
 */
export interface Limit {
  readonly decode: Rate;
  readonly encode: Rate;
}

/** One look at a limit; the best of several counts. */
export async function measureLimit(bench: Bench, kind: PhotoKind): Promise<Limit> {
  const decodes = await bareDecodes(bench, kind, [bench.threads, 2 * bench.threads]);
  const encodes = await bareEncodes(bench, bench.precision, [FULL_BATCH]);
  return { decode: bestRate(decodes.answer), encode: bestRate(encodes.answer) };
}

export function bestLimit(limits: readonly Limit[]): Limit {
  return {
    decode: bestRate(limits.map(({ decode }) => decode)),
    encode: bestRate(limits.map(({ encode }) => encode)),
  };
}

/** Pictures a second. */
export function limitPerSecond({ decode, encode }: Limit): number {
  return 1 / (1 / decode.perSecond + 1 / encode.perSecond);
}

/** Processor time a picture, in milliseconds. */
export function limitCpuMs({ decode, encode }: Limit): number {
  return decode.cpuMs + encode.cpuMs;
}
