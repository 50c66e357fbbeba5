/** What the operating system lets a child process take; beyond it, it is ended or refused memory. */
export interface ChildLimits {
  /** Memory that it may write to, beside what its runtime reserves for itself. */
  readonly memoryBytes: number;
  /** Processor time of all its threads, from its start on. */
  readonly cpuSeconds?: number;
}

/**
 * What the runtime counts as data before it does anything, some 400 MB of reserved heaps and stacks, hardly any of it
 * used; and room beyond the limit, so that whoever watches over the child's memory can say why it is ended.
 */
const RUNTIME_BYTES = 768 * 1024 ** 2;

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
