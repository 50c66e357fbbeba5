import { dirname } from 'node:path';
import { withoutControls } from './cli/output/escape-text.ts';
import { prepareModel } from './clip/store/prepare-model.ts';
import type { LoadingProgress } from './clip/store/progress-display.ts';
import { ModelStoreError, type ModelStoreFault } from './clip/store/storage-error.ts';
import { ConfigError, parseConfig } from './config.ts';
import { createLog } from './log.ts';

/** What only another setting can help with. A service waits for a file that is not there; here nothing brings it. */
const faultsOfSettings: ReadonlySet<ModelStoreFault> = new Set([
  'model_unknown',
  'precision_unavailable',
  'checkpoint_missing',
]);

/**
 * Brings the model into the cache folder as the service would (download, check, compile), and ends: services that
 * find it there need no more than to read it. Ends with 0, with 1 where it cannot be had, with 2 on bad settings.
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
