import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type ManifestModel, manifest } from '../../../models/manifest.ts';
import { BUILDER_VERSION, type CompiledModel } from '../../../src/clip/graph/compiled-model.ts';
import { prepareModel } from '../../../src/clip/store/prepare-model.ts';
import type { LoadingProgress } from '../../../src/clip/store/progress-display.ts';
import { ModelStoreError } from '../../../src/clip/store/storage-error.ts';
import type { StoreOptions } from '../../../src/clip/store/store-context.ts';
import type { Config } from '../../../src/config.ts';
import { fastTimings } from './fast-timings.ts';
import { recordingLog } from './recording-log.ts';

export const golden = join(import.meta.dir, '../../golden');
/** A checkpoint of OpenAI's layout, and its sum. */
export const tiny: Uint8Array = Bun.gunzipSync(await readFile(join(golden, 'clip-tiny.pt.gz')));
export const tinySum = createHash('sha256').update(tiny).digest('hex');

interface Setting extends Partial<Pick<StoreOptions, 'compileChildPath' | 'temporaryParent' | 'models'>> {
  readonly name?: string;
  readonly cache?: string;
  readonly url?: string;
  readonly precision?: Config['model']['precision'];
  readonly usual?: readonly string[];
}

/** One attempt, with what it said on the way. */
export function attempt({ name = 'ViT-B/32', cache, url, precision = 'fp32', usual = [], ...rest }: Setting) {
  const log = recordingLog();
  const steps: LoadingProgress[] = [];
  const options: StoreOptions = {
    model: { name, cacheDirectory: cache, url, precision, demoFallback: false },
    log,
    usualDirectories: usual,
    terminal: null,
    timings: fastTimings,
    ...rest,
  };
  const outcome = prepareModel(options, (step) => steps.push(step), new AbortController().signal);
  return { outcome, log, stages: () => [...new Set(steps.map(({ stage }) => stage))] };
}

export async function prepare(setting: Setting) {
  const { outcome, log, stages } = attempt(setting);
  const model: CompiledModel = await outcome;
  return { model, log, stages: stages() };
}

export async function prepareInVain(setting: Setting): Promise<ModelStoreError> {
  const { outcome } = attempt(setting);
  const failure: unknown = await outcome.then(
    () => undefined,
    (error) => error,
  );
  if (failure instanceof ModelStoreError) return failure;
  throw new Error('it did not fail as it should', { cause: failure });
}

/** The manifest, with the tiny checkpoint in the place of the real one. */
export function tinyManifest(...urls: string[]): readonly ManifestModel[] {
  const [model] = manifest;
  const source = {
    bytes: tiny.length,
    sha256: tinySum,
    layout: 'torchscript',
    fileName: 'ViT-B-32.pt',
  } as const;
  return [{ ...model!, sources: urls.map((url) => ({ ...source, url })) }];
}

export function folderOf(sum: string): string {
  return `${sum.slice(0, 16)}-fp32-v${BUILDER_VERSION}`;
}
