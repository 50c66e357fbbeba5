import type { RequestTally } from './request-record.ts';

/** Where a request's time went, in milliseconds, under the names of its `server-timing` header. */
export type Timing = Readonly<Record<string, number>>;

/**
 * What took any time at all. The work on pictures and frames is added up over them: many are worked on at a time,
 * so that `decode` may well be longer than `total`.
 */
export function timingOf({ uploadMs, work }: RequestTally): Timing {
  const timing: Record<string, number> = {};
  const add = (name: string, ms: number) => {
    const tenths = toTenths(ms);
    if (tenths > 0) timing[name] = tenths;
  };
  add('upload', uploadMs);
  add('queue', work.queueMs);
  add('decode', work.decodeMs);
  add('batch', work.batchWaitMs);
  add('inference', work.inferenceMs);
  add('labels', work.labelsMs);
  return timing;
}

/** As W3C's Server Timing has it: `decode;dur=12.3, total;dur=40`. */
export function serverTiming(timing: Timing, totalMs: number): string {
  let header = '';
  for (const [name, ms] of Object.entries(timing)) header += `${name};dur=${ms}, `;
  return `${header}total;dur=${toTenths(totalMs)}`;
}

function toTenths(ms: number): number {
  return Math.round(ms * 10) / 10;
}
