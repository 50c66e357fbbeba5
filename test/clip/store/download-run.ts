import { expect } from 'bun:test';
import { createHash } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type DownloadedFile, download, type SourceFailure } from '../../../src/clip/store/download.ts';
import type { LoadingProgress } from '../../../src/clip/store/progress-display.ts';
import type { DownloadSource } from '../../../src/clip/store/search.ts';
import { fastTimings } from './fast-timings.ts';
import type { FileServer } from './file-server.ts';
import { type RecordingLog, recordingLog } from './recording-log.ts';

/** Three mebibytes without a repeating pattern. */
export const file = new Uint8Array(3 * 2 ** 20).map((_, index) => (index * 2654435761) >>> 24);
export const sha256 = createHash('sha256').update(file).digest('hex');
export const MEBI = 2 ** 20;

export function sourceOf(server: FileServer | string, known = true): DownloadSource {
  const url = typeof server === 'string' ? server : server.url;
  return { url, fileName: 'ViT-B-32.pt', ...(known ? { bytes: file.length, sha256 } : {}) };
}

export interface Run {
  readonly outcome: DownloadedFile | readonly SourceFailure[];
  readonly progress: readonly LoadingProgress[];
  readonly log: RecordingLog;
}

export async function run(
  directory: string,
  sources: readonly DownloadSource[],
  { inspect = async () => {}, signal = new AbortController().signal, timings = fastTimings } = {},
): Promise<Run> {
  const progress: LoadingProgress[] = [];
  const log = recordingLog();
  const report = (step: LoadingProgress) => progress.push(step);
  const outcome = await download(sources, { directory, log, timings, report, signal, inspect });
  return { outcome, progress, log };
}

/** Whole, right, under its final name, and nothing else left behind. */
export async function expectDelivered(directory: string, { outcome }: Run): Promise<void> {
  expect(outcome).toEqual({ path: join(directory, 'ViT-B-32.pt'), sha256 });
  expect((await readFile(join(directory, 'ViT-B-32.pt'))).equals(file)).toBe(true);
  expect(await readdir(directory)).toEqual(['ViT-B-32.pt']);
}

export function reasons({ outcome }: Run): string[] {
  return 'path' in outcome ? [] : outcome.map(({ reason }) => reason);
}
