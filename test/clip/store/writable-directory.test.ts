import { describe, expect, test } from 'bun:test';
import { chmod, lstat, mkdir, readdir, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { temporaryRoot } from '../../../src/clip/store/obtain-compiled.ts';
import { firstWritable, proveWritable } from '../../../src/clip/store/search.ts';
import { temporaryFolder } from './temporary-folder.ts';

describe('a folder that is to be written', () => {
  test('is made with its parents, and the proof leaves nothing behind', async () => {
    await using folder = await temporaryFolder();
    const path = join(folder.path, 'a/b');
    await proveWritable(path);
    expect(await readdir(path)).toEqual([]);
  });

  test.each(['/proc/none', '/dev/null/none'])('is refused where nothing can be made: %s', async (path) => {
    const failure = await proveWritable(path).catch((error) => error);
    expect(failure).toMatchObject({ fault: 'storage_failed' });
    expect(failure.message).toContain(path);
  });

  test('is the first of several that works', async () => {
    await using folder = await temporaryFolder();
    const path = join(folder.path, 'a');
    expect(await firstWritable(['/proc/none', path, join(folder.path, 'b')])).toBe(path);
    expect(await readdir(folder.path)).toEqual(['a']);
  });

  test('is none where none works, and the last reason is given', async () => {
    await expect(firstWritable(['/proc/none', '/proc/neither'])).rejects.toThrow('/proc/neither');
  });
});

describe('the temporary folder for compiled models', () => {
  test('is the same at the next start, and not for other users', async () => {
    await using parent = await temporaryFolder();
    const path = await temporaryRoot(parent.path);
    expect(await temporaryRoot(parent.path)).toBe(path);
    expect((await lstat(path)).mode & 0o777).toBe(0o700);
  });

  test('is a fresh one where others can write to the usual one', async () => {
    await using parent = await temporaryFolder();
    const usual = await temporaryRoot(parent.path);
    await chmod(usual, 0o777);
    const path = await temporaryRoot(parent.path);
    expect(path).toStartWith(`${usual}-`);
    expect((await lstat(path)).mode & 0o777).toBe(0o700);
  });

  test('is a new one if a link has taken its place', async () => {
    await using parent = await temporaryFolder();
    const usual = join(parent.path, `classify-images-${process.getuid?.()}`);
    await mkdir(join(parent.path, 'elsewhere'));
    await symlink(join(parent.path, 'elsewhere'), usual);
    expect(await temporaryRoot(parent.path)).toStartWith(`${usual}-`);
  });

  test('is a fresh one where a file has its name', async () => {
    await using parent = await temporaryFolder();
    const usual = join(parent.path, `classify-images-${process.getuid?.()}`);
    await writeFile(usual, '');
    expect(await temporaryRoot(parent.path)).toStartWith(`${usual}-`);
  });
});
