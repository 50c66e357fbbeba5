import { bringUp } from './bring-up.ts';
import type { EngineState } from './classify/engine-state.ts';
import { ModelStoreError } from './clip/store/model-store-error.ts';
import { ConfigError, parseConfig } from './config.ts';
import { createServer } from './http/server.ts';
import { createLog } from './log.ts';

const config = (() => {
  try {
    return parseConfig();
  } catch (fault) {
    if (!(fault instanceof ConfigError)) throw fault;
    console.error(fault.message);
    process.exit(2);
  }
})();
const log = createLog(config.logLevel);

let state: EngineState = {
  state: 'loading',
  sentence: 'The service has just started. Try again soon.',
  progress: { stage: 'searching' },
};
/** What a person can do, by the system's code. */
const listenCures: Readonly<Record<string, string>> = {
  EADDRINUSE: 'another program has this port; end it, or set PORT to a free one',
  EACCES: 'this port is for privileged users; set PORT to one over 1023',
  EADDRNOTAVAIL: 'this machine does not have the address; set HOST to one of its own, or to 0.0.0.0 for all',
  EINVAL: 'HOST must be an address of this machine, or 0.0.0.0 for all',
};
const server = createServer(config, () => state, log);
try {
  const { url } = server.listen();
  log.info({ url }, 'listening');
} catch (fault) {
  const { code } = fault as NodeJS.ErrnoException;
  const cure = listenCures[code ?? ''];
  log.error(
    cure === undefined ? { err: fault } : { code },
    `cannot listen on ${config.host}:${config.port}${cure === undefined ? '' : `: ${cure}`}`,
  );
  process.exit(1);
}

const stopping = new AbortController();
const engine = bringUp(config, log, stopping.signal, (next) => {
  state = next;
});

for (const signal of ['SIGTERM', 'SIGINT'] as const) {
  process.once(signal, async () => {
    log.info({ signal }, 'stopping: what runs is finished, nothing new is taken');
    stopping.abort(new Error(`stopped by ${signal}`));
    await server.drain();
    const running = await engine.catch(() => undefined);
    await running?.[Symbol.asyncDispose]();
    log.info({}, 'stopped');
    process.exit(0);
  });
}

engine.catch((fault: unknown) => {
  if (stopping.signal.aborted) return;
  if (fault instanceof ModelStoreError) log.error({ fault: fault.fault }, fault.message);
  else log.error({ err: fault }, 'the engine cannot start: this is a bug');
  process.exit(1);
});
