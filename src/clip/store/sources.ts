import { basename, extname } from 'node:path';
import type { ManifestModel } from '../../../models/manifest.ts';

/** A place to download from. Size and sum are unknown for an address that an operator gave. */
export interface DownloadSource {
  readonly url: string;
  /** Name of the finished file in its folder. */
  readonly fileName: string;
  readonly bytes?: number;
  readonly sha256?: string;
}

/** The places to download a model from, in order; an operator's own address takes the place of all of them. */
export function downloadSources(model: ManifestModel, ownUrl: string | undefined): readonly DownloadSource[] {
  return ownUrl === undefined ? model.sources : [{ url: ownUrl, fileName: fileNameFor(model, ownUrl) }];
}

/** A name the search will find again: the address's own, or the last one of its kind. */
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

/** The source a person without a working download is told about. */
export function sourceForPeople(sources: readonly DownloadSource[], model: ManifestModel): DownloadSource {
  const gone = new Set(model.sources.filter((source) => source.reportedGone).map((source) => source.url));
  return sources.find((source) => !gone.has(source.url)) ?? sources[0]!;
}

/** An address as it may be shown: without credentials and without a query, which may hold a token. */
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

/** The distinct sums a model's files may have. */
export function knownSums(model: ManifestModel): readonly string[] {
  return [...new Set(model.sources.map((source) => source.sha256))];
}
