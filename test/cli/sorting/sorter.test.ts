import { describe, expect, test } from 'bun:test';
import { link, mkdir, stat, symlink, utimes, writeFile } from 'node:fs/promises';
import { NotSortedError } from '../../../src/cli/sorting/not-sorted-error.ts';
import { createSorter } from '../../../src/cli/sorting/sorter.ts';
import { UsageError } from '../../../src/cli/usage-error.ts';
import { type TemporaryFolder, temporaryFolder } from '../temporary-folder.ts';
import { type Circumstances, KilledError, operationsUnder } from './breaking-operations.ts';

const actions = ['move', 'copy'] as const;
type Action = (typeof actions)[number];

function sorterIn(folder: TemporaryFolder, action: Action, circumstances: Circumstances = {}) {
  const operations = operationsUnder(circumstances);
  const directory = folder.at('sorted');
  return { operations, ...createSorter({ directory, labels: ['cat', 'dog'], action, operations }) };
}

/** Sorts all of it into "cat" but what is not there any more, as a run does. */
async function sortAll(folder: TemporaryFolder, action: Action, circumstances: Circumstances = {}) {
  const { operations, place, finish } = sorterIn(folder, action, circumstances);
  for (const name of ['a/x.jpg', 'b/x.jpg', 'c/x.jpg', 'c/y.jpg']) {
    if (await Bun.file(folder.at(name)).exists()) await place(folder.at(name), 'cat');
  }
  await finish();
  return operations.steps;
}

const sources = { 'a/x.jpg': 'first', 'b/x.jpg': 'second', 'c/x.jpg': 'third', 'c/y.jpg': 'other' };
const taken = { 'sorted/cat/x.jpg': 'theirs' };

