import { describe, expect, test } from 'bun:test';
import { appendFile, chown, mkdir, readdir, rename, rm, stat, symlink, utimes } from 'node:fs/promises';
import { UsageError } from '../../../src/cli/usage-error.ts';
import { pictureOf } from '../fake-classifier.ts';
import { readPhotos } from '../sorting/sorting.ts';
import { type TemporaryFolder, temporaryFolder } from '../temporary-folder.ts';
import { runTask } from './run-task.ts';

const [cat, dog, fish] = ['cat', 'dog', 'fish'].map(pictureOf) as [string, string, string];

/** Undoes the only log in `s`. */
async function undo(folder: TemporaryFolder, ...options: string[]) {
  const [log = ''] = (await readdir(folder.at('s'))).filter((name) => name.endsWith('.jsonl'));
  return await runTask(['undo', folder.at('s', log), ...options], { labels: [] });
}

const library = {
  'p/2019/a.jpg': cat,
  'p/2019/a.jpg.xmp': 'edits',
  'p/2019/a.MOV': 'live',
  'p/2019/a.CR2': 'raw',
  'p/2020/in/a.jpg': cat,
  'p/2020/in/a.aae': 'cropped',
  'p/b.jpg': dog,
  'p/c.jpg': fish,
  'p/c.mov': 'stays',
};

describe('companions', () => {
  test('move along under the same new name, and are not classified', async () => {
    await using folder = await temporaryFolder();
    await folder.write(library);
    const { tally, asked, fault } = await runTask([
      folder.at('p'),
      '--move-to',
      folder.at('s'),
      '--threshold',
      '.5',
    ]);
    expect([fault, tally.faults, asked.length]).toEqual([undefined, 0, 4]);
    expect(tally.summary()).toContain('5 skipped: 5 companion files');
    expect(await readPhotos(folder)).toEqual({
      'p/c.jpg': fish,
      'p/c.mov': 'stays',
      's/cat/a (2).aae': 'cropped',
      's/cat/a (2).jpg': cat,
      's/cat/a.CR2': 'raw',
      's/cat/a.MOV': 'live',
      's/cat/a.jpg': cat,
      's/cat/a.jpg.xmp': 'edits',
      's/dog/b.jpg': dog,
    });
  });

  test('are copied along, once', async () => {
    await using folder = await temporaryFolder();
    await folder.write(library);
    const command = [folder.at('p/2019'), '--copy-to', folder.at('s')];
    await runTask(command);
    const once = await folder.read();
    expect(once).toMatchObject({ ...library, 's/cat/a.jpg.xmp': 'edits', 's/cat/a.CR2': 'raw' });
    const again = await runTask(command);
    expect(again.tally.summary()).toContain('1 sorted before');
    expect(await folder.read()).toEqual(once);
    await folder.write({ 'p/2019/a.jpg.xmp': 'more edits' });
    const changed = await runTask(command);
    expect(changed.stderr).toContain(
      `a.jpg.xmp: It is not copied, because there is another file ${folder.at('s/cat/a.jpg.xmp')}.`,
    );
    expect(await Bun.file(folder.at('s/cat/a.jpg.xmp')).text()).toBe('edits');
  });

  test('have their own names free, too', async () => {
    await using folder = await temporaryFolder();
    await folder.write({ 'p/a.jpg': cat, 'p/a.xmp': 'ours', 's/cat/a.xmp': 'theirs' });
    const command = [folder.at('p'), '--move-to', folder.at('s')];
    const dry = await runTask([...command, '--dry-run']);
    expect(dry.stdout).toEndWith(`\t${folder.at('s/cat/a (2).jpg')}\n`);
    await runTask(command);
    expect(await readPhotos(folder)).toEqual({
      's/cat/a (2).jpg': cat,
      's/cat/a (2).xmp': 'ours',
      's/cat/a.xmp': 'theirs',
    });
  });

  test('stay where they are links, and fit where names are as long as they can be', async () => {
    await using folder = await temporaryFolder();
    const stem = 'ä'.repeat(123);
    await folder.write({
      [`p/${stem}.jpg`]: cat,
      [`p/${stem}.jpg.xmp`]: 'ours',
      [`s/cat/${stem}.jpg`]: 'theirs',
      'p/b.jpg': dog,
      outside: 'theirs',
    });
    await symlink(folder.at('outside'), folder.at('p/b.jpg.xmp'));
    const { tally } = await runTask([folder.at('p'), '--move-to', folder.at('s')]);
    expect(tally.faults).toBe(0);
    expect(await readPhotos(folder)).toMatchObject({
      [`s/cat/${'ä'.repeat(121)} (2).jpg`]: cat,
      [`s/cat/${'ä'.repeat(121)} (2).jpg.xmp`]: 'ours',
    });
    expect(await readdir(folder.at('p'))).toEqual(['b.jpg.xmp']);
    expect(await readdir(folder.at('s/dog'))).toEqual(['b.jpg']);
  });

  test('of the best photos are copied', async () => {
    await using folder = await temporaryFolder();
    await folder.write(library);
    await runTask([folder.at('p/2019'), '--best', '--copy-to', folder.at('s')]);
    expect(await readdir(folder.at('s/cat'))).toHaveLength(4);
  });
});

