/** Long enough that single slow files do not shake it, short enough to follow the machine. */
const WINDOW_MS = 30_000;
/** Fewer are kept than there are ticks. */
const SAMPLE_EVERY_MS = 500;

/** How fast something goes at the moment, and how long it will take. */
export interface Pace {
  /** @param done so far */
  note(done: number, nowMs: number): void;
  /** A second, over the last half minute; 0 while it is not known. */
  readonly rate: number;
}

export function createPace(startMs: number): Pace {
  const samples = [{ done: 0, ms: startMs }];
  let latest = { done: 0, ms: startMs };
  return {
    note(done, nowMs) {
      latest = { done, ms: nowMs };
      if (nowMs - (samples.at(-1)?.ms ?? startMs) >= SAMPLE_EVERY_MS) samples.push(latest);
      // One sample from before the window stays: the window begins there.
      while (samples.length > 2 && (samples[1]?.ms ?? nowMs) <= nowMs - WINDOW_MS) samples.shift();
    },
    get rate() {
      const [first] = samples;
      const seconds = (latest.ms - (first?.ms ?? startMs)) / 1000;
      return seconds > 0 ? (latest.done - (first?.done ?? 0)) / seconds : 0;
    },
  };
}
