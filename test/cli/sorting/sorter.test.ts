import { describe, expect, test } from 'bun:test';
import { link, mkdir, stat, symlink, utimes } from 'node:fs/promises';
import { temporaryFolder } from '../temporary-folder.ts';
import { actions, readPhotos, sortAll, sorterIn, sources, taken } from './sorting.ts';

describe('sorting', () => {
  test('moves into a folder by category, under the first free name', async () => {
    await using folder = await temporaryFolder();
    await folder.write({ ...sources, ...taken });
    const { place } = sorterIn(folder, 'move');
    expect((await place(folder.at('a/x.jpg'), 'cat')).path).toBe(folder.at('sorted/cat/x (2).jpg'));
    expect((await place(folder.at('b/x.jpg'), 'cat')).path).toBe(folder.at('sorted/cat/x (3).jpg'));
    expect((await place(folder.at('c/y.jpg'), 'dog')).path).toBe(folder.at('sorted/dog/y.jpg'));
    expect(await readPhotos(folder)).toEqual({
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
    expect(Object.keys(await readPhotos(folder))).toEqual([
      'sorted/cat/x (2).jpg',
      'sorted/cat/x (3).jpg',
      'sorted/cat/x.jpg',
    ]);
  });

  test('does not copy again what is there, whatever its number', async () => {
    await using folder = await temporaryFolder();
    await folder.write({ ...sources, ...taken });
    await sortAll(folder, 'copy');
    const once = await readPhotos(folder);
    expect(once).toMatchObject({
      ...sources,
      'sorted/cat/x (2).jpg': 'first',
      'sorted/cat/x (3).jpg': 'second',
    });
    await sortAll(folder, 'copy');
    expect(await readPhotos(folder)).toEqual(once);
  });

  test('copies a file of the same size and other content', async () => {
    await using folder = await temporaryFolder();
    await folder.write({ 'a/x.jpg': 'abc', 'sorted/cat/x.jpg': 'abd' });
    const time = new Date(2020, 1, 1);
    for (const name of ['a/x.jpg', 'sorted/cat/x.jpg']) await utimes(folder.at(name), time, time);
    await sortAll(folder, 'copy');
    expect(await readPhotos(folder)).toMatchObject({
      'sorted/cat/x.jpg': 'abd',
      'sorted/cat/x (2).jpg': 'abc',
    });
  });

  for (const action of actions) {
    test(`leaves a file that lies in its folder where it is (${action})`, async () => {
      await using folder = await temporaryFolder();
      await folder.write(taken);
      await symlink(folder.at('sorted/cat'), folder.at('way'));
      const { place } = sorterIn(folder, action);
      expect((await place(folder.at('way/x.jpg'), 'cat')).path).toBe(folder.at('way/x.jpg'));
      const { 'way/x.jpg': seenThroughLink, ...files } = await readPhotos(folder);
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
    expect(await readPhotos(folder)).toEqual({
      'sorted/cat/other.jpg': 'first',
      'sorted/cat/x.jpg': 'first',
    });
  });

  test('does not move symbolic links, and copies what they lead to', async () => {
    await using folder = await temporaryFolder();
    await folder.write({ 'a/x.jpg': 'first' });
    await symlink('x.jpg', folder.at('a/link.jpg'));
    const moving = sorterIn(folder, 'move').place(folder.at('a/link.jpg'), 'cat');
    expect(moving).rejects.toThrow('It is a symbolic link, which is not moved');
    await moving.catch(() => undefined);
    await sorterIn(folder, 'copy').place(folder.at('a/link.jpg'), 'cat');
    expect(await readPhotos(folder)).toEqual({ 'a/x.jpg': 'first', 'sorted/cat/link.jpg': 'first' });
  });

  test('writes new files as it copies others', async () => {
    await using folder = await temporaryFolder();
    const { placeBytes } = sorterIn(folder, 'copy');
    const place = (text: string) => placeBytes('f-1.000.jpg', Buffer.from(text), '/film.mp4', 'cat');
    expect(await place('frame')).toBe(folder.at('sorted/cat/f-1.000.jpg'));
    expect(await place('frame')).toBe(folder.at('sorted/cat/f-1.000.jpg'));
    expect(await place('other')).toBe(folder.at('sorted/cat/f-1.000 (2).jpg'));
    expect(Object.values(await readPhotos(folder))).toEqual(['other', 'frame']);
  });

  test('gives many files of one name their numbers without trying all again', async () => {
    await using folder = await temporaryFolder();
    const { operations, place } = sorterIn(folder, 'move');
    for (let index = 0; index < 50; index++) {
      await folder.write({ [`${index}/x.jpg`]: String(index) });
      await place(folder.at(`${index}/x.jpg`), 'cat');
    }
    expect(await Bun.file(folder.at('sorted/cat/x (50).jpg')).text()).toBe('49');
    // Two for the folder, two for the log; a link and a removal for each file, and three for its lines in the log.
    expect(operations.steps).toBe(2 + 2 + 50 * 5);
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
      expect(await readPhotos(folder)).toEqual({ ...sources, ...taken });
      const { place } = sorterIn(folder, action);
      const done = [];
      for (const name of Object.keys(sources)) done.push((await place(folder.at(name), 'cat')).path);
      expect(planned).toEqual(done);
    }
  });
});