test('the tree of folders is kept on request', async () => {
  for (const way of ['--move-to', '--copy-to']) {
    await using folder = await temporaryFolder();
    await folder.write(library);
    const command = [folder.at('p'), folder.at('p/b.jpg'), way, folder.at('s'), '--keep-folders'];
    const dry = await runTask([...command, '--dry-run']);
    const planned = dry.stdout
      .trim()
      .split('\n')
      .map((line) => line.split('\t').at(-1));
    expect(planned).toContain(folder.at('s/cat/2020/in/a.jpg'));
    await runTask(command);
    const sorted = Object.keys(await readPhotos(folder)).filter((name) => name.startsWith('s/'));
    expect(sorted).toEqual([
      's/cat/2019/a.CR2',
      's/cat/2019/a.MOV',
      's/cat/2019/a.jpg',
      's/cat/2019/a.jpg.xmp',
      's/cat/2020/in/a.aae',
      's/cat/2020/in/a.jpg',
      's/cat/c.jpg',
      's/cat/c.mov',
      's/dog/b.jpg',
    ]);
    expect(planned.every((path) => sorted.includes(path?.slice(folder.path.length + 1) ?? ''))).toBe(true);
  }
});

test('a kept folder that cannot be made leaves its photos where they are, and the others are sorted', async () => {
  await using folder = await temporaryFolder();
  await folder.write({ 'p/in/a.jpg': cat, 'p/b.jpg': cat, 's/cat/in': 'a file' });
  const { stderr, tally, fault } = await runTask([
    folder.at('p'),
    '--move-to',
    folder.at('s'),
    '--keep-folders',
  ]);
  expect([fault, tally.faults]).toEqual([undefined, 1]);
  expect(stderr).toContain(
    `in/a.jpg: The folder ${folder.at('s/cat/in')} cannot be created, because a file has that name.`,
  );
  expect(tally.summary()).toContain('1 failed (1 unsorted file)');
  expect(Object.keys(await readPhotos(folder))).toEqual(['p/in/a.jpg', 's/cat/b.jpg', 's/cat/in']);
});

test('a link in the place of a kept folder is not followed', async () => {
  await using folder = await temporaryFolder();
  await folder.write({ 'p/in/a.jpg': cat, 'theirs/b.jpg': 'theirs' });
  await mkdir(folder.at('s/cat'), { recursive: true });
  await symlink(folder.at('theirs'), folder.at('s/cat/in'));
  const { fault } = await runTask([folder.at('p'), '--move-to', folder.at('s'), '--keep-folders']);
  expect(String(fault)).toContain('s/cat/in is a symbolic link, which is not followed');
  expect(await readdir(folder.at('theirs'))).toEqual(['b.jpg']);
});

