/** How fast something went. */
export interface Rate {
  readonly perSecond: number;
  /** Processor time of one, in milliseconds, of all threads: steadier than `perSecond` where others compute, too. */
  readonly cpuMs: number;
}

/**
 * Lets workers repeat their work for a time, each at its own pace, and counts.
 * @param workers each resolves to how many it did
 */
export async function measureRate(
  seconds: number,
  workers: readonly (() => Promise<number>)[],
): Promise<Rate> {
  const cpu = process.cpuUsage();
  const startedAt = performance.now();
  let done = 0;
  const repeat = async (work: () => Promise<number>) => {
    while (performance.now() - startedAt < seconds * 1000) {
      const count = await work();
      done += count; // not in one line: `done` would be read before the wait
    }
  };
  await Promise.all(workers.map(repeat));
  const wallMs = performance.now() - startedAt;
  const { user, system } = process.cpuUsage(cpu);
  return { perSecond: (done / wallMs) * 1000, cpuMs: (user + system) / 1000 / done };
}

/** The best of several: what disturbs a measurement only ever makes it slower. */
export function bestRate(rates: readonly Rate[]): Rate {
  return {
    perSecond: Math.max(...rates.map(({ perSecond }) => perSecond)),
    cpuMs: Math.min(...rates.map(({ cpuMs }) => cpuMs)),
  };
}
