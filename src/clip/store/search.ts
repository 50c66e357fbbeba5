import { mkdir, rm, stat, writeFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { basename, extname, isAbsolute, join, resolve } from 'node:path';
import type { ManifestModel } from '../../../models/manifest.ts';
import { errnoOf } from '../../errors.ts';
import { DEMO_MODEL_NAME } from '../demo/demo-checkpoint.ts';
import { ModelStoreError, storageFailure } from './storage-error.ts';

/** A place to download from. Size and sum are unknown for an operator's address. */
export interface DownloadSource {
  readonly url: string;
  /** Name of the finished file in its folder. */
  readonly fileName: string;
  readonly bytes?: number;
  readonly sha256?: string;
}

/** The places to download a model from, in order. An operator's own address replaces all of them. */
export function downloadSources(model: ManifestModel, ownUrl: string | undefined): readonly DownloadSource[] {
  return ownUrl === undefined ? model.sources : [{ url: ownUrl, fileName: fileNameFor(model, ownUrl) }];
}

/** A name that the search will find: that of the address, or the model's last one of the same kind. */
function fileNameFor({ fileNames }: ManifestModel, url: string): string {
  const given = basename(new URL(url).pathname);
  if (fileNames.includes(given)) return given;
  const extension = extname(given);
  const isSafetensors = (name: string) => extname(name) === '.safetensors';
  return (
    fileNames.findLast((name) => extname(name) === extension) ??
    fileNames.findLast((name) => isSafetensors(name) === isSafetensors(given)) ??
    fileNames[0]!
  );
}

/** The source that error sentences recommend. */
export function sourceForPeople(sources: readonly DownloadSource[], model: ManifestModel): DownloadSource {
  const gone = new Set(model.sources.filter((source) => source.reportedGone).map((source) => source.url));
  return sources.find((source) => !gone.has(source.url)) ?? sources[0]!;
}

/** An address without credentials and without its query, which may contain a token. */
export function displayUrl(url: string): string {
  const shown = new URL(url);
  shown.username = '';
  shown.password = '';
  shown.search = '';
  shown.hash = '';
  return shown.href;
}

/** The model that a checkpoint's sum belongs to. */
export function modelOfSum(models: readonly ManifestModel[], sha256: string): ManifestModel | undefined {
  return models.find((model) => model.sources.some((source) => source.sha256 === sha256));
}

/** The distinct sums of a model's files. */
export function knownSums(model: ManifestModel): readonly string[] {
  return [...new Set(model.sources.map((source) => source.sha256))];
}

/**
 * Creates a folder if it is absent, and writes to it as a test: permission bits do not show read-only mounts, quotas
 * or a superuser.
 * @throws ModelStoreError storage_full, storage_failed
 */
export async function proveWritable(directory: string): Promise<void> {
  try {
    await mkdir(directory, { recursive: true });
    const probe = join(directory, `.probe-${process.pid}-${crypto.randomUUID().slice(0, 8)}`);
    try {
      await writeFile(probe, 'x', { flag: 'wx' });
    } finally {
      await rm(probe, { force: true });
    }
  } catch (error) {
    throw storageFailure(directory, error);
  }
}

/**
 * The first folder of the list that can be written.
 * @throws ModelStoreError storage_full, storage_failed: the reason of the last one
 */
export async function firstWritable(directories: readonly string[]): Promise<string> {
  let reason: unknown;
  for (const directory of directories) {
    try {
      await proveWritable(directory);
      return directory;
    } catch (error) {
      reason = error;
    }
  }
  throw reason;
}

/** The meaning of `CLIP_MODEL`. */
export type ModelRequest =
  | { readonly kind: 'demo' }
  | { readonly kind: 'file'; readonly path: string }
  | { readonly kind: 'named'; readonly model: ManifestModel };

const checkpointExtensions: ReadonlySet<string> = new Set(['.pt', '.pth', '.bin', '.safetensors']);

/** The same for all spellings that people use for one name: `ViT-L/14@336px`, `vit-l/14@336px`, `ViT-L-14-336`. */
const spelling = (name: string): string =>
  name
    .toLowerCase()
    .replace(/[/_@\s]/g, '-')
    .replace(/px$/, '');

/**
 * A name of the manifest has priority over a file of that name: `ViT-B/32` looks like a path, too. A file has priority
 * over another spelling of a name.
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
  const respelt = models.find((candidate) => spelling(candidate.name) === spelling(name));
  if (respelt !== undefined) return { kind: 'named', model: respelt };
  if (looksLikePath(name)) {
    throw new ModelStoreError(
      'checkpoint_missing',
      `CLIP_MODEL names the file ${path}, which does not exist. Put the checkpoint there, or set CLIP_MODEL=demo to try the API without it.`,
    );
  }
  const known = [...models.map((candidate) => candidate.name), DEMO_MODEL_NAME].join(', ');
  throw new ModelStoreError(
    'model_unknown',
    `CLIP_MODEL is ${JSON.stringify(name)}, which is not a known model. Known models: ${known}. It may also be the path of a checkpoint file.`,
  );
}

function looksLikePath(name: string): boolean {
  return (
    isAbsolute(name) || /^\.{1,2}[/\\]/.test(name) || checkpointExtensions.has(extname(name).toLowerCase())
  );
}

/** The folders to search after that of `CLIP_CACHE`. */
export function usualDirectories(): readonly string[] {
  return ['/.cache/clip', join(homedir(), '.cache/clip'), resolve('.cache/clip')];
}

/** The folders to search for a checkpoint, in order, each once. */
export function searchOrder(cacheDirectory: string | undefined, usual: readonly string[]): readonly string[] {
  const all = cacheDirectory === undefined ? usual : [resolve(cacheDirectory), ...usual];
  return [...new Set(all)];
}

/** The first file with one of the names, folder by folder. */
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
