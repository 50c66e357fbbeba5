import { constants } from 'node:os';
import { byteProductsOverflow } from '../native/onnx/byte-products.ts';
import type { EngineState } from './classify/classifier.ts';
import type { CompiledModel } from './clip/graph/compiled-model.ts';
import { pauseBeforeRetry, prepareModel, retryDelays } from './clip/store/prepare-model.ts';
import type { LoadingProgress } from './clip/store/progress-display.ts';
import { ModelStoreError, type ModelStoreFault } from './clip/store/storage-error.ts';
import { ConfigError, parseConfig } from './config.ts';
import { type Engine, startEngine } from './engine.ts';
import { createMetrics } from './http/metrics.ts';
import { createServer } from './http/server.ts';
import { createLog } from './log.ts';

/** Load balancers need this long to notice that `/ready` answers 503. Docker kills a container after ten seconds. */
const LINGER_MS = 5000;
/** A compiled model loads in a second. If loading lasts longer, clients and operators want to see why. */
const OPEN_AFTER_MS = 10_000;

/** Faults that leave the service without a checkpoint. A damaged checkpoint must be seen, not replaced. */
const missingModelFaults: ReadonlySet<ModelStoreFault> = new Set([
  'download_failed',
  'storage_failed',
  'storage_full',
]);

const stageSentences: Record<LoadingProgress['stage'], string> = {
  searching: 'The service is looking for the model',
  downloading: 'The model is being downloaded',
  verifying: 'The model is being checked',
  compiling: 'The model is being compiled, which happens once',
  warming_up: 'The model is being loaded',
};

/** What a person can do about a port that cannot be opened, by the system's code. */
const portCures: Readonly<Record<string, string>> = {
  EADDRINUSE: 'another program uses this port; end it, or set PORT to a free one',
  EACCES: 'only privileged users may open this port; set PORT to one over 1023',
  EADDRNOTAVAIL:
    'this machine does not have the address; set HOST to one of its addresses, or to 0.0.0.0 for all',
  EINVAL: 'HOST must be an address of this machine, or 0.0.0.0 for all',
};

// Settings.
const config = (() => {
  try {
    return parseConfig(undefined, undefined, { wideWeights: byteProductsOverflow() });
  } catch (fault) {
    if (!(fault instanceof ConfigError)) throw fault;
    console.error(fault.message);
    process.exit(2);
  }
})();
const log = createLog(config.logLevel);
if (config.memoryShortage) log.warn({}, config.memoryShortage);
tellPerson('classify-images is starting.');

// Start. The port opens when the engine can answer, or when loading takes long: proxies that cannot read `/ready` try
// another replica if a port is closed, but they cannot resend an upload that was answered with 503.
let state: EngineState = {
  state: 'loading',
  sentence: 'The service has just started.',
  progress: { stage: 'searching' },
};
let isOpen = false;
let pageAddress = '';
const stopping = new AbortController();
const metrics = createMetrics();
const server = createServer({ config, engine: () => state, log, metrics });
setTimeout(openPort, OPEN_AFTER_MS);
const engine = Promise.resolve().then(startWithRetries);
engine.catch((fault: unknown) => {
  if (stopping.signal.aborted) return;
  if (fault instanceof ModelStoreError) log.error({ fault: fault.fault }, fault.message);
  else log.error({ err: fault }, 'This is a bug: the engine cannot start');
  process.exit(1);
});

// Drain and end.
let isStopping = false;
for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, () => stop(signal));

/**
 * Prepares the model and starts the engine. It tries again until there is a model. In development, the demo model
 * replaces a missing one.
 * @throws ModelStoreError if only other settings can help
 */
