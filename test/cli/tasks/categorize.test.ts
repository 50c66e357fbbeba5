import { describe, expect, test } from 'bun:test';
import { createTally } from '../../../src/cli/tasks/task.ts';
import { UsageError } from '../../../src/cli/usage-error.ts';
import { pictureOf } from '../fake-classifier.ts';
import { readPhotos } from '../sorting/sorting.ts';
import { type TemporaryFolder, temporaryFolder } from '../temporary-folder.ts';
import { runTask } from './run-task.ts';

const [cat, dog, fish, slashed] = ['cat', 'dog', 'fish', 'a/b'].map(pictureOf) as [
  string,
  string,
  string,
  string,
];
const broken = pictureOf('broken');

async function photos(): Promise<TemporaryFolder> {
  const folder = await temporaryFolder();
  await folder.write({
    'p/1.gif': cat,
    'p/2.gif': broken,
    'p/3.txt': 'text',
    'p/4.gif': fish,
    'p/in/1.gif': dog,
    'p/in/2.gif': slashed,
    'p/in/.DS_Store': 'hidden',
  });
  return folder;
}

describe('categorizing', () => {
  test('asks again about what the engine failed at, and not about what is broken', async () => {
    await using folder = await photos();
    const command = [folder.at('p'), '--json', '--output', folder.at('out')];
    const onAdd = async (word: string) => {
      if (word === 'dog') throw new TypeError('x is undefined');
    };
    const first = await runTask(command, { onAdd });
    expect([first.fault, first.tally.answered, first.tally.faults]).toEqual([undefined, 3, 2]);
    expect(first.stderr).toContain('Looking at it failed unexpectedly, which is a bug: x is undefined');
    const again = await runTask(command);
    expect(again.asked).toEqual(['dog']);
    expect([again.tally.answered, again.tally.recorded, again.tally.faults]).toEqual([1, 3, 1]);
  });

  test('prints a line a file, and names the broken ones', async () => {
    await using folder = await photos();
    const { stdout, stderr, tally, fault } = await runTask([folder.at('p'), '--threshold', '0.5']);
    expect(fault).toBeUndefined();
    expect(stdout.replaceAll(folder.path, '')).toBe(
      'cat\t/p/1.gif\n-\t/p/4.gif\ndog\t/p/in/1.gif\na/b\t/p/in/2.gif\n',
    );
    expect(stderr.replaceAll(folder.path, '')).toBe('/p/2.gif: It is broken.\n');
    expect(tally.faults).toBe(1);
    expect(tally.summary()).toBe(
      '4 answered in 0 s, 1 below the threshold, 1 failed (1 damaged picture). 2 skipped: 1 hidden file, 1 text file. Model: fake, fp32.',
    );
  });

  test('warns of pictures that are cut off, and uses them', async () => {
    await using folder = await temporaryFolder();
    await folder.write({ 'p/1.gif': pictureOf('cut') });
    for (const more of [[], ['--best']]) {
      const { stderr, tally } = await runTask([folder.at('p'), ...more]);
      expect(stderr).toContain(`${folder.at('p/1.gif')}: The picture is cut off.\n`);
      expect([tally.answered, tally.faults]).toEqual([1, 0]);
    }
  });

  test('names files that the person gave and that are no pictures, or not there', async () => {
    await using folder = await photos();
    const { stdout, stderr, tally } = await runTask([
      folder.at('p/3.txt'),
      folder.at('none'),
      folder.at('p/1.gif'),
    ]);
    expect(stdout).toBe(`cat\t${folder.at('p/1.gif')}\n`);
    expect(stderr).toContain('none: It cannot be read, because it does not exist.\n');
    expect(stderr).toContain('3.txt: The file is text; JPEG, ');
    expect(tally.faults).toBe(2);
  });

  test('names every picture and video that it does not use, and counts them by kind', async () => {
    await using folder = await temporaryFolder();
    await folder.write({
      'p/1.gif': cat,
      'p/2.gif': broken,
      'p/3.nef': 'FOVb',
      'p/4.jpg': '',
      'p/5.mov': '\0\0\0\x14ftypqt  \0\0\0\0',
      'p/6.xmp': 'text',
      'p/.7.jpg': dog,
      'p/.trash/8.jpg': dog,
      'p/sorted/cat/9.gif': cat,
    });
    const { stdout, stderr, tally } = await runTask([folder.at('p'), '--copy-to', folder.at('p/sorted')]);
    expect(stdout).toBe(`cat\t${folder.at('p/1.gif')}\n`);
    const lines = stderr.replaceAll(folder.path, '').trim().split('\n');
    expect(lines.toSorted()).toEqual([
      '/p/.7.jpg: Its name begins with a dot.',
      '/p/.trash: 1 picture or video in it left out, because its name begins with a dot.',
      '/p/2.gif: It is broken.',
      expect.stringMatching(/^\/p\/3\.nef: The file is a camera’s raw picture/),
      expect.stringMatching(/^\/p\/4\.jpg: The file is empty/),
      expect.stringMatching(/^\/p\/5\.mov: The file is a QuickTime video; .* Use --video for a video\.$/),
      '/p/sorted: 1 picture or video in it left out, because it is the folder to sort into.',
    ]);
    expect(tally.faults).toBe(4);
    expect(tally.summary()).toBe(
      '1 answered in 0 s, 4 failed (1 damaged picture, 1 file of a format that is not accepted, 1 empty file, 1 video). 4 skipped: 2 hidden pictures, 1 sorted picture, 1 text file. Model: fake, fp32.',
    );
    // Found in a folder or named: the count, and with it the exit code, is the same.
    const named = ['1.gif', '2.gif', '3.nef', '4.jpg', '5.mov'].map((name) => folder.at(`p/${name}`));
    expect((await runTask(named)).tally.faults).toBe(4);
  });

  test('does not start the engine for nothing', async () => {
    await using folder = await temporaryFolder();
    for (const options of [[], ['--best']]) {
      const { asked, tally, fault, stderr } = await runTask([folder.path, ...options]);
      expect([asked, fault, tally.model]).toEqual([[], undefined, undefined]);
      expect(stderr).toBe(`No pictures found in ${folder.path}.\n`);
    }
  });

  test('may only say where files would go', async () => {
    await using folder = await photos();
    const before = await folder.read();
    for (const way of ['--move-to', '--copy-to']) {
      const { stdout } = await runTask([
        folder.at('p'),
        way,
        folder.at('s'),
        '--dry-run',
        '--csv',
        '--threshold',
        '.5',
      ]);
      expect(
        stdout
          .replaceAll(folder.path, '')
          .split('\n')
          .map((line) => line.split(',').at(-1)),
      ).toEqual(['to', '/s/cat/1.gif', '', '', '/s/dog/1.gif', '/s/a_b/2.gif', '']);
    }
    expect(await folder.read()).toEqual(before);
  });
});

