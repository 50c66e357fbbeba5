import { describe, expect, test } from 'bun:test';
import { createHash } from 'node:crypto';
import { appendFile, mkdir, readdir, rename, stat, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileSha256, rememberedSha256 } from '../../../src/clip/store/checksum.ts';
import type { LoadingProgress } from '../../../src/clip/store/progress-display.ts';
import { temporaryFolder } from './temporary-folder.ts';

const never = new AbortController().signal;

function sha256(content: Uint8Array | string): string {
  return createHash('sha256').update(content).digest('hex');
}

/** The remembered sum, and whether the file had to be read for it. */
async function ask(path: string, ...directories: string[]): Promise<{ sum: string; read: boolean }> {
  let read = false;
  const report = () => {
    read = true;
  };
  return { sum: await rememberedSha256(path, directories, report, never), read };
}

describe('the sum of a file', () => {
  test('is its sha256, with progress up to the last byte', async () => {
    await using folder = await temporaryFolder();
    const path = join(folder.path, 'file');
    const content = new Uint8Array(2.5 * 2 ** 20).fill(3);
    await writeFile(path, content);
    const steps: LoadingProgress[] = [];
    expect(await fileSha256(path, (step) => steps.push(step), never)).toBe(sha256(content));
    expect(steps.map(({ percent }) => percent)).toEqual([40, 80, 100]);
  });

  test('of an empty file is known, too', async () => {
    await using folder = await temporaryFolder();
    await writeFile(join(folder.path, 'file'), '');
    expect(await fileSha256(join(folder.path, 'file'), () => {}, never)).toBe(sha256(''));
  });

  test('stops when its caller leaves', async () => {
    await using folder = await temporaryFolder();
    const path = join(folder.path, 'file');
    await writeFile(path, new Uint8Array(4 * 2 ** 20));
    const controller = new AbortController();
    const steps: LoadingProgress[] = [];
    const sum = fileSha256(
      path,
      (step) => {
        steps.push(step);
        controller.abort(new Error('left'));
      },
      controller.signal,
    );
    await expect(sum).rejects.toThrow('left');
    expect(steps).toHaveLength(1);
  });
});

describe('a remembered sum', () => {
  test('saves reading the file again', async () => {
    await using folder = await temporaryFolder();
    const [path, cache] = [join(folder.path, 'file'), join(folder.path, 'cache')];
    await writeFile(path, 'one');
    expect(await ask(path, cache)).toEqual({ sum: sha256('one'), read: true });
    expect(await ask(path, cache)).toEqual({ sum: sha256('one'), read: false });
  });

  test('is forgotten when the content changes, even with the same size and time', async () => {
    await using folder = await temporaryFolder();
    const [path, cache] = [join(folder.path, 'file'), join(folder.path, 'cache')];
    await writeFile(path, 'one');
    await ask(path, cache);
    const { atime, mtime } = await stat(path);
    await writeFile(path, 'two');
    await utimes(path, atime, mtime);
    expect(await ask(path, cache)).toEqual({ sum: sha256('two'), read: true });
  });

  test('is forgotten when another file takes the place of it', async () => {
    await using folder = await temporaryFolder();
    const [path, cache] = [join(folder.path, 'file'), join(folder.path, 'cache')];
    await writeFile(path, 'one');
    await ask(path, cache);
    await writeFile(join(folder.path, 'other'), 'two');
    await rename(join(folder.path, 'other'), path);
    expect(await ask(path, cache)).toEqual({ sum: sha256('two'), read: true });
  });

  test('belongs to one path', async () => {
    await using folder = await temporaryFolder();
    const cache = join(folder.path, 'cache');
    for (const name of ['one', 'two']) await writeFile(join(folder.path, name), name);
    await ask(join(folder.path, 'one'), cache);
    await ask(join(folder.path, 'two'), cache);
    expect(await ask(join(folder.path, 'one'), cache)).toEqual({ sum: sha256('one'), read: false });
    expect(await ask(join(folder.path, 'two'), cache)).toEqual({ sum: sha256('two'), read: false });
  });

  test.each(['', '{', '{"sha256":"x"}', '[]'])('that was damaged to %j does no harm', async (damage) => {
    await using folder = await temporaryFolder();
    const [path, cache] = [join(folder.path, 'file'), join(folder.path, 'cache')];
    await writeFile(path, 'one');
    await ask(path, cache);
    const [record] = await readdir(cache);
    await writeFile(join(cache, record!), damage);
    expect(await ask(path, cache)).toEqual({ sum: sha256('one'), read: true });
  });

  test('goes into the first folder that takes it, and is found in any', async () => {
    await using folder = await temporaryFolder();
    const path = join(folder.path, 'file');
    await writeFile(path, 'one');
    // Nothing can be made below a file.
    const [blocked, cache] = [join(path, 'cache'), join(folder.path, 'cache')];
    await ask(path, blocked, cache);
    expect(await readdir(cache)).toHaveLength(1);
    expect(await ask(path, blocked, cache)).toMatchObject({ read: false });
  });

  test('that can be kept nowhere is computed each time', async () => {
    await using folder = await temporaryFolder();
    const path = join(folder.path, 'file');
    await writeFile(path, 'one');
    expect(await ask(path, join(path, 'cache'))).toEqual({ sum: sha256('one'), read: true });
    expect(await ask(path, join(path, 'cache'))).toEqual({ sum: sha256('one'), read: true });
  });
});

describe('a file without a sum', () => {
  test('because it changes while it is read is said to do so', async () => {
    await using folder = await temporaryFolder();
    const path = join(folder.path, 'file');
    await writeFile(path, new Uint8Array(2 * 2 ** 20));
    let grown: Promise<void> | undefined;
    const grow = () => {
      grown ??= appendFile(path, 'more');
    };
    const failure = await rememberedSha256(path, [], grow, never).catch((error) => error);
    await grown;
    expect(failure).toMatchObject({ fault: 'checkpoint_unreadable', retryable: true });
    expect(failure.message).toContain(`${path} changes while it is read`);
  });

  test('because it cannot be read is named', async () => {
    await using folder = await temporaryFolder();
    const path = join(folder.path, 'folder');
    await mkdir(path);
    const failure = await rememberedSha256(path, [], () => {}, never).catch((error) => error);
    expect(failure).toMatchObject({ fault: 'checkpoint_unreadable' });
    expect(failure.message).toContain(`${path} cannot be read`);
  });
});
