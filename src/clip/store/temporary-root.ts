import { lstat, mkdir, mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { errnoOf, storageFailure } from './storage-error.ts';

/**
 * A folder for compiled models where no cache folder can be written. It keeps its name between
 * starts, so that a model is not compiled anew each time; it is used only if it is ours and nobody
 * else can write to it, as anyone may make folders in the system's temporary one.
 */
export async function temporaryRoot(parent = tmpdir()): Promise<string> {
  const userId = process.getuid?.() ?? 0;
  const path = join(parent, `classify-images-${userId}`);
  await mkdir(path, { mode: 0o700 }).catch((error) => {
    if (errnoOf(error) !== 'EEXIST') throw storageFailure(parent, error);
  });
  const found = await lstat(path);
  const ours = found.isDirectory() && found.uid === userId && (found.mode & 0o022) === 0;
  return ours ? path : await mkdtemp(`${path}-`);
}