async function startWithRetries(): Promise<Engine> {
  const { signal } = stopping;
  const options = { model: config.model, log };
  for (const delayMs of retryDelays()) {
    try {
      return await startWith(await prepareModel(options, reportLoading, signal));
    } catch (fault) {
      signal.throwIfAborted();
      if (!(fault instanceof ModelStoreError) || !fault.retryable) throw fault;
      if (config.model.demoFallback && missingModelFaults.has(fault.fault)) {
        log.warn({ fault: fault.fault }, fault.message);
        log.warn(
          { model: 'demo' },
          'NOT CLIP: the demo model answers until the next start. It only knows colours and brightness. Only development does this',
        );
        const demo = { ...options, model: { ...config.model, name: 'demo' } };
        return await startWith(await prepareModel(demo, reportLoading, signal));
      }
      const retryAfterSeconds = Math.ceil(delayMs / 1000);
      log.error({ fault: fault.fault, retryAfterSeconds }, fault.message);
      setState({ state: 'unavailable', sentence: fault.message, retryAfterSeconds });
      await pauseBeforeRetry(options, delayMs, signal, fault.fault);
    }
  }
  throw new Error('This is a bug: the retries have ended.');
}

/** Starts the engine with a compiled model. From then on the service is ready. */
async function startWith(compiled: CompiledModel): Promise<Engine> {
  reportLoading({ stage: 'warming_up' });
  const started = await startEngine(compiled, config, log, metrics.engine);
  const { name, precision, sha256 } = compiled;
  log.info({ model: name, precision, sha256, threads: config.threads }, 'ready');
  setState({ state: 'ready', classifier: started.classifier });
  tellPerson(`Ready. Open ${pageAddress} in a browser.`);
  return started;
}

function reportLoading(progress: LoadingProgress): void {
  const { stage, percent, secondsLeft } = progress;
  const share = percent === undefined ? '' : ` (${percent} %)`;
  const left = secondsLeft === undefined ? '' : `, about ${secondsLeft} s left`;
  setState({
    state: 'loading',
    sentence: `${stageSentences[stage]}${share}${left}.`,
    progress,
  });
}

/** Changes what the server answers, and opens the port when the state is worth asking for. */
function setState(next: EngineState): void {
  state = next;
  const isSlow =
    next.state === 'loading' &&
    (next.progress.stage === 'downloading' || next.progress.stage === 'compiling');
  if (next.state !== 'loading' || isSlow) openPort();
}

function openPort(): void {
  if (isOpen || stopping.signal.aborted) return;
  isOpen = true;
  try {
    const url = server.listen();
    log.info({ url }, 'listening');
    // A browser cannot open the address that means all addresses.
    pageAddress = url.href.replace('//0.0.0.0:', '//localhost:').replace('//[::]:', '//localhost:');
    if (state.state !== 'ready')
      tellPerson(`${pageAddress} shows how far the model is. It answers when it is ready.`);
  } catch (fault) {
    const { code } = fault as NodeJS.ErrnoException;
    const cure = portCures[code ?? ''];
    log.error(
      cure === undefined ? { err: fault } : { code },
      `cannot listen on ${config.host}:${config.port}${cure === undefined ? '' : `: ${cure}`}`,
    );
    void giveUp();
  }
}

/** Ends with 1 after the engine was disposed of. */
async function giveUp(): Promise<never> {
  stopping.abort(new Error('The port cannot be opened.'));
  await disposeEngine();
  process.exit(1);
}

/**
 * The first signal finishes accepted requests and ends with 0. The second one ends at once, with the exit code that
 * shells expect after a signal.
 */
async function stop(signal: 'SIGTERM' | 'SIGINT'): Promise<void> {
  if (isStopping) {
    log.warn({ signal }, 'second signal: ending at once');
    process.exit(128 + constants.signals[signal]);
  }
  isStopping = true;
  // Orchestrators send SIGTERM. A person who presses Ctrl+C has no load balancer to wait for.
  const lingerMs = signal === 'SIGTERM' && isOpen ? LINGER_MS : 0;
  log.info({ signal, lingerMs }, 'shutting down: finishing accepted requests');
  stopping.abort(new Error(`stopped by ${signal}`));
  await server.drain(lingerMs);
  await disposeEngine();
  log.info({}, 'stopped');
  process.exit(0);
}

async function disposeEngine(): Promise<void> {
  const started = await engine.catch(() => undefined);
  await started?.[Symbol.asyncDispose]();
}

/** For a person at a terminal. A container's standard output stays empty: its log lines go to standard error. */
function tellPerson(sentence: string): void {
  if (process.stdout.isTTY || config.model.demoFallback) console.log(sentence);
}
