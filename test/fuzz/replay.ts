/**
 * Reads inputs with the readers as they are, without instruments:
 *
 *   bun test/fuzz/replay.ts GROUP FILE...
 *
 * Prints one line of JSON a file: processor time, memory, and the fault, if there was one.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { type GroupName, limits, loadTarget } from './target.ts';

/** Of the first, much is the compiler's. */
const RUNS = 5;

const [group, ...files] = process.argv.slice(2);
const target = await loadTarget(group as GroupName);
for (const seed of await target.seeds()) await target.run(seed);
for (const file of files) {
  const bytes = new Uint8Array(readFileSync(file));
  let fault: string | undefined;
  let cpuMs = Number.POSITIVE_INFINITY;
  let memoryBytes = Number.POSITIVE_INFINITY;
  for (
    let run = 0;
    run < RUNS && (cpuMs > limits.cpuMs(bytes.length) || memoryBytes > limits.memoryBytes);
    run++
  ) {
    Bun.gc(true);
    const before = peakBytes(true);
    const began = process.cpuUsage();
    try {
      await target.run(bytes);
    } catch (error) {
      fault = String((error as Error).stack ?? error);
    }
    const { user, system } = process.cpuUsage(began);
    cpuMs = Math.min(cpuMs, (user + system) / 1000);
    memoryBytes = Math.min(memoryBytes, peakBytes(false) - before);
  }
  const isSlow = cpuMs > limits.cpuMs(bytes.length);
  const isLarge = memoryBytes > limits.memoryBytes;
  console.log(JSON.stringify({ file, bytes: bytes.length, cpuMs, memoryBytes, isSlow, isLarge, fault }));
  if (isSlow || isLarge || fault) process.exitCode = 1;
}

/** The most that the process has had in memory since it was last asked to forget. */
function peakBytes(forget: boolean): number {
  try {
    if (forget) writeFileSync('/proc/self/clear_refs', '5');
    const [, kibibytes] = /^VmHWM:\s+(\d+)/m.exec(readFileSync('/proc/self/status', 'utf8')) ?? [];
    return Number(kibibytes) * 1024;
  } catch {
    return process.memoryUsage.rss(); // not on Linux
  }
}
