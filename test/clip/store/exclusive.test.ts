import { describe, expect, test } from 'bun:test';
import { join } from 'node:path';
import { isLocked, tryLock } from '../../../src/clip/store/obtain-compiled.ts';
import { fastTimings } from './fast-timings.ts';
import { temporaryFolder } from './temporary-folder.ts';

const stale = fastTimings.lockStaleMs;

describe('a lock', () => {
  test('is held by one, then by the next', async () => {
    await using folder = await temporaryFolder();
    const path = join(folder.path, 'work');
    expect(await isLocked(path, stale)).toBe(false);
    {
      await using first = await tryLock(path, stale);
      expect(first).toBeDefined();
      expect(await isLocked(path, stale)).toBe(true);
      expect(await tryLock(path, stale)).toBeUndefined();
    }
    expect(await isLocked(path, stale)).toBe(false);
    await using second = await tryLock(path, stale);
    expect(second).toBeDefined();
  });

  test('of a killed process is free again after a while', async () => {
    await using folder = await temporaryFolder();
    const path = join(folder.path, 'work');
    const program = `
      const { tryLock } = await import(${JSON.stringify(join(import.meta.dir, '../../../src/clip/store/obtain-compiled.ts'))});
      await tryLock(${JSON.stringify(path)}, ${stale});
      console.log('held');
      setInterval(() => {}, 1000);`;
    await using holder = Bun.spawn([process.execPath, '-e', program], { stdout: 'pipe', stderr: 'inherit' });
    const { value } = await holder.stdout.getReader().read();
    expect(new TextDecoder().decode(value)).toBe('held\n');
    expect(await isLocked(path, stale)).toBe(true);
    holder.kill('SIGKILL');
    await holder.exited;
    let lock = await tryLock(path, stale);
    while (lock === undefined) {
      await Bun.sleep(50);
      lock = await tryLock(path, stale);
    }
    await lock[Symbol.asyncDispose]();
  });

  test('that cannot be made says why', async () => {
    await using folder = await temporaryFolder();
    const lock = tryLock(join(folder.path, 'absent', 'work'), stale);
    await expect(lock).rejects.toMatchObject({ code: 'ENOENT' });
  });
});
