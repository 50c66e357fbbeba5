import { constants } from 'node:os';
import type { Log } from './log.ts';

const signals = ['SIGTERM', 'SIGINT'] as const;
export type StopSignal = (typeof signals)[number];

/**
 * At the first signal to stop, has the service stopped and ends with 0; at the second one it ends at once, with
 * what shells expect of a process that a signal has ended.
 */
export function onStopSignal(log: Log, stop: (signal: StopSignal) => Promise<void>): void {
  let isStopping = false;
  const heed = async (signal: StopSignal) => {
    if (isStopping) {
      log.warn({ signal }, 'ending at once, whatever runs');
      process.exit(128 + constants.signals[signal]);
    }
    isStopping = true;
    await stop(signal);
    log.info({}, 'stopped');
    process.exit(0);
  };
  for (const signal of signals) process.on(signal, heed);
}