describe('sorting', () => {
  test('moves what has a category, and leaves all else', async () => {
    await using folder = await photos();
    const command = [folder.at('p'), '--move-to', folder.at('p/sorted'), '--threshold', '0.5'];
    const moved = await runTask(command);
    expect(moved.stderr).toMatch(/To move the files back: bun run classify undo .*\.jsonl/);
    const sorted = {
      'p/2.gif': broken,
      'p/3.txt': 'text',
      'p/4.gif': fish,
      'p/in/.DS_Store': 'hidden',
      'p/sorted/a_b/2.gif': slashed,
      'p/sorted/cat/1.gif': cat,
      'p/sorted/dog/1.gif': dog,
    };
    expect(await readPhotos(folder)).toEqual(sorted);
    const again = await runTask(command);
    expect(await readPhotos(folder)).toEqual(sorted);
    expect(again.asked).toEqual(['broken', 'fish']);
  });

  test('copies, also into the folder that is sorted, and a second time changes nothing', async () => {
    await using folder = await photos();
    const command = [folder.at('p'), '--copy-to', folder.at('p/sorted'), '--threshold', '0.5'];
    await runTask(command);
    const once = await folder.read();
    expect(once).toMatchObject({ 'p/1.gif': cat, 'p/sorted/cat/1.gif': cat, 'p/sorted/a_b/2.gif': slashed });
    expect(Object.keys(once).length).toBe(10);
    await runTask(command);
    expect(await folder.read()).toEqual(once);
  });

  test('names what cannot be sorted, and goes on', async () => {
    await using folder = await temporaryFolder();
    await folder.write({ 'p/1.gif': cat, 'p/2.gif': cat });
    Bun.spawnSync(['ln', '-s', folder.at('p/1.gif'), folder.at('link.gif')]);
    const { stderr, tally } = await runTask([
      folder.at('link.gif'),
      folder.at('p/2.gif'),
      '--move-to',
      folder.at('s'),
    ]);
    expect(stderr).toContain('link.gif: It is a symbolic link, which is not moved');
    expect(tally.faults).toBe(1);
    expect(Object.keys(await readPhotos(folder)).filter((name) => name.startsWith('s/'))).toEqual([
      's/cat/2.gif',
    ]);
  });
});

