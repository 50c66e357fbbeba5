import type { EngineState } from './classify/classifier.ts';
import type { CompiledModel } from './clip/graph/compiled-model.ts';
import { prepareModel } from './clip/store/prepare-model.ts';
import type { LoadingProgress } from './clip/store/progress-display.ts';
import { pauseBeforeRetry, retryDelays } from './clip/store/retry.ts';
import { ModelStoreError, type ModelStoreFault } from './clip/store/storage-error.ts';
import type { Config } from './config.ts';
import { type Engine, startEngine } from './engine.ts';
import type { EngineObserver } from './engine-observer.ts';
import type { Log } from './log.ts';

/** There is no checkpoint and none can be fetched; a checkpoint that is there and unsound is to be seen. */
const nothingThere: ReadonlySet<ModelStoreFault> = new Set([
  'download_failed',
  'storage_failed',
  'storage_full',
]);

const stageSentences: Record<LoadingProgress['stage'], string> = {
  searching: 'The model is being looked for',
  downloading: 'The model is being downloaded',
  verifying: 'The model is being checked',
  compiling: 'The model is being compiled, which happens once',
  warming_up: 'The model is being loaded',
};

/**
 * Brings the engine up, however long it takes: tries again until there is a model, or, in development,
 * takes the demo model. The server listens meanwhile; `tell` is what it answers by.
 * @throws ModelStoreError where only other settings can help
 */
export async function bringUp(
  config: Config,
  log: Log,
  signal: AbortSignal,
  tell: (state: EngineState) => void,
  observer?: EngineObserver,
): Promise<Engine> {
  const report = (progress: LoadingProgress) =>
    tell({ state: 'loading', sentence: sentenceOf(progress), progress });
  const start = async (compiled: CompiledModel): Promise<Engine> => {
    report({ stage: 'warming_up' });
    const engine = await startEngine(compiled, config, log, observer);
    const { name, precision, sha256 } = compiled;
    log.info({ model: name, precision, sha256, threads: config.threads }, 'ready');
    tell({ state: 'ready', classifier: engine.classifier });
    return engine;
  };

  const options = { model: config.model, log };
  for (const delayMs of retryDelays()) {
    try {
      return await start(await prepareModel(options, report, signal));
    } catch (fault) {
      signal.throwIfAborted();
      if (!(fault instanceof ModelStoreError) || !fault.retryable) throw fault;
      if (config.model.demoFallback && nothingThere.has(fault.fault)) {
        log.warn({ fault: fault.fault }, fault.message);
        log.warn(
          { model: 'demo' },
          'NOT CLIP: the demo model answers instead, until the next start. It only knows colours and brightness. This happens in development alone',
        );
        const demo = { ...options, model: { ...config.model, name: 'demo' } };
        return await start(await prepareModel(demo, report, signal));
      }
      const retryAfterSeconds = Math.ceil(delayMs / 1000);
      log.error({ fault: fault.fault, retryAfterSeconds }, fault.message);
      tell({ state: 'unavailable', sentence: fault.message, retryAfterSeconds });
      await pauseBeforeRetry(options, delayMs, signal, fault.fault);
    }
  }
  throw new Error('the retries never end: this is a bug');
}

/** Whether a start comes to a stage that takes more than a moment. */
export function takesLonger({ stage }: LoadingProgress): boolean {
  return stage === 'downloading' || stage === 'compiling';
}

function sentenceOf({ stage, percent, secondsLeft }: LoadingProgress): string {
  const share = percent === undefined ? '' : ` (${percent} %)`;
  const left = secondsLeft === undefined ? '' : `, about ${secondsLeft} s to go`;
  return `${stageSentences[stage]}${share}${left}. Try again soon.`;
}
