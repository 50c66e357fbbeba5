import { describe, expect, test } from 'bun:test';
import { chmod, symlink } from 'node:fs/promises';
import { type FindOptions, findFiles } from '../../../src/cli/files/find-files.ts';
import { temporaryFolder } from '../temporary-folder.ts';

const { signal } = new AbortController();

async function pathsIn(root: string, paths: readonly string[], options: Partial<FindOptions> = {}) {
  const found = await findFiles(paths, { followLinks: true, signal, ...options });
  return found.files.map(({ path }) => path.slice(root.length + 1));
}

describe('files are found', () => {
  test('in folders within folders, in the order of their names', async () => {
    await using folder = await temporaryFolder();
    await folder.write({ 'b/2.jpg': '', 'b/10.jpg': '', 'a.jpg': '', 'c/d/e.txt': '' });
    expect(await pathsIn(folder.path, [folder.path])).toEqual(['a.jpg', 'b/10.jpg', 'b/2.jpg', 'c/d/e.txt']);
  });

  test('once, however many ways lead to them', async () => {
    await using folder = await temporaryFolder();
    await folder.write({ 'a/1.jpg': '', 'a/2.jpg': '' });
    const given = [folder.at('a/2.jpg'), folder.at('a'), folder.path, folder.at('a', '..', 'a', '1.jpg')];
    expect(await pathsIn(folder.path, given)).toEqual(['a/2.jpg', 'a/1.jpg']);
  });

  test('as named by the person, or as found', async () => {
    await using folder = await temporaryFolder();
    await folder.write({ 'named.jpg': '', 'in/found.jpg': '' });
    const { files } = await findFiles([folder.at('named.jpg'), folder.at('in')], {
      followLinks: true,
      signal,
    });
    expect(files.map(({ isNamed }) => isNamed)).toEqual([true, false]);
  });

  test('but not where names begin with a dot, unless the person names them', async () => {
    await using folder = await temporaryFolder();
    await folder.write({
      '.trash/1.jpg': '',
      '.trash/in/2.NEF': '',
      '.git/config': '',
      '.hidden.jpg': '',
      'seen.jpg': '',
      // Metadata of macOS.
      '._seen.jpg': '',
    });
    const found = await findFiles([folder.path], { followLinks: true, signal });
    expect(found.files.map(({ path }) => path)).toEqual([folder.at('seen.jpg')]);
    expect(found.hidden).toBe(2);
    expect(found.leftOut).toEqual([
      {
        path: folder.at('.hidden.jpg'),
        reason: 'Its name begins with a dot.',
        what: 'hidden picture',
        number: 1,
      },
      {
        path: folder.at('.trash'),
        reason: '2 pictures and videos in it left out, because its name begins with a dot.',
        what: 'hidden picture',
        number: 2,
      },
    ]);
    expect(await pathsIn(folder.path, [folder.at('.trash'), folder.at('.hidden.jpg')])).toEqual([
      '.trash/1.jpg',
      '.trash/in/2.NEF',
      '.hidden.jpg',
    ]);
  });

  test('through symbolic links, whose circles end', async () => {
    await using folder = await temporaryFolder();
    await folder.write({ 'real/1.jpg': '', 'walked/2.jpg': '' });
    await symlink('..', folder.at('walked/up'));
    await symlink(folder.at('real'), folder.at('walked/there'));
    await symlink('2.jpg', folder.at('walked/same.jpg'));
    expect(await pathsIn(folder.path, [folder.at('walked')])).toEqual(
      ['walked/2.jpg', 'walked/same.jpg', 'walked/there/1.jpg'].toSorted(),
    );
  });

  test('not through symbolic links, where they are not to be followed', async () => {
    await using folder = await temporaryFolder();
    await folder.write({ 'real/1.jpg': '', 'walked/2.jpg': '' });
    await symlink(folder.at('real'), folder.at('walked/there'));
    await symlink(folder.at('real/1.jpg'), folder.at('walked/1.jpg'));
    await symlink(folder.at('real/1.jpg'), folder.at('walked/link'));
    const found = await findFiles([folder.at('walked')], { followLinks: false, signal });
    expect(found.files.map(({ path }) => path)).toEqual([folder.at('walked/2.jpg')]);
    expect(found.links).toBe(1);
    expect(found.leftOut.map(({ path, reason }) => [path, reason])).toEqual([
      [folder.at('walked/1.jpg'), 'It is a symbolic link, which --move-to does not follow.'],
      [folder.at('walked/there'), 'It is a symbolic link to a folder, which --move-to does not follow.'],
    ]);
  });

  test('not where files are sorted to', async () => {
    await using folder = await temporaryFolder();
    await folder.write({ 'sorted/cat/1.jpg': '', '2.jpg': '' });
    const options = { except: folder.at('sorted') };
    const found = await findFiles([folder.path], { followLinks: true, signal, ...options });
    expect(found.files.map(({ path }) => path)).toEqual([folder.at('2.jpg')]);
    expect(found.leftOut).toMatchObject([
      {
        path: folder.at('sorted'),
        reason: '1 picture or video in it left out, because it is the folder to sort into.',
      },
    ]);
  });

  test('also where the folder to be sorted into is not there yet', async () => {
    await using folder = await temporaryFolder();
    await folder.write({ '2.jpg': '' });
    expect(await pathsIn(folder.path, [folder.path], { except: folder.at('none') })).toEqual(['2.jpg']);
  });

  test('beside pipes, which are passed over unless they are named like pictures', async () => {
    await using folder = await temporaryFolder();
    await folder.write({ '1.jpg': '' });
    Bun.spawnSync(['mkfifo', folder.at('pipe'), folder.at('pipe.jpg')]);
    expect(await pathsIn(folder.path, [folder.path])).toEqual(['1.jpg', 'pipe.jpg']);
  });
});

