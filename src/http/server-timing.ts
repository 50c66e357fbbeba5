import type { RequestTally } from './request-record.ts';

/** Where a request's time went, in milliseconds, under the names of its `server-timing` header. */
export type Timing = Readonly<Record<string, number>>;

/**
 * What took any time at all. The work on pictures and frames is added up over them: many are worked on at a time,
 * so that `decode` may well be longer than `total`.
 */
export function timingOf({ uploadMs, work }: RequestTally): Timing {
  const all = {
    upload: uploadMs,
    queue: work.queueMs,
    decode: work.decodeMs,
    batch: work.batchWaitMs,
    inference: work.inferenceMs,
    labels: work.labelsMs,
  };
  return Object.fromEntries(
    Object.entries(all)
      .map(([name, ms]) => [name, toTenths(ms)] as const)
      .filter(([, ms]) => ms > 0),
  );
}

/** As W3C's Server Timing has it: `decode;dur=12.3, total;dur=40`. */
export function serverTiming(timing: Timing, totalMs: number): string {
  return Object.entries({ ...timing, total: toTenths(totalMs) })
    .map(([name, ms]) => `${name};dur=${ms}`)
    .join(', ');
}

function toTenths(ms: number): number {
  return Math.round(ms * 10) / 10;
}
