/** What the operating system lets a child process take; beyond it, it is ended or refused memory. */
export interface ChildLimits {
  /** Memory that it may write to, beside what its runtime reserves for itself. */
  readonly memoryBytes: number;
  /** Processor time of all its threads, from its start on. */
  readonly cpuSeconds?: number;
}

/**
 * What the runtime counts as data before it does anything: 6.1 GiB of reserved heaps, hardly any of it used. Under a
 * lower limit it reserves the largest powers of two that still fit, and leaves some tens of MB for the program: sound
 * files could not be decoded. Its own allocator fills 1 GiB of the reserve before it needs more, so the limit is one of
 * last resort; resident memory is to be watched besides.
 */
const RUNTIME_BYTES = 6.25 * 1024 ** 3;

/** `ulimit` takes KiB and whole seconds. No core files: an abort would write all of the child's memory to the disk. */
const SCRIPT = 'ulimit -c 0; ulimit -d "$1"; if [ "$2" != - ]; then ulimit -t "$2"; fi; shift 2; exec "$@"';

/**
 * The command that runs one of our programs under limits. They are set by a shell that the program then takes the
 * place of, so that its process id and its channels are the child's own. Where a system knows one of the limits not
 * (macOS has none for memory), the others hold.
 * @param program path of a TypeScript file
 */
export function limitedCommand(program: string, { memoryBytes, cpuSeconds }: ChildLimits): string[] {
  const dataKibibytes = Math.ceil((RUNTIME_BYTES + memoryBytes) / 1024);
  const cpu = cpuSeconds === undefined ? '-' : String(Math.ceil(cpuSeconds));
  return ['/bin/sh', '-c', SCRIPT, 'sh', String(dataKibibytes), cpu, process.execPath, program];
}
