import { describe, expect, test } from 'bun:test';
import { mkdir, readdir, symlink, writeFile } from 'node:fs/promises';
import { NotSortedError, temporaryPath } from '../../../src/cli/sorting/file-operations.ts';
import { createSorter } from '../../../src/cli/sorting/sorter.ts';
import { UsageError } from '../../../src/cli/usage-error.ts';
import { temporaryFolder } from '../temporary-folder.ts';
import { operationsUnder } from './breaking-operations.ts';
import { actions, readPhotos, sorterIn } from './sorting.ts';

describe('what cannot be sorted', () => {
  test('stays in one place, where its folder is read-only', async () => {
    for (const otherDisk of [undefined, 'sorted']) {
      await using folder = await temporaryFolder();
      await folder.write({ 'a/x.jpg': 'first' });
      const { place } = sorterIn(folder, 'move', {
        ...(otherDisk && { otherDisk: folder.at(otherDisk) }),
        isReadOnly: (path) => path.startsWith(folder.at('a')),
      });
      const placing = place(folder.at('a/x.jpg'), 'cat');
      expect(placing).rejects.toThrow(NotSortedError);
      expect(placing).rejects.toThrow(
        `It cannot be moved away from ${folder.at('a')}, because permission is denied; use --copy-to.`,
      );
      await placing.catch(() => undefined);
      expect(await readPhotos(folder)).toEqual({ 'a/x.jpg': 'first' });
    }
  });

  test('is a file that has gone', async () => {
    await using folder = await temporaryFolder();
    await folder.write({ 'a/y.jpg': '' });
    expect(sorterIn(folder, 'move').place(folder.at('a/x.jpg'), 'cat')).rejects.toThrow(NotSortedError);
    expect(sorterIn(folder, 'copy').place(folder.at('a/x.jpg'), 'cat')).rejects.toThrow(NotSortedError);
  });

  test('ends everything where the folder cannot be made', async () => {
    await using folder = await temporaryFolder();
    await folder.write({ 'a/x.jpg': 'first', 'sorted/cat': 'a file' });
    const placing = sorterIn(folder, 'move').place(folder.at('a/x.jpg'), 'cat');
    expect(placing).rejects.toThrow(UsageError);
    expect(placing).rejects.toThrow('sorted/cat cannot be created, because a file has that name.');
  });

  test('ends everything where a category’s folder is a link, and nothing goes where it leads', async () => {
    for (const action of actions) {
      await using folder = await temporaryFolder();
      await folder.write({ 'a/x.jpg': 'first', 'theirs/y.jpg': 'other' });
      await mkdir(folder.at('sorted'));
      await symlink(folder.at('theirs'), folder.at('sorted/cat'));
      const placing = sorterIn(folder, action).place(folder.at('a/x.jpg'), 'cat');
      expect(placing).rejects.toThrow(UsageError);
      expect(placing).rejects.toThrow('sorted/cat is a symbolic link, which is not followed');
      await placing.catch(() => undefined);
      expect(await readPhotos(folder)).toMatchObject({ 'a/x.jpg': 'first' });
      expect(await readdir(folder.at('theirs'))).toEqual(['y.jpg']);
    }
  });

  test('is never written to where a link of a temporary name leads', async () => {
    await using folder = await temporaryFolder();
    await folder.write({ 'a/x.jpg': 'first', victim: 'theirs' });
    await mkdir(folder.at('sorted/cat'), { recursive: true });
    const { place, placeBytes } = sorterIn(folder, 'copy');
    await symlink(folder.at('victim'), temporaryPath(folder.at('a/x.jpg'), folder.at('sorted/cat')));
    await place(folder.at('a/x.jpg'), 'cat');
    await symlink(folder.at('victim'), temporaryPath('film.mp4/frame.jpg', folder.at('sorted/cat')));
    await placeBytes('frame.jpg', Buffer.from('a frame'), 'film.mp4', 'cat');
    expect(await readPhotos(folder)).toEqual({
      'a/x.jpg': 'first',
      'sorted/cat/frame.jpg': 'a frame',
      'sorted/cat/x.jpg': 'first',
      victim: 'theirs',
    });
  });

  test('ends everything where the disk is full, and leaves nothing half on it', async () => {
    for (const action of actions) {
      await using folder = await temporaryFolder();
      await folder.write({ 'a/x.jpg': 'first' });
      const { place } = sorterIn(folder, action, { isFull: true, otherDisk: folder.at('sorted') });
      const placing = place(folder.at('a/x.jpg'), 'cat');
      expect(placing).rejects.toThrow(UsageError);
      expect(placing).rejects.toThrow('because the disk is full.');
      await placing.catch(() => undefined);
      expect(await readPhotos(folder)).toEqual({ 'a/x.jpg': 'first' });
    }
  });

  test('is a file that is written to while it moves to another disk', async () => {
    await using folder = await temporaryFolder();
    await folder.write({ 'a/x.jpg': 'first' });
    const operations = operationsUnder({ otherDisk: folder.at('sorted') });
    const { place } = createSorter({
      directory: folder.at('sorted'),
      labels: ['cat'],
      action: 'move',
      operations: {
        ...operations,
        async copy(from, to) {
          await operations.copy(from, to);
          await writeFile(from, 'first, and more');
        },
      },
    });
    const placing = place(folder.at('a/x.jpg'), 'cat');
    expect(placing).rejects.toThrow('It changed while it was being moved');
    await placing.catch(() => undefined);
    expect(await readPhotos(folder)).toEqual({ 'a/x.jpg': 'first, and more' });
  });
});