describe('undoing', () => {
  test('moves all files back, with sidecars made since, and a second time nothing', async () => {
    await using folder = await temporaryFolder();
    await folder.write({ ...library, 's/dog/b.jpg.json': 'of another photo' });
    await utimes(folder.at('s/dog/b.jpg.json'), 1, 1);
    await runTask([folder.at('p'), '--move-to', folder.at('s'), '--keep-folders']);
    await folder.write({ 's/cat/2020/in/a.jpg.xmp': 'made since' });
    const moved = await folder.read();
    const dry = await undo(folder, '--dry-run');
    expect(await folder.read()).toEqual(moved);
    const { stdout, tally, fault } = await undo(folder);
    expect([fault, tally.faults, tally.answered]).toEqual([undefined, 0, 10]);
    expect(stdout).toBe(dry.stdout);
    expect(stdout).toContain(`${folder.at('s/dog/b.jpg')}\t${folder.at('p/b.jpg')}\n`);
    expect(await readPhotos(folder)).toEqual({
      ...library,
      'p/2020/in/a.jpg.xmp': 'made since',
      's/dog/b.jpg.json': 'of another photo',
    });
    expect((await readdir(folder.at('s'))).toSorted()).toEqual([
      expect.stringMatching(/^classify-moves-.*\.jsonl$/),
      'dog',
    ]);
    const again = await undo(folder);
    expect([again.stdout, again.tally.faults]).toEqual(['', 0]);
  });

  test('gives files their old names, and works where the sorted folder was moved', async () => {
    await using folder = await temporaryFolder();
    const before = { 'p/1/a.jpg': cat, 'p/2/a.jpg': cat, 'p/2/a.xmp': 'x' };
    await folder.write(before);
    await runTask([folder.at('p'), '--move-to', folder.at('t')]);
    await rename(folder.at('t'), folder.at('s'));
    await rm(folder.at('p'), { recursive: true });
    await undo(folder);
    expect(await readPhotos(folder)).toEqual(before);
  });

  test('never overwrites, and names what it cannot move back', async () => {
    await using folder = await temporaryFolder();
    await folder.write({ 'p/a.jpg': cat, 'p/b.jpg': dog, 'p/d.jpg': dog });
    await runTask([folder.at('p'), '--move-to', folder.at('s')]);
    await folder.write({ 'p/a.jpg': 'a new one' });
    await rm(folder.at('s/dog/b.jpg'));
    const { stderr, tally } = await undo(folder);
    expect(stderr).toContain(
      `a.jpg: It cannot be moved back, because there is a file ${folder.at('p/a.jpg')}.`,
    );
    expect(stderr).toContain('b.jpg: It is no longer there, so it cannot be moved back.');
    expect([tally.faults, tally.answered]).toEqual([2, 1]);
    expect(await readPhotos(folder)).toEqual({ 'p/a.jpg': 'a new one', 'p/d.jpg': dog, 's/cat/a.jpg': cat });
    // What could not be moved back can be, later.
    await rm(folder.at('p/a.jpg'));
    expect((await undo(folder)).tally.answered).toBe(1);
  });

  test('refuses other files, and logs that lead out of their folder', async () => {
    await using folder = await temporaryFolder();
    const header = '{"log":"moves","version":1,"started":1}\n';
    const move = (to: string) =>
      `{"move":1,"files":[{"from":"/x","to":${JSON.stringify(to)},"size":1,"modified":1}]}\n`;
    const contents = ['', 'text\n', `${header}text\n`, move('a.jpg'), `${header}${move('../a')}`];
    for (const content of contents) {
      await folder.write({ 's/log.jsonl': content });
      const { fault } = await runTask(['undo', folder.at('s/log.jsonl')], { labels: [] });
      expect(fault).toBeInstanceOf(UsageError);
      expect(String(fault)).toContain('is not a log of moves');
    }
    const missing = await runTask(['undo', folder.at('none')], { labels: [] });
    expect(String(missing.fault)).toContain('none cannot be read, because it does not exist.');
  });

  test('and completing follow no log that is a link, a folder or of another user', async () => {
    await using folder = await temporaryFolder();
    await folder.write({ 'p/a.jpg': cat, 'mine/private.jpg': 'secret' });
    const { mtimeMs } = await stat(folder.at('mine/private.jpg'));
    const file = {
      from: folder.at('mine/private.jpg'),
      to: 'cat/public.jpg',
      size: 6,
      modified: Math.trunc(mtimeMs),
    };
    const log = `{"log":"moves","version":1,"started":1}\n${JSON.stringify({ move: 1, files: [file] })}\n`;
    await folder.write({ 'theirs/log': log });
    await mkdir(folder.at('s/classify-moves-2.jsonl'), { recursive: true });
    await symlink(folder.at('theirs/log'), folder.at('s/classify-moves-1.jsonl'));
    const isRoot = process.getuid?.() === 0;
    if (isRoot) {
      await folder.write({ 's/classify-moves-3.jsonl': log });
      await chown(folder.at('s/classify-moves-3.jsonl'), 4711, 4711);
    }
    const { fault } = await runTask([folder.at('p'), '--move-to', folder.at('s')]);
    expect(fault).toBeUndefined();
    expect(await Bun.file(folder.at('mine/private.jpg')).text()).toBe('secret');
    expect(await Bun.file(folder.at('s/cat/a.jpg')).text()).toBe(cat);
    // The same log of this user is completed.
    await folder.write({ 's/classify-moves-4.jsonl': log });
    await runTask([folder.at('p'), '--move-to', folder.at('s')]);
    expect(await Bun.file(folder.at('s/cat/public.jpg')).text()).toBe('secret');
  });

  test('reads a log whose last line was cut when the run was killed', async () => {
    await using folder = await temporaryFolder();
    await folder.write({ 'p/a.jpg': cat });
    await runTask([folder.at('p'), '--move-to', folder.at('s')]);
    const [log = ''] = (await readdir(folder.at('s'))).filter((name) => name.endsWith('.jsonl'));
    await appendFile(folder.at('s', log), '{"move":2,"fil');
    await undo(folder);
    expect(await readPhotos(folder)).toEqual({ 'p/a.jpg': cat });
    expect((await undo(folder)).fault).toBeUndefined();
  });
});