describe('what cannot be read is named', () => {
  test('a file that is not there', async () => {
    await using folder = await temporaryFolder();
    const { files, unreadable } = await findFiles([folder.at('none.jpg')], { followLinks: true, signal });
    expect(files).toEqual([]);
    expect(unreadable).toEqual([
      {
        path: folder.at('none.jpg'),
        error: 'It cannot be read, because it does not exist.',
        isDangling: false,
      },
    ]);
  });

  test('a link that leads nowhere, and the others are found', async () => {
    await using folder = await temporaryFolder();
    await folder.write({ 'z.jpg': '' });
    await symlink('gone.jpg', folder.at('a.jpg'));
    const { files, unreadable } = await findFiles([folder.path], { followLinks: true, signal });
    expect(files.map(({ path }) => path)).toEqual([folder.at('z.jpg')]);
    const error = 'It is a symbolic link to a file that does not exist.';
    expect(unreadable).toEqual([{ path: folder.at('a.jpg'), error, isDangling: true }]);
    const named = await findFiles([folder.at('a.jpg')], { followLinks: true, signal });
    expect(named.unreadable).toEqual(unreadable);
  });

  // Root may read every file.
  test.if(process.getuid?.() !== 0)('a folder that may not be entered', async () => {
    await using folder = await temporaryFolder();
    await folder.write({ 'closed/1.jpg': '', 'open/2.jpg': '' });
    await chmod(folder.at('closed'), 0);
    try {
      const { files, unreadable } = await findFiles([folder.path], { followLinks: true, signal });
      expect(files.map(({ path }) => path)).toEqual([folder.at('open/2.jpg')]);
      expect(unreadable).toEqual([
        {
          path: folder.at('closed'),
          error: 'It cannot be read, because permission is denied.',
          isDangling: false,
        },
      ]);
    } finally {
      await chmod(folder.at('closed'), 0o700);
    }
  });
});

test('the search ends when it is interrupted', async () => {
  await using folder = await temporaryFolder();
  const stopped = AbortSignal.abort(new Error('stopped'));
  expect(findFiles([folder.path], { followLinks: true, signal: stopped })).rejects.toThrow('stopped');
});
