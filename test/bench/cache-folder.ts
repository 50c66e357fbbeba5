import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';

/** The checkout that this program belongs to. */
export const ownRoot = join(import.meta.dir, '../..');

const root = join(ownRoot, '.cache/bench');

/** A folder for what is made once and measured often: photos, weights, compiled models, the peers' packages. */
export async function cacheFolder(...names: readonly string[]): Promise<string> {
  const folder = join(root, ...names);
  await mkdir(folder, { recursive: true });
  return folder;
}