describe('with one category', () => {
  const one = { labels: ['cat'] };
  test('moving and keywords are refused without --yes, and copying is warned about', async () => {
    await using folder = await temporaryFolder();
    await folder.write({ 'p/a.jpg': cat, 'p/b.jpg': fish });
    const before = await folder.read();
    const move = [folder.at('p'), '--move-to', folder.at('s')];
    for (const command of [move, [folder.at('p'), '--write-keywords']]) {
      const { fault, asked } = await runTask(command, one);
      expect(fault).toBeInstanceOf(UsageError);
      expect(String(fault)).toContain('it fits every photo at 100 %');
      expect(String(fault)).toContain('add --yes');
      expect(asked).toEqual([]);
    }
    expect(await folder.read()).toEqual(before);
    for (const command of [[folder.at('p')], [...move, '--dry-run']]) {
      const { fault, stderr } = await runTask(command, one);
      expect([fault, stderr.split('\n')[0]]).toEqual([
        undefined,
        'There is only one category, so it fits every photo at 100 %. Add --others to leave out photos that do not fit it, or add another category.',
      ]);
    }
    expect((await runTask([...move, '--yes'], one)).fault).toBeUndefined();
    expect(Object.keys(await readPhotos(folder))).toEqual(['s/cat/a.jpg', 's/cat/b.jpg']);
  });

  test('the best photo is found without a word', async () => {
    await using folder = await temporaryFolder();
    await folder.write({ 'p/a.jpg': cat });
    expect((await runTask([folder.at('p'), '--best'], one)).stderr).toBe('');
  });
});
