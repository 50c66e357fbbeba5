import { readFileSync } from 'node:fs';
import * as v from 'valibot';
import { childEnvironment } from './config.ts';

/** What the operating system grants a child process. Beyond it, the system ends the process or refuses memory. */
export interface ChildLimits {
  /** Memory that the process may write to, besides what its runtime reserves for itself. */
  readonly memoryBytes: number;
  /** Processor time of all its threads since its start. */
  readonly cpuSeconds?: number;
}

/**
 * The runtime reserves 6.1 GiB of heaps at its start, and the system counts all of it although hardly any is used.
 * Under a lower limit the runtime reserves the largest powers of two that still fit, and leaves only tens of MB for the
 * program: sound files could not be decoded. The runtime's allocator fills 1 GiB of the reserve before it needs more.
 * The limit is therefore a last resort, and resident memory must be watched besides.
 */
const RUNTIME_BYTES = 6.25 * 1024 ** 3;

/** `ulimit` expects KiB and whole seconds. Core files are off: an abort would write the child's memory to the disk. */
const SCRIPT = 'ulimit -c 0; ulimit -d "$1"; if [ "$2" != - ]; then ulimit -t "$2"; fi; shift 2; exec "$@"';

/**
 * The command that runs one of our programs under limits. A shell sets the limits and then becomes the program, so the
 * process id and the channels are the child's own. A limit that the system lacks is left out: macOS has none for memory.
 * @param program path of a TypeScript file
 */
export function limitedCommand(program: string, { memoryBytes, cpuSeconds }: ChildLimits): string[] {
  const dataKibibytes = Math.ceil((RUNTIME_BYTES + memoryBytes) / 1024);
  const cpu = cpuSeconds === undefined ? '-' : String(Math.ceil(cpuSeconds));
  return ['/bin/sh', '-c', SCRIPT, 'sh', String(dataKibibytes), cpu, process.execPath, program];
}

/** How a child process ended. */
export interface ChildEnd {
  /** `exit code 3` or `signal SIGKILL`. */
  readonly how: string;
  readonly signal: string | undefined;
  /** Processor time that it used, in seconds. */
  readonly cpuSeconds: number;
}

/** @returns `exit code 3` or `signal SIGKILL` */
export function describeEnd(exitCode: number | null, signalCode: string | number | null): string {
  return signalCode === null ? `exit code ${exitCode}` : `signal ${signalCode}`;
}

interface ChildOptions<Message> {
  /** Path of the TypeScript file that runs in the child. */
  readonly program: string;
  readonly limits: ChildLimits;
  /** The form of its messages. */
  readonly schema: v.GenericSchema<unknown, Message>;
  /** Called for each message of that form. */
  readonly onMessage: (message: Message) => void;
  /** Called for a message of another form, which is a bug of the child. */
  readonly onUnknownMessage: (fault: Error) => void;
  /** Called once, when the process has ended. */
  readonly onEnd: (end: ChildEnd) => void;
}

/** A child process that exchanges messages with us. */
interface Child<Task> {
  /** Does nothing when the process has ended. */
  send(task: Task): void;
  /** Writes to its standard input, a slice at a time. Stops early when the process ends. */
  write(slices: AsyncIterable<Uint8Array>): Promise<void>;
  /** Ends the process at once. */
  kill(): void;
  /** Lets our own process exit while the child runs. */
  unref(): void;
  /** Resident memory now; 0 where the system does not report it. */
  residentBytes(): number;
  /** Processor time of all its threads until now; 0 where the system does not report it. */
  cpuSeconds(): number;
  /** Settles after `onEnd` was called. */
  readonly exited: Promise<unknown>;
}

/** Starts one of our programs under limits. */
export function startChild<Task, Message>(options: ChildOptions<Message>): Child<Task> {
  const { program, limits, schema, onMessage, onUnknownMessage, onEnd } = options;
  let hasEnded = false;
  const child = Bun.spawn(limitedCommand(program, limits), {
    env: childEnvironment(),
    stdin: 'pipe',
    stdout: 'ignore',
    stderr: 'ignore',
    ipc(message) {
      const parsed = v.safeParse(schema, message);
      if (parsed.success) onMessage(parsed.output);
      else
        onUnknownMessage(
          new Error(`This is a bug: ${program} sent a message that its parent does not know.`),
        );
    },
    onExit(ended, exitCode, signalCode) {
      hasEnded = true;
      const cpuSeconds = Number(ended.resourceUsage()?.cpuTime.total ?? 0n) / 1e6;
      const signal = signalCode === null ? undefined : String(signalCode);
      onEnd({ how: describeEnd(exitCode, signalCode), signal, cpuSeconds });
    },
  });
  return {
    send(task) {
      if (hasEnded) return;
      try {
        child.send(task);
      } catch {
        // The process has just ended. `onEnd` reports how.
      }
    },
    async write(slices) {
      try {
        for await (const slice of slices) {
          child.stdin.write(slice);
          await child.stdin.flush();
        }
      } catch {
        // The process has ended. `onEnd` reports how.
      }
    },
    kill: () => child.kill('SIGKILL'),
    unref: () => child.unref(),
    residentBytes: () => Number(readProcess(child.pid, 'statm').split(' ')[1] ?? 0) * PAGE_BYTES,
    cpuSeconds() {
      const text = readProcess(child.pid, 'stat');
      // The program's name comes before, and may contain spaces and brackets.
      const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
      return (Number(fields[11] ?? 0) + Number(fields[12] ?? 0)) / TICKS_PER_SECOND;
    },
    exited: child.exited,
  };
}

const PAGE_BYTES = 4096;
/** Linux reports the time of a process in hundredths of a second on every machine. */
const TICKS_PER_SECOND = 100;

/** Reads from procfs, which answers at once. */
function readProcess(pid: number, file: 'stat' | 'statm'): string {
  try {
    return readFileSync(`/proc/${pid}/${file}`, 'latin1');
  } catch {
    return '';
  }
}