describe('an output file', () => {
  const many = async () => {
    const folder = await temporaryFolder();
    const words = ['cat', 'dog', 'broken', 'a/b', 'fish'];
    for (let index = 0; index < 100; index++) {
      await folder.write({ [`p/${index % 7}/${index}.gif`]: pictureOf(words[index % words.length] ?? '') });
    }
    return folder;
  };

  for (const format of ['--json', '--csv', '']) {
    test(`of a run that was interrupted is completed by the next one ${format}`, async () => {
      await using folder = await many();
      const command = (out: string) => [
        folder.at('p'),
        '--output',
        folder.at(out),
        ...(format ? [format] : []),
      ];
      const whole = await runTask(command('whole'));
      const half = await runTask(command('half'), { interruptAfter: 50 });
      expect(half.fault).toEqual(new Error('interrupted'));
      const lines = (await Bun.file(folder.at('half')).text()).split('\n').length;
      expect(lines).toBeGreaterThan(30);
      const rest = await runTask(command('half'));
      expect(await Bun.file(folder.at('half')).text()).toBe(await Bun.file(folder.at('whole')).text());
      expect(half.stdout + rest.stdout).toBe('');
      // Broken files count in every run; only the text format does not record them.
      expect([whole.tally.faults, rest.tally.faults]).toEqual([20, 20]);
      expect(rest.asked.length).toBe(format === '' ? 60 : 50);
      const third = await runTask(command('half'));
      expect(third.asked.length).toBe(format === '' ? 20 : 0);
      expect(third.tally.recorded).toBe(80);
    });
  }

  test('has the answer of a file that was not moved yet when the run was killed', async () => {
    await using folder = await photos();
    const command = [folder.at('p'), '--json', '--output', folder.at('out'), '--move-to', folder.at('s')];
    await runTask([folder.at('p'), '--json', '--output', folder.at('out')]);
    const recorded = await Bun.file(folder.at('out')).text();
    const again = await runTask(command);
    expect(again.asked).toEqual([]);
    expect(Object.keys(await readPhotos(folder)).filter((name) => name.startsWith('s/'))).toEqual([
      's/a_b/2.gif',
      's/cat/1.gif',
      's/cat/4.gif',
      's/dog/1.gif',
    ]);
    expect(await Bun.file(folder.at('out')).text()).toBe(recorded);
  });

  test('remembers files that were named and have been moved', async () => {
    await using folder = await photos();
    const command = [folder.at('p/1.gif'), '--output', folder.at('out'), '--move-to', folder.at('s')];
    await runTask(command);
    const again = await runTask(command);
    expect([again.tally.faults, again.fault, again.asked]).toEqual([0, undefined, []]);
  });

  test('asks again about files that the disk did not give', async () => {
    await using folder = await photos();
    const command = [folder.at('p/none.gif'), folder.at('p/1.gif'), '--json', '--output', folder.at('out')];
    expect((await runTask(command)).tally.faults).toBe(1);
    await folder.write({ 'p/none.gif': dog });
    const again = await runTask(command);
    expect([again.tally.faults, again.asked]).toEqual([0, ['dog']]);
  });

  test('is refused where it answers another question, before the model is asked', async () => {
    await using folder = await photos();
    const command = [folder.at('p'), '--json', '--output', folder.at('out')];
    await runTask(command, { interruptAfter: 2 });
    const before = await folder.read();
    const { fault, asked } = await runTask([...command, '--template', 'a photo of a {}']);
    expect(fault).toBeInstanceOf(UsageError);
    expect(String(fault)).toContain('--template was not set and is now ["a photo of a {}"]');
    expect(asked).toEqual([]);
    expect(await folder.read()).toEqual(before);
    expect((await runTask(command)).fault).toBeUndefined();
  });

  test('is refused where it is something else', async () => {
    await using folder = await photos();
    const { fault } = await runTask([folder.at('p'), '--output', folder.at('p/3.txt')]);
    expect(String(fault)).toContain('p/3.txt exists and was not written by this command as text');
    expect(await Bun.file(folder.at('p/3.txt')).text()).toBe('text');
  });
});

test('equal copies are copied once, and counted', async () => {
  await using folder = await temporaryFolder();
  await folder.write({ 'p/1/a.gif': cat, 'p/2/a.gif': cat, 'p/3/a.gif': cat });
  const { tally } = await runTask([folder.at('p'), '--copy-to', folder.at('s'), '--no-list']);
  expect(tally.summary()).toStartWith('3 answered in 0 s, 2 sorted before.');
  expect(Object.keys(await folder.read()).filter((name) => name.startsWith('s/'))).toEqual(['s/cat/a.gif']);
});

