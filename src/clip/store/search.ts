import { stat } from 'node:fs/promises';
import { homedir } from 'node:os';
import { extname, isAbsolute, join, resolve } from 'node:path';
import { DEMO_MODEL_NAME } from '../../../models/demo/demo-checkpoint.ts';
import type { ManifestModel } from '../../../models/manifest.ts';
import { ModelStoreError } from './model-store-error.ts';
import { errnoOf } from './storage-error.ts';

/** What `CLIP_MODEL` asks for. */
export type ModelRequest =
  | { readonly kind: 'demo' }
  | { readonly kind: 'file'; readonly path: string }
  | { readonly kind: 'named'; readonly model: ManifestModel };

const checkpointExtensions: ReadonlySet<string> = new Set(['.pt', '.pth', '.bin', '.safetensors']);

/**
 * A name of the manifest wins over a file of that name: `ViT-B/32` looks like a path, too.
 * @throws ModelStoreError model_unknown, checkpoint_missing
 */
export async function resolveModelRequest(
  name: string,
  models: readonly ManifestModel[],
): Promise<ModelRequest> {
  if (name === DEMO_MODEL_NAME) return { kind: 'demo' };
  const model = models.find((candidate) => candidate.name === name);
  if (model !== undefined) return { kind: 'named', model };

  const path = resolve(name);
  const kind = await kindOf(path);
  if (kind === 'file') return { kind: 'file', path };
  if (kind === 'other') {
    throw new ModelStoreError(
      'checkpoint_missing',
      `CLIP_MODEL names ${path}, which is not a file. It must be the path of the checkpoint file itself.`,
    );
  }
  if (looksLikePath(name)) {
    throw new ModelStoreError(
      'checkpoint_missing',
      `CLIP_MODEL names the file ${path}, which does not exist. Put the checkpoint there, or set CLIP_MODEL=demo to try the API without it.`,
    );
  }
  const known = [...models.map((candidate) => candidate.name), DEMO_MODEL_NAME].join(', ');
  throw new ModelStoreError(
    'model_unknown',
    `CLIP_MODEL is ${JSON.stringify(name)}, which is no known model. Known are: ${known}; the path of a checkpoint file is accepted, too.`,
  );
}

function looksLikePath(name: string): boolean {
  return (
    isAbsolute(name) || /^\.{1,2}[/\\]/.test(name) || checkpointExtensions.has(extname(name).toLowerCase())
  );
}

/** The folders that are searched where `CLIP_CACHE` does not name the first one. */
export function usualDirectories(): readonly string[] {
  return ['/.cache/clip', join(homedir(), '.cache/clip'), resolve('.cache/clip')];
}

/** The folders a checkpoint may lie in, in the order of search, each once. */
export function searchOrder(cacheDirectory: string | undefined, usual: readonly string[]): readonly string[] {
  const all = cacheDirectory === undefined ? usual : [resolve(cacheDirectory), ...usual];
  return [...new Set(all)];
}

/** The first file of one of the names, folder by folder. */
export async function findCheckpoint(
  directories: readonly string[],
  fileNames: readonly string[],
): Promise<string | undefined> {
  for (const directory of directories) {
    for (const fileName of fileNames) {
      const path = join(directory, fileName);
      if ((await kindOf(path)) === 'file') return path;
    }
  }
  return undefined;
}

const absentErrnos: ReadonlySet<string> = new Set(['ENOENT', 'ENOTDIR', 'EACCES', 'ENAMETOOLONG', 'ELOOP']);

async function kindOf(path: string): Promise<'absent' | 'file' | 'other'> {
  try {
    return (await stat(path)).isFile() ? 'file' : 'other';
  } catch (error) {
    if (absentErrnos.has(errnoOf(error) ?? '')) return 'absent';
    throw error;
  }
}