describe('sorting', () => {
  test('moves into a folder by category, under the first free name', async () => {
    await using folder = await temporaryFolder();
    await folder.write({ ...sources, ...taken });
    const { place } = sorterIn(folder, 'move');
    expect(await place(folder.at('a/x.jpg'), 'cat')).toBe(folder.at('sorted/cat/x (2).jpg'));
    expect(await place(folder.at('b/x.jpg'), 'cat')).toBe(folder.at('sorted/cat/x (3).jpg'));
    expect(await place(folder.at('c/y.jpg'), 'dog')).toBe(folder.at('sorted/dog/y.jpg'));
    expect(await folder.read()).toEqual({
      'c/x.jpg': 'third',
      'sorted/cat/x (2).jpg': 'first',
      'sorted/cat/x (3).jpg': 'second',
      'sorted/cat/x.jpg': 'theirs',
      'sorted/dog/y.jpg': 'other',
    });
  });

  test('keeps equal files apart when it moves them', async () => {
    await using folder = await temporaryFolder();
    await folder.write({ 'a/x.jpg': 'same', 'b/x.jpg': 'same', 'sorted/cat/x.jpg': 'same' });
    await sortAll(folder, 'move');
    expect(Object.keys(await folder.read())).toEqual([
      'sorted/cat/x (2).jpg',
      'sorted/cat/x (3).jpg',
      'sorted/cat/x.jpg',
    ]);
  });

  test('does not copy again what is there, whatever its number', async () => {
    await using folder = await temporaryFolder();
    await folder.write({ ...sources, ...taken });
    await sortAll(folder, 'copy');
    const once = await folder.read();
    expect(once).toMatchObject({
      ...sources,
      'sorted/cat/x (2).jpg': 'first',
      'sorted/cat/x (3).jpg': 'second',
    });
    await sortAll(folder, 'copy');
    expect(await folder.read()).toEqual(once);
  });

  test('copies a file of the same size and other content', async () => {
    await using folder = await temporaryFolder();
    await folder.write({ 'a/x.jpg': 'abc', 'sorted/cat/x.jpg': 'abd' });
    const time = new Date(2020, 1, 1);
    for (const name of ['a/x.jpg', 'sorted/cat/x.jpg']) await utimes(folder.at(name), time, time);
    await sortAll(folder, 'copy');
    expect(await folder.read()).toMatchObject({ 'sorted/cat/x.jpg': 'abd', 'sorted/cat/x (2).jpg': 'abc' });
  });

  for (const action of actions) {
    test(`leaves a file that lies in its folder where it is (${action})`, async () => {
      await using folder = await temporaryFolder();
      await folder.write(taken);
      await symlink(folder.at('sorted/cat'), folder.at('way'));
      const { place } = sorterIn(folder, action);
      expect(await place(folder.at('way/x.jpg'), 'cat')).toBe(folder.at('way/x.jpg'));
      const { 'way/x.jpg': seenThroughLink, ...files } = await folder.read();
      expect(files).toEqual(taken);
      expect(seenThroughLink).toBe('theirs');
    });

    test(`keeps the times of a file (${action} to another disk)`, async () => {
      await using folder = await temporaryFolder();
      await folder.write({ 'a/x.jpg': 'first' });
      await utimes(folder.at('a/x.jpg'), new Date(2001, 2, 3), new Date(2004, 5, 6));
      await sortAll(folder, action, { otherDisk: folder.at('sorted') });
      expect((await stat(folder.at('sorted/cat/x.jpg'))).mtime).toEqual(new Date(2004, 5, 6));
    });
  }

  test('moves both names of a file that has two', async () => {
    await using folder = await temporaryFolder();
    await folder.write({ 'a/x.jpg': 'first' });
    await mkdir(folder.at('b'), { recursive: true });
    await link(folder.at('a/x.jpg'), folder.at('b/other.jpg'));
    const { place } = sorterIn(folder, 'move');
    await place(folder.at('a/x.jpg'), 'cat');
    await place(folder.at('b/other.jpg'), 'cat');
    expect(await folder.read()).toEqual({ 'sorted/cat/other.jpg': 'first', 'sorted/cat/x.jpg': 'first' });
  });

  test('does not move symbolic links, and copies what they lead to', async () => {
    await using folder = await temporaryFolder();
    await folder.write({ 'a/x.jpg': 'first' });
    await symlink('x.jpg', folder.at('a/link.jpg'));
    const moving = sorterIn(folder, 'move').place(folder.at('a/link.jpg'), 'cat');
    expect(moving).rejects.toThrow('It is a symbolic link, which is not moved');
    await moving.catch(() => undefined);
    await sorterIn(folder, 'copy').place(folder.at('a/link.jpg'), 'cat');
    expect(await folder.read()).toEqual({ 'a/x.jpg': 'first', 'sorted/cat/link.jpg': 'first' });
  });

  test('writes new files as it copies others', async () => {
    await using folder = await temporaryFolder();
    const { placeBytes } = sorterIn(folder, 'copy');
    const place = (text: string) => placeBytes('f-1.000.jpg', Buffer.from(text), '/film.mp4', 'cat');
    expect(await place('frame')).toBe(folder.at('sorted/cat/f-1.000.jpg'));
    expect(await place('frame')).toBe(folder.at('sorted/cat/f-1.000.jpg'));
    expect(await place('other')).toBe(folder.at('sorted/cat/f-1.000 (2).jpg'));
    expect(Object.values(await folder.read())).toEqual(['other', 'frame']);
  });

  test('gives many files of one name their numbers without trying all again', async () => {
    await using folder = await temporaryFolder();
    const { operations, place } = sorterIn(folder, 'move');
    for (let index = 0; index < 50; index++) {
      await folder.write({ [`${index}/x.jpg`]: String(index) });
      await place(folder.at(`${index}/x.jpg`), 'cat');
    }
    expect(await Bun.file(folder.at('sorted/cat/x (50).jpg')).text()).toBe('49');
    // Two for the folder; for each file a link and a removal; the second one tries the first name.
    expect(operations.steps).toBe(2 + 50 * 2 + 1);
  });
});

