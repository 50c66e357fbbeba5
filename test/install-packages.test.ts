import { expect, test } from 'bun:test';
import { chmod, copyFile, mkdtemp, rm } from 'node:fs/promises';
import { join } from 'node:path';

const program = join(import.meta.dir, '../src/install-packages.ts');
const NOBODY = '65534';
const asNobody = ['setpriv', `--reuid=${NOBODY}`, `--regid=${NOBODY}`, '--clear-groups'];

/** Only root can become another user, who must be able to read this checkout. */
const canBecomeNobody =
  process.getuid?.() === 0 &&
  Bun.which('setpriv') !== null &&
  Bun.spawnSync([...asNobody, 'test', '-r', program]).exitCode === 0;

test.if(canBecomeNobody)('a user without a home folder can use packages that are installed', async () => {
  // Only root can read the tests' own temporary folder.
  const folder = await mkdtemp('/tmp/install-');
  try {
    await chmod(folder, 0o755);
    // The runtime may lie in a folder that only root can read.
    const runtime = join(folder, 'bun');
    await copyFile(process.execPath, runtime);
    await chmod(runtime, 0o755);
    for (const home of [{}, { HOME: '/nonexistent' }]) {
      const { exitCode, stderr } = Bun.spawnSync([...asNobody, runtime, program, '--only-to-run'], {
        env: { PATH: process.env.PATH ?? '', ...home },
      });
      expect(stderr.toString()).toBe('');
      expect(exitCode).toBe(0);
    }
  } finally {
    await rm(folder, { recursive: true });
  }
});
