import { existsSync, readFileSync, statSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { childEnvironment } from '../../src/config.ts';

/** Linux counts a process's time in these. */
const TICKS_A_SECOND = 100;

/** Files in memory, where there are such: one is written for every input. */
export const memoryFolder = existsSync('/dev/shm') ? '/dev/shm' : tmpdir();

export interface WatchedChild {
  /** Program and arguments. */
  readonly command: readonly string[];
  /** Where the child keeps the input that it works on; see `keepInput`. */
  readonly inputFile: string;
  /** For what it writes; it is there after a killed child, too. */
  readonly temporaryFolder: string;
  /** Processor time for one input. */
  readonly hangCpuSeconds: number;
  readonly residentBytes: number;
  /** Ends the child. */
  readonly isOver: () => boolean;
  /** Every line that the child prints. */
  readonly onLine: (line: string) => void;
}

/** However slow the machine: an input that takes so long waits for something that does not come. */
const HANG_SECONDS = 120;

/**
 * Runs a child that works on one input after the other, and ends it when it takes too long or too much for one.
 * @returns how it ended, where neither it nor `isOver` decided so: `crash`, `hang` or `memory`, and a few words
 */
export async function watchChild(options: WatchedChild): Promise<string | undefined> {
  const { command, inputFile, temporaryFolder, hangCpuSeconds, residentBytes, isOver, onLine } = options;
  await using child = Bun.spawn([...command], {
    stdout: 'pipe',
    stderr: 'inherit',
    env: { ...childEnvironment(), TMPDIR: temporaryFolder },
  });
  let excess: string | undefined;
  let wasEnded = false;
  let since = { input: 0, cpu: 0, at: performance.now() };
  const timer = setInterval(() => {
    const state = stateOf(child.pid);
    if (!state || excess !== undefined) return;
    const input = existsSync(inputFile) ? statSync(inputFile).mtimeMs : 0;
    if (input !== since.input) since = { input, cpu: state.cpuSeconds, at: performance.now() };
    const cpu = state.cpuSeconds - since.cpu;
    const seconds = (performance.now() - since.at) / 1000;
    if (state.residentBytes > residentBytes) {
      excess = `memory: ${(state.residentBytes / 1e6).toFixed(0)} MB`;
    } else if (input !== 0 && (cpu > hangCpuSeconds || seconds > HANG_SECONDS)) {
      excess = `hang: ${cpu.toFixed(1)} s of processor time, ${seconds.toFixed(0)} s`;
    }
    wasEnded ||= isOver();
    if (excess !== undefined || wasEnded) child.kill('SIGKILL');
  }, 500);
  let rest = '';
  for await (const text of child.stdout.pipeThrough(new TextDecoderStream())) {
    const lines = (rest + text).split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) onLine(line);
  }
  const code = await child.exited;
  clearInterval(timer);
  if (excess !== undefined) return excess;
  if (wasEnded || code === 0) return undefined;
  return `crash: exit code ${code}, signal ${child.signalCode ?? 'none'}`;
}

function stateOf(pid: number): { cpuSeconds: number; residentBytes: number } | undefined {
  try {
    const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]!.split(' ');
    return {
      cpuSeconds: (Number(fields[11]) + Number(fields[12])) / TICKS_A_SECOND,
      residentBytes: Number(fields[21]) * 4096,
    };
  } catch {
    return undefined; // it has ended
  }
}

const length = new Uint32Array(1);
const lengthBytes = new Uint8Array(length.buffer);

/** Writes the input that is worked on: its length (u32le), its bytes. */
export function keepInput(descriptor: number, bytes: Uint8Array): void {
  length[0] = bytes.length;
  writeSync(descriptor, lengthBytes, 0, 4, 0);
  writeSync(descriptor, bytes, 0, bytes.length, 4);
}

export function keptInput(file: string): Uint8Array {
  if (!existsSync(file)) return new Uint8Array();
  const bytes = readFileSync(file);
  return bytes.length < 4 ? new Uint8Array() : bytes.subarray(4, 4 + bytes.readUInt32LE(0));
}
