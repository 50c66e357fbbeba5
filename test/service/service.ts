import { join } from 'node:path';

const root = join(import.meta.dir, '../..');

/** The real service in a process of its own. */
export interface Service extends AsyncDisposable {
  readonly url: string;
  readonly pid: number;
  /** Everything it has logged so far, one object a line. */
  readonly log: readonly Readonly<Record<string, unknown>>[];
  /** Waits until `/ready` answers 200. */
  ready(): Promise<void>;
  /** Sends a signal and waits. Default: SIGINT, after which nobody is waited for. @returns the exit code */
  stop(signal?: 'SIGINT' | 'SIGTERM'): Promise<number>;
  /** The exit code, once it has one. */
  readonly exited: Promise<number>;
}

/** A service without a cache folder of its own would write into this machine's. */
export type ServiceEnvironment = Readonly<Record<string, string>> & { readonly CLIP_CACHE: string };

/**
 * Starts `src/main.ts` on a free port.
 * @param environment added to what a process needs to run at all; nothing else of the test's own is passed on
 * @param wrapper a command, with its arguments, that runs the one that follows in its own place
 */
export async function startService(
  environment: ServiceEnvironment,
  wrapper: readonly string[] = [],
): Promise<Service> {
  const child = Bun.spawn([...wrapper, process.execPath, 'src/main.ts'], {
    cwd: root,
    env: {
      PATH: process.env.PATH,
      TMPDIR: process.env.TMPDIR,
      HOST: '127.0.0.1',
      PORT: '0',
      // As in the container.
      MIMALLOC_PURGE_DELAY: '1000',
      ...environment,
    },
    stdout: 'ignore',
    stderr: 'pipe',
  });
  const log: Record<string, unknown>[] = [];
  const listening = Promise.withResolvers<string>();
  const reading = (async () => {
    let rest = '';
    for await (const chunk of child.stderr.pipeThrough(new TextDecoderStream())) {
      const lines = (rest + chunk).split('\n');
      rest = lines.pop() ?? '';
      for (const line of lines) {
        const event: Record<string, unknown> = line.startsWith('{') ? JSON.parse(line) : { msg: line };
        log.push(event);
        if (event.msg === 'listening') listening.resolve(String(event.url));
      }
    }
    listening.reject(new Error(`the service ended before it listened: ${JSON.stringify(log)} ${rest}`));
  })();
  const url = (await listening.promise).replace(/\/$/, '');

  const stop: Service['stop'] = async (signal = 'SIGINT') => {
    child.kill(signal);
    const code = await child.exited;
    await reading;
    return code;
  };
  return {
    url,
    pid: child.pid,
    log,
    async ready() {
      for (;;) {
        if (child.exitCode !== null) throw new Error(`the service ended: ${JSON.stringify(log)}`);
        const response = await fetch(`${url}/ready`);
        await response.arrayBuffer();
        if (response.ok) return;
        await Bun.sleep(50);
      }
    },
    stop,
    exited: child.exited,
    async [Symbol.asyncDispose]() {
      if (child.exitCode === null) await stop();
    },
  };
}
