import { join } from 'node:path';

const root = join(import.meta.dir, '../..');

export interface CommandResult {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface RunningCommand {
  readonly pid: number;
  kill(signal: NodeJS.Signals): void;
  /** Resolves when the command has ended. */
  readonly result: Promise<CommandResult>;
}

/**
 * Starts the real command in a separate process, with the demo model.
 * @param cache folder for the compiled model
 * @param environment added to the minimum that a process needs; other variables of the test are not passed on
 * @param program from the repository's root
 */
export function startCommand(
  cache: string,
  argv: readonly string[],
  environment: Readonly<Record<string, string>> = {},
  program = 'src/cli/main.ts',
): RunningCommand {
  const child = Bun.spawn([process.execPath, program, ...argv], {
    cwd: root,
    env: {
      PATH: process.env.PATH,
      TMPDIR: process.env.TMPDIR,
      CLIP_MODEL: 'demo',
      CLIP_CACHE: cache,
      ...environment,
    },
    stdin: 'ignore',
    stdout: 'pipe',
    stderr: 'pipe',
  });
  const end = async (): Promise<CommandResult> => {
    const [stdout, stderr] = await Promise.all([child.stdout.text(), child.stderr.text()]);
    await child.exited;
    // As a shell reports a process that was killed by a signal.
    const code = child.exitCode ?? 128 + (child.signalCode === 'SIGKILL' ? 9 : 0);
    return { code, stdout, stderr };
  };
  return { pid: child.pid, kill: (signal) => child.kill(signal), result: end() };
}
