import { createHash } from 'node:crypto';
import { join, resolve } from 'node:path';

const pattern = /^\.classify-[0-9a-f]{16}\.part$/;

/**
 * Where a file is copied to before it gets its name. The same source has the same one in every run, so that
 * a run finds what one that was killed had begun.
 */
export function temporaryPath(source: string, folder: string): string {
  const digest = createHash('sha256').update(resolve(source)).digest('hex');
  return join(folder, `.classify-${digest.slice(0, 16)}.part`);
}

export function isTemporaryName(name: string): boolean {
  return pattern.test(name);
}
