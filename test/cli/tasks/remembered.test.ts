import { Database } from 'bun:sqlite';
import { afterEach, describe, expect, setSystemTime, test } from 'bun:test';
import { rename, stat, utimes } from 'node:fs/promises';
import { openIndex } from '../../../src/cli/index/photo-index.ts';
import { pictureOf } from '../fake-classifier.ts';
import { readPhotos } from '../sorting/sorting.ts';
import { type TemporaryFolder, temporaryFolder } from '../temporary-folder.ts';
import { type RunOptions, runTask } from './run-task.ts';

const [cat, dog, fish] = ['cat', 'dog', 'fish'].map(pictureOf) as [string, string, string];

async function photos(): Promise<TemporaryFolder> {
  const folder = await temporaryFolder();
  await folder.write({
    'p/1.gif': cat,
    'p/2.gif': pictureOf('broken'),
    'p/3.txt': 'text',
    'p/4.gif': fish,
    'p/in/1.gif': dog,
    'p/in/2.gif': pictureOf('a/b'),
  });
  return folder;
}

/** Runs with the index of the folder. */
async function remember(folder: TemporaryFolder, argv: readonly string[], options: RunOptions = {}) {
  const notes: string[] = [];
  using index = await openIndex({
    path: folder.at('index'),
    isNamed: true,
    note: (sentence) => notes.push(sentence),
  });
  return { ...(await runTask(argv, { ...options, index })), notes };
}

/** Expects the same answers as without an index, from these pictures. */
async function expectFresh(folder: TemporaryFolder, asked: readonly string[], argv: readonly string[] = []) {
  const command = [folder.at('p'), '--json', ...argv];
  const [run, fresh] = [await remember(folder, command), await runTask(command)];
  expect(run.fault).toBeUndefined();
  expect(run.stdout).toBe(fresh.stdout);
  expect(run.asked).toEqual(asked);
}

/** As if the photos had been written a minute ago: then their times are trusted. */
function waitAMinute(): void {
  setSystemTime(Date.now() + 60_000);
}

afterEach(() => {
  setSystemTime();
});

describe('with an index', () => {
  test('a second question encodes only what is broken', async () => {
    await using folder = await photos();
    waitAMinute();
    await expectFresh(folder, ['cat', 'broken', 'fish', 'dog', 'a/b']);
    await expectFresh(folder, ['broken']);
    await expectFresh(folder, ['broken'], ['--category', 'fish', '--threshold', '0.5']);
    await expectFresh(folder, ['broken'], ['--best']);
    const { tally } = await remember(folder, [folder.at('p')]);
    expect(tally.summary()).toStartWith('4 answered in 0 s, 4 of them from the index, 1 failed');
  });

  test('a run that was interrupted goes on', async () => {
    await using folder = await temporaryFolder();
    for (let index = 0; index < 100; index++) {
      await folder.write({ [`p/${index}.gif`]: pictureOf(`word ${index}`) });
    }
    const first = await remember(folder, [folder.at('p')], { interruptAfter: 40 });
    expect(first.fault).toEqual(new Error('interrupted'));
    const second = await remember(folder, [folder.at('p')]);
    // 40 answers, and the work on the next ones.
    expect(second.asked.length).toBeLessThanOrEqual(60);
    expect(second.stdout).toBe((await runTask([folder.at('p')])).stdout);
  });

  test('a photo under another name, or a copy, is known', async () => {
    await using folder = await photos();
    await remember(folder, [folder.at('p')]);
    await rename(folder.at('p/1.gif'), folder.at('p/renamed.gif'));
    await rename(folder.at('p/in'), folder.at('p/out'));
    await folder.write({ 'p/copy.gif': dog });
    await expectFresh(folder, ['broken']);
  });

  test('another photo under an old name is never answered as the old one', async () => {
    await using folder = await photos();
    waitAMinute();
    await remember(folder, [folder.at('p')]);
    // Edited, replaced by a file of the same size and time, and two folders swapped.
    await folder.write({ 'p/4.gif': pictureOf('edited'), 'new.gif': dog, 'p/on/1.gif': pictureOf('new') });
    const { atime, mtime } = await stat(folder.at('p/1.gif'));
    await utimes(folder.at('new.gif'), atime, mtime);
    await rename(folder.at('new.gif'), folder.at('p/1.gif'));
    await rename(folder.at('p/in'), folder.at('p/off'));
    await rename(folder.at('p/on'), folder.at('p/in'));
    await expectFresh(folder, ['broken', 'edited', 'new']);
  });

  test('photos may be missing from it again, and the best ones are found', async () => {
    await using folder = await photos();
    waitAMinute();
    await remember(folder, [folder.at('p')]);
    const bytes = await Bun.file(folder.at('index')).bytes();
    // The embeddings are at the end, as they were added last.
    for (let at = 64 * 1024; at < bytes.length; at++) bytes[at]! ^= at % 3 === 0 ? 1 : 0;
    await folder.write({ index: bytes });
    const run = await remember(folder, [folder.at('p'), '--best', '--json']);
    expect(run.stdout).toBe((await runTask([folder.at('p'), '--best', '--json'])).stdout);
    expect(run.notes.length).toBe(1);
  });

  test('it may be made anew in the middle of a run', async () => {
    await using folder = await temporaryFolder();
    const write = async (from: number, to: number) => {
      for (let at = from; at < to; at++) {
        await folder.write({ [`p/${String(at).padStart(2, '0')}.gif`]: pictureOf(`number ${at}`) });
      }
    };
    await write(40, 80);
    waitAMinute();
    await remember(folder, [folder.at('p')]);
    // Their pictures get the ids that those of the others had.
    await write(0, 40);
    let isDropped = false;
    const command = ['similar', folder.at('p/07.gif'), folder.at('p'), '--json'];
    const run = await remember(folder, command, {
      async onAdd(word) {
        if (isDropped || word !== 'number 20') return;
        isDropped = true;
        using database = new Database(folder.at('index'));
        database.run('DROP TABLE pictures');
      },
    });
    expect(isDropped).toBe(true);
    expect(run.notes).toEqual([expect.stringContaining('is damaged')]);
    expect(run.stdout).toBe((await runTask(command)).stdout);
  });

  test('files with too many bytes are refused, known or not', async () => {
    await using folder = await temporaryFolder();
    await folder.write({ 'p/1.gif': pictureOf(`cat${' '.repeat(2000)}`) });
    for (let time = 0; time < 2; time++) {
      const { tally, asked } = await remember(folder, [folder.at('p')]);
      expect([tally.faults, asked]).toEqual([1, []]);
    }
  });
});

