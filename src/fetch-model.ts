import { dirname } from 'node:path';
import { withoutControls } from './cli/output/escape-text.ts';
import { prepareModel } from './clip/store/prepare-model.ts';
import type { LoadingProgress } from './clip/store/progress-display.ts';
import { ModelStoreError, type ModelStoreFault } from './clip/store/storage-error.ts';
import { ConfigError, parseConfig } from './config.ts';
import { createLog } from './log.ts';

/** Only other settings can help. A service waits for a missing checkpoint, but this command cannot. */
const faultsOfSettings: ReadonlySet<ModelStoreFault> = new Set([
  'model_unknown',
  'precision_unavailable',
  'checkpoint_missing',
]);

/**
 * Prepares the model in the cache folder as the service would (download, check, compile). Services then only read it.
 * @returns the exit code: 0, 1 if the model is not available, 2 for invalid settings
 */
async function fetchModel(): Promise<number> {
  try {
    const config = parseConfig();
    const log = createLog(config.logLevel);
    let stage: LoadingProgress['stage'] | undefined;
    const report = (progress: LoadingProgress) => {
      if (progress.stage !== stage) log.info({ stage: progress.stage }, 'fetching the model');
      stage = progress.stage;
    };
    const { name, precision, sha256, visionGraphPath } = await prepareModel(
      { model: config.model, log },
      report,
      new AbortController().signal,
    );
    log.info({ model: name, precision, sha256, directory: dirname(visionGraphPath) }, 'the model is there');
    return 0;
  } catch (fault) {
    if (!(fault instanceof ConfigError || fault instanceof ModelStoreError)) throw fault;
    console.error(withoutControls(fault.message));
    return fault instanceof ConfigError || faultsOfSettings.has(fault.fault) ? 2 : 1;
  }
}

process.exit(await fetchModel());
