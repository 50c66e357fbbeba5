import { bringUp, takesLonger } from './bring-up.ts';
import type { EngineState } from './classify/classifier.ts';
import { ModelStoreError } from './clip/store/storage-error.ts';
import { ConfigError, parseConfig } from './config.ts';
import { createMetrics } from './http/metrics.ts';
import { createServer } from './http/server.ts';
import { createLog } from './log.ts';
import { createPort } from './port.ts';
import { onStopSignal } from './shutdown.ts';

/** Until balancers have heard that nothing should come any more; well below the ten seconds that Docker grants. */
const LINGER_MS = 5000;
/** A model that is compiled is there in a second. Whoever waits longer wants to know why. */
const OPEN_AFTER_MS = 10_000;

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
const metrics = createMetrics();
const server = createServer(config, () => state, log, metrics);
const port = createPort(server, config, log, giveUp);
const stopping = new AbortController();

// A proxy that cannot tell ready replicas from others goes on to the next one where nobody listens, but cannot take
// back an upload that was answered with 503: so the port opens when there is a model, or when that takes longer.
const openPort = () => {
  if (!stopping.signal.aborted) port.open();
};
setTimeout(openPort, OPEN_AFTER_MS);
const tell = (next: EngineState) => {
  state = next;
  if (next.state !== 'loading' || takesLonger(next.progress)) openPort();
};
const engine = bringUp(config, log, stopping.signal, tell, metrics.engine);

onStopSignal(log, async (signal) => {
  // An orchestrator's; whoever presses Ctrl+C does not want to wait for balancers.
  const lingerMs = signal === 'SIGTERM' && port.isOpen ? LINGER_MS : 0;
  log.info({ signal, lingerMs }, 'stopping: what has come is finished, soon nothing new is taken');
  stopping.abort(new Error(`stopped by ${signal}`));
  await server.drain(lingerMs);
  const running = await engine.catch(() => undefined);
  await running?.[Symbol.asyncDispose]();
});

/** Ends with 1, when what the engine has begun is put away. */
async function giveUp(): Promise<never> {
  stopping.abort(new Error('there is no port'));
  // It may be the engine's very first word that opens the port.
  await Promise.resolve();
  const running = await engine.catch(() => undefined);
  await running?.[Symbol.asyncDispose]();
  process.exit(1);
}

engine.catch((fault: unknown) => {
  if (stopping.signal.aborted) return;
  if (fault instanceof ModelStoreError) log.error({ fault: fault.fault }, fault.message);
  else log.error({ err: fault }, 'the engine cannot start: this is a bug');
  process.exit(1);
});