test('the summary counts skipped files as nouns, the most frequent kinds first', () => {
  const tally = createTally({ isInteractive: false, print: async () => {}, note() {}, status() {} }, () => 0);
  tally.skip('text', 9);
  tally.skip('a HEIC picture', 3);
  tally.skip('a camera’s raw picture (CR2)', 2);
  expect(tally.summary()).toBe(
    '0 answered in 0 s. 14 skipped: 9 text files, 3 HEIC pictures, 2 raw pictures (CR2).',
  );
  for (let copy = 0; copy < 4; copy++) tally.skip('of an unknown format');
  tally.skip('an MP4 video');
  expect(tally.summary()).toEndWith(
    '19 skipped: 9 text files, 4 files of an unknown format, 3 HEIC pictures, 2 raw pictures (CR2), 1 MP4 video.',
  );
});

describe('answers that may be none or several', () => {
  test('--others needs no second category, and leaves out what does not fit', async () => {
    await using folder = await photos();
    const move = [folder.at('p'), '--others', '--move-to', folder.at('s')];
    const { stdout, stderr, fault } = await runTask(move, { labels: ['cat'] });
    expect(fault).toBeUndefined();
    expect(stderr).not.toContain('only one category');
    expect(stdout.replaceAll(folder.path, '')).toBe(
      'cat\t/p/1.gif\n-\t/p/4.gif\n-\t/p/in/1.gif\n-\t/p/in/2.gif\n',
    );
    expect(await readPhotos(folder)).toMatchObject({ 's/cat/1.gif': cat, 'p/4.gif': fish });
    const { stderr: warned } = await runTask([folder.at('p')], { labels: ['dog'] });
    expect(warned).toContain('Add --others to leave out photos that do not fit it');
  });

  test('--several copies a photo into each folder, and a second run changes nothing', async () => {
    await using folder = await photos();
    // The fake gives a photo 0.9 for its word, and 0.05 for the others.
    const several = [folder.at('p'), '--several', '--threshold', '0.04'];
    const command = [...several, '--copy-to', folder.at('s'), '--output', folder.at('out'), '--csv'];
    const planned = await runTask([...several, '--copy-to', folder.at('s'), '--dry-run']);
    const [first = ''] = planned.stdout.replaceAll(folder.path, '').split('\n');
    expect(first).toBe('cat; dog; a/b\t/p/1.gif\t/s/cat/1.gif; /s/dog/1.gif; /s/a_b/1.gif');
    expect((await runTask(command)).fault).toBeUndefined();
    const sorted = await folder.read();
    expect(sorted).toMatchObject({
      's/cat/1.gif': cat,
      's/dog/1.gif': cat,
      's/a_b/1.gif': cat,
      's/dog/1 (2).gif': dog,
      'p/1.gif': cat,
    });
    expect(sorted.out).toContain('"cat; dog; a/b"'.replaceAll('"', ''));
    const again = await runTask(command);
    expect([again.fault, again.asked, again.tally.recorded]).toEqual([undefined, [], 4]);
    expect(Object.keys(await folder.read())).toEqual(Object.keys(sorted));
    const other = await runTask(command.filter((word) => word !== '--several'));
    expect(String(other.fault)).toContain('--several was true and is now not set');
  });

  test('--several writes all keywords, and JSON has the list', async () => {
    await using folder = await photos();
    const command = [folder.at('p/1.gif'), folder.at('p/4.gif'), '--several', '--json', '--write-keywords'];
    const { stdout, tally, fault } = await runTask([...command, '--threshold', '0.04']);
    expect([fault, tally.tagged]).toEqual([undefined, 2]);
    const [line = ''] = stdout.split('\n');
    expect(JSON.parse(line)).toMatchObject({ category: 'cat', categories: ['cat', 'dog', 'a/b'] });
    const { 'p/1.gif.xmp': sidecar = '' } = await folder.read();
    for (const word of ['cat', 'dog', 'a/b']) expect(sidecar).toContain(`<rdf:li>${word}</rdf:li>`);
    const none = await runTask([...command, '--threshold', '0.95']);
    expect(JSON.parse(none.stdout.split('\n')[0] ?? '')).toMatchObject({ category: null, categories: [] });
    expect([none.tally.undecided, 'p/1.gif.xmp' in (await folder.read())]).toEqual([2, true]);
    expect((await folder.read())['p/1.gif.xmp']).not.toContain('<rdf:li>dog</rdf:li>');
  });
});
