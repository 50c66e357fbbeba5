import { monitorEventLoopDelay } from 'node:perf_hooks';
import { Counter, Gauge, type Registry } from 'prom-client';
import { memoryLimitBytes } from '../../memory-limit.ts';

/**
 * What the process takes, under the names that all Prometheus clients share. The library's own collection would
 * add some thirty metrics of V8 and libuv, which are not there to be measured.
 */
export function addProcessMetrics(registry: Registry): void {
  longestStall ??= watchStalls();
  const registers = [registry];
  const gauge = (name: string, help: string, read: () => number) =>
    new Gauge({
      name,
      help,
      registers,
      collect() {
        this.set(read());
      },
    });

  new Counter({
    name: 'process_cpu_seconds_total',
    help: 'CPU time, in user and system mode, without that of video decoders.',
    registers,
    collect() {
      const { user, system } = process.cpuUsage();
      this.reset();
      this.inc((user + system) / 1e6);
    },
  });
  gauge(
    'process_resident_memory_bytes',
    'Resident memory, the model included, without that of video decoders.',
    () => process.memoryUsage.rss(),
  );
  const startedAt = Date.now() / 1000 - process.uptime();
  gauge('process_start_time_seconds', 'When the process started, since the Unix epoch.', () => startedAt);
  gauge(
    'classify_images_memory_limit_bytes',
    'Memory that the cgroup grants, or that the machine has where there is no limit.',
    memoryLimitBytes,
  );
  gauge(
    'classify_images_event_loop_stall_seconds',
    'The longest time in the last one to two minutes in which no request could go on.',
    longestStall,
  );
}

/** How closely it looks. */
const STALL_RESOLUTION_MS = 10;
const STALL_WINDOW_MS = 60_000;

/** One for the process, which has one event loop. */
let longestStall: (() => number) | undefined;

/** @returns reads seconds; more than one reader may ask, and none takes anything from another */
function watchStalls(): () => number {
  const delays = monitorEventLoopDelay({ resolution: STALL_RESOLUTION_MS });
  delays.enable();
  let before = 0;
  setInterval(() => {
    before = delays.max;
    delays.reset();
  }, STALL_WINDOW_MS).unref();
  return () => Math.max(before, delays.max) / 1e9;
}