describe('a plan', () => {
  test('says where files would go, and does nothing', async () => {
    for (const action of actions) {
      await using folder = await temporaryFolder();
      await folder.write({ ...sources, ...taken });
      const { plan } = sorterIn(folder, action);
      const planned = [];
      for (const name of Object.keys(sources)) planned.push(await plan(folder.at(name), 'cat'));
      expect(await folder.read()).toEqual({ ...sources, ...taken });
      const { place } = sorterIn(folder, action);
      const done = [];
      for (const name of Object.keys(sources)) done.push(await place(folder.at(name), 'cat'));
      expect(planned).toEqual(done);
    }
  });
});

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
      expect(placing).rejects.toThrow('sorted, because permission is denied.');
      await placing.catch(() => undefined);
      expect(await folder.read()).toEqual({ 'a/x.jpg': 'first' });
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
    expect(placing).rejects.toThrow('sorted/cat cannot be made, because a file of that name is there.');
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
      expect(await folder.read()).toEqual({ 'a/x.jpg': 'first' });
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
    expect(placing).rejects.toThrow('It was changed while it was being moved');
    await placing.catch(() => undefined);
    expect(await folder.read()).toEqual({ 'a/x.jpg': 'first, and more' });
  });
});

describe('a run that is killed', () => {
  const disks: readonly [name: string, isOther: boolean, hasLinks: boolean][] = [
    ['on one disk', false, true],
    ['on one disk without links', false, false],
    ['to another disk', true, true],
    ['to another disk without links', true, false],
  ];
  for (const action of actions) {
    for (const [disk, isOther, hasLinks] of disks) {
      test(`loses nothing, and is completed by the next one: ${action} ${disk}`, async () => {
        const circumstancesOf = (folder: TemporaryFolder) => ({
          ...(isOther && { otherDisk: folder.at('sorted') }),
          hasLinks,
        });
        await using whole = await temporaryFolder();
        await whole.write({ ...sources, ...taken });
        const steps = await sortAll(whole, action, circumstancesOf(whole));
        const expected = await whole.read();
        expect(Object.keys(expected).length).toBe(action === 'move' ? 5 : 9);

        for (let killedAfter = 0; killedAfter < steps; killedAfter++) {
          await using folder = await temporaryFolder();
          await folder.write({ ...sources, ...taken });
          const circumstances = circumstancesOf(folder);
          const sorting = sortAll(folder, action, { ...circumstances, killedAfter });
          await sorting.then(
            () => expect.unreachable(),
            (fault) => expect(fault).toBeInstanceOf(KilledError),
          );
          const left = Object.entries(await folder.read()).filter(([name]) => !name.endsWith('.part'));
          for (const content of [...Object.values(sources), ...Object.values(taken)]) {
            expect(left.map(([, found]) => found)).toContain(content);
          }
          await sortAll(folder, action, circumstances);
          const completed = await folder.read();
          if (isOther && !hasLinks && action === 'move') {
            // Killed between the copy's name and the source's removal, there is no telling them from two files.
            expect(new Set(Object.values(completed))).toEqual(new Set(Object.values(expected)));
            expect(Object.keys(completed).length).toBeLessThanOrEqual(Object.keys(expected).length + 1);
          } else expect(completed).toEqual(expected);
        }
      });
    }
  }

  test('does not take another file for the one that it had begun to move', async () => {
    await using folder = await temporaryFolder();
    await folder.write({ 'a/x.jpg': 'first' });
    const otherDisk = folder.at('sorted');
    // Folder, its sync, link in vain, copy, sync, link, sync: the source is to be removed next.
    await sortAll(folder, 'move', { otherDisk, killedAfter: 7 }).catch(() => undefined);
    expect(Object.values(await folder.read())).toEqual(['first', 'first', 'first']);
    await folder.write({ 'a/x.jpg': 'a new one of the same name' });
    await sortAll(folder, 'move', { otherDisk });
    expect(await folder.read()).toEqual({
      'sorted/cat/x (2).jpg': 'a new one of the same name',
      'sorted/cat/x.jpg': 'first',
    });
  });

  test('leaves nothing through which the next copy writes into the last one', async () => {
    await using folder = await temporaryFolder();
    await folder.write({ 'a/x.jpg': 'first' });
    // All but the removal of the temporary name.
    await sortAll(folder, 'copy', { killedAfter: 6 }).catch(() => undefined);
    expect(Object.values(await folder.read())).toEqual(['first', 'first', 'first']);
    await folder.write({ 'a/x.jpg': 'changed' });
    await sortAll(folder, 'copy');
    expect(await folder.read()).toEqual({
      'a/x.jpg': 'changed',
      'sorted/cat/x (2).jpg': 'changed',
      'sorted/cat/x.jpg': 'first',
    });
  });
});