describe('an output', () => {
  for (const hasIndex of [true, false]) {
    const run = (folder: TemporaryFolder, argv: readonly string[]) =>
      hasIndex ? remember(folder, argv) : runTask(argv);

    test(`has no answer of another photo with the same name ${hasIndex ? '' : 'without an index'}`, async () => {
      for (const format of ['--json', '--csv', '--quiet']) {
        await using folder = await photos();
        const command = [folder.at('p'), '--output', folder.at('out'), format];
        await run(folder, command);
        const { atime, mtime } = await stat(folder.at('p/1.gif'));
        await folder.write({ 'new.gif': dog });
        await utimes(folder.at('new.gif'), atime, mtime);
        await rename(folder.at('new.gif'), folder.at('p/1.gif'));
        const again = await run(folder, command);
        expect(again.tally.answered).toBe(1);
        await run(folder, [folder.at('p'), '--output', folder.at('fresh'), format]);
        const [lines, fresh] = await Promise.all(
          ['out', 'fresh'].map(async (name) =>
            (await Bun.file(folder.at(name)).text()).split('\n').toSorted(),
          ),
        );
        expect(lines).toEqual(fresh ?? []);
        expect((await run(folder, command)).tally.answered).toBe(0);
      }
    });
  }

  test('of a sorted inbox leads a new photo to its own folder', async () => {
    await using folder = await temporaryFolder();
    const command = [folder.at('inbox'), '--move-to', folder.at('lib'), '--output', folder.at('log')];
    await folder.write({ 'inbox/IMG_0001.gif': cat });
    await remember(folder, command);
    await folder.write({ 'inbox/IMG_0001.gif': dog });
    await remember(folder, command);
    expect(Object.keys(await readPhotos(folder)).filter((name) => name.startsWith('lib'))).toEqual([
      'lib/cat/IMG_0001.gif',
      'lib/dog/IMG_0001.gif',
    ]);
  });

  test('without the file beside it is answered anew', async () => {
    await using folder = await photos();
    const command = [folder.at('p'), '--output', folder.at('out'), '--json'];
    await runTask(command);
    const whole = await Bun.file(folder.at('out')).text();
    await Bun.file(folder.at('out.seen')).delete();
    expect((await runTask(command)).tally.answered).toBe(4);
    expect(await Bun.file(folder.at('out')).text()).toBe(whole);
    await folder.write({ 'out.seen': `${'something else'.repeat(3)}\n` });
    expect(String((await runTask(command)).fault)).toContain('out.seen exists and was not written by this');
  });
});

describe('questions about a folder', () => {
  test('search lists the photos that fit words', async () => {
    await using folder = await photos();
    for (const argv of [[], ['--top-k', '2'], ['--min-similarity', '0.99999']]) {
      const { stdout, tally, fault } = await remember(folder, ['search', 'cat', folder.at('p'), ...argv]);
      expect(fault).toBeUndefined();
      expect(stdout).toStartWith(`1.000\t${folder.at('p/1.gif')}\n`);
      expect(stdout.split('\n').length - 1).toBe(argv.length === 0 ? 4 : argv[0] === '--top-k' ? 2 : 1);
      expect(tally.faults).toBe(1);
      expect(stdout).toBe((await runTask(['search', 'cat', folder.at('p'), ...argv])).stdout);
    }
  });

  test('similar leaves out the photo itself, not its copies', async () => {
    await using folder = await photos();
    await folder.write({ 'p/copy.gif': cat });
    const { stdout } = await remember(folder, ['similar', folder.at('p/1.gif'), folder.at('p'), '--json']);
    const files = stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line).file.slice(folder.path.length));
    expect(files[0]).toBe('/p/copy.gif');
    expect(files).not.toContain('/p/1.gif');
    const broken = await remember(folder, ['similar', folder.at('p/2.gif'), folder.at('p')]);
    expect([broken.stdout, broken.tally.faults]).toEqual(['', 1]);
    expect(broken.stderr).toContain('p/2.gif: It is broken.');
  });

  test('duplicates come in groups', async () => {
    await using folder = await photos();
    await folder.write({ 'p/copy.gif': cat, 'p/in/copy.gif': dog });
    const argv = ['duplicates', folder.at('p'), '--min-similarity', '1'];
    const { stdout } = await remember(folder, argv);
    expect(stdout.replaceAll(folder.path, '')).toBe(
      '1\t1.000\t/p/1.gif\n1\t1.000\t/p/copy.gif\n2\t1.000\t/p/in/1.gif\n2\t1.000\t/p/in/copy.gif\n',
    );
  });
});
