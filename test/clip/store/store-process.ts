import type { ManifestModel } from '../../../models/manifest.ts';
import { obtainCheckpoint } from '../../../src/clip/store/download.ts';
import type { StoreTimings } from '../../../src/clip/store/store-context.ts';
import { storeContext } from '../../../src/clip/store/store-context.ts';
import { createLog } from '../../../src/log.ts';

/** The task of a process that looks for a checkpoint, as JSON in its first argument. */
export interface StoreTask {
  readonly model: ManifestModel;
  readonly cacheDirectory: string;
  readonly timings: StoreTimings;
}

/** Prints the path of the checkpoint it has found or downloaded. */
if (import.meta.main) {
  const { model, cacheDirectory, timings }: StoreTask = JSON.parse(process.argv[2]!);
  const context = storeContext({
    model: { name: model.name, cacheDirectory, url: undefined, precision: 'auto', demoFallback: false },
    log: createLog('info'),
    usualDirectories: [],
    terminal: null,
    timings,
  });
  console.log(
    await obtainCheckpoint(model, { ...context, report: () => {}, signal: new AbortController().signal }),
  );
}
