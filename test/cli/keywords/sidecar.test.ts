import { describe, expect, test } from 'bun:test';
import { chmod, mkdir, readdir, stat, symlink } from 'node:fs/promises';
import { createCompanions } from '../../../src/cli/files/companions.ts';
import { cleanSidecar, createKeywordWriter, type SidecarNaming } from '../../../src/cli/keywords/sidecar.ts';
import { readKeywords } from '../../../src/cli/keywords/xmp.ts';
import { pictureOf } from '../fake-classifier.ts';
import { runTask } from '../tasks/run-task.ts';
import { type TemporaryFolder, temporaryFolder } from '../temporary-folder.ts';

const xmp = (subject: string) =>
  `<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about="" xmlns:dc="http://purl.org/dc/elements/1.1/"><dc:subject><rdf:Bag><rdf:li>${subject}</rdf:li></rdf:Bag></dc:subject></rdf:Description></rdf:RDF></x:xmpmeta>`;

function writerIn(naming: SidecarNaming = 'full', isDry = false) {
  return createKeywordWriter({ candidates: ['cat', 'dog'], naming, companions: createCompanions(), isDry });
}

const subjectsIn = async (folder: TemporaryFolder, name: string) =>
  readKeywords(await Bun.file(folder.at(name)).text()).get('subject');

describe('a sidecar', () => {
  const names: readonly [files: string[], naming: SidecarNaming, expected: string][] = [
    [['a.jpg'], 'full', 'a.jpg.xmp'],
    [['a.jpg'], 'stem', 'a.xmp'],
    [['a.jpg', 'a.xmp'], 'full', 'a.xmp'],
    [['a.JPG', 'a.jpg.XMP'], 'stem', 'a.jpg.XMP'],
    [['a.jpg', 'a.xmp', 'a.jpg.xmp'], 'stem', 'a.jpg.xmp'],
    // It is of the photo that programs prefer.
    [['a.jpg', 'a.png', 'a.xmp'], 'full', 'a.xmp'],
  ];
  for (const [files, naming, expected] of names) {
    test(`of ${files.join(', ')} is ${expected} (${naming})`, async () => {
      await using folder = await temporaryFolder();
      for (const name of files) {
        await folder.write({ [name]: /xmp$/i.test(name) ? xmp('sea') : '' });
      }
      const photo = files[0] ?? '';
      expect(await writerIn(naming)(folder.at(photo), ['cat'])).toBe(folder.at(expected));
      expect(await subjectsIn(folder, expected)).toEqual(files.includes(expected) ? ['sea', 'cat'] : ['cat']);
    });
  }

  test('is not shared by two photos of one stem', async () => {
    await using folder = await temporaryFolder();
    await folder.write({ 'a.jpg': '', 'a.png': '' });
    const write = writerIn('stem');
    expect(await write(folder.at('a.jpg'), ['cat'])).toBe(folder.at('a.xmp'));
    expect(await write(folder.at('a.png'), ['dog'])).toBe(folder.at('a.png.xmp'));
  });

  test('keeps its encoding, its byte order mark and its permissions', async () => {
    for (const encoding of ['utf-8', 'utf-16le', 'utf-16be'] as const) {
      await using folder = await temporaryFolder();
      const encoded = (text: string) => {
        const bytes = Buffer.from(`\ufeff${text}`, encoding === 'utf-8' ? 'utf8' : 'utf16le');
        return encoding === 'utf-16be' ? bytes.swap16() : bytes;
      };
      await folder.write({ 'a.jpg': '', 'a.jpg.xmp': encoded(xmp('Käfer 😀')) });
      await chmod(folder.at('a.jpg.xmp'), 0o640);
      await writerIn()(folder.at('a.jpg'), ['cat']);
      const bytes = await Bun.file(folder.at('a.jpg.xmp')).bytes();
      const text = new TextDecoder(encoding).decode(bytes);
      expect(readKeywords(text).get('subject')).toEqual(['Käfer 😀', 'cat']);
      expect(Buffer.from(bytes).subarray(0, 3)).toEqual(encoded('<').subarray(0, 3));
      expect((await stat(folder.at('a.jpg.xmp'))).mode & 0o777).toBe(0o640);
      await cleanSidecar(folder.at('a.jpg.xmp'), false);
      expect(Buffer.from(await Bun.file(folder.at('a.jpg.xmp')).bytes())).toEqual(encoded(xmp('Käfer 😀')));
    }
  });

  test('that cannot be used stays as it is', async () => {
    const sidecars: readonly [content: string | Uint8Array, sentence: string][] = [
      ['<x:xmpmeta', 'stays unchanged: It is not well-formed XML'],
      [Uint8Array.from([0x3c, 0xff, 0xff]), 'It is not valid UTF-8.'],
      [
        `<?xml version="1.0" encoding="ISO-8859-1"?>${xmp('sea')}`,
        'Its encoding ISO-8859-1 is not supported',
      ],
      ['', 'not well-formed'],
    ];
    for (const [content, sentence] of sidecars) {
      await using folder = await temporaryFolder();
      await folder.write({ 'a.jpg': '', 'a.jpg.xmp': content });
      const before = await folder.read();
      expect(writerIn()(folder.at('a.jpg'), ['cat'])).rejects.toThrow(sentence);
      await writerIn()(folder.at('a.jpg'), ['cat']).catch(() => undefined);
      expect(await folder.read()).toEqual(before);
    }
  });

  test('that is a link, or a folder, stays as it is', async () => {
    await using folder = await temporaryFolder();
    await folder.write({ 'a.jpg': '', 'b.jpg': '', theirs: xmp('sea') });
    await symlink(folder.at('theirs'), folder.at('a.jpg.xmp'));
    await mkdir(folder.at('b.jpg.xmp'));
    expect(writerIn()(folder.at('a.jpg'), ['cat'])).rejects.toThrow(
      'is a symbolic link; it stays unchanged.',
    );
    expect(writerIn()(folder.at('b.jpg'), ['cat'])).rejects.toThrow('is not a file');
    await writerIn()(folder.at('a.jpg'), ['cat']).catch(() => undefined);
    expect(await Bun.file(folder.at('theirs')).text()).toBe(xmp('sea'));
  });

  test('of a photo whose name is as long as names can be is refused with the reason', async () => {
    await using folder = await temporaryFolder();
    const name = `${'a'.repeat(251)}.jpg`;
    await folder.write({ [name]: '' });
    expect(writerIn()(folder.at(name), ['cat'])).rejects.toThrow('because its name is too long.');
    await writerIn()(folder.at(name), ['cat']).catch(() => undefined);
    expect(await readdir(folder.path)).toEqual([name]);
    expect(await writerIn('stem')(folder.at(name), ['cat'])).toBe(folder.at(`${'a'.repeat(251)}.xmp`));
  });

  test('begins with the keywords in the photo itself', async () => {
    await using folder = await temporaryFolder();
    await folder.write({ 'a.jpg': `\xff\xd8 ${xmp('in the photo')} <x:xmpmeta` });
    await writerIn()(folder.at('a.jpg'), ['cat']);
    expect(await subjectsIn(folder, 'a.jpg.xmp')).toEqual(['in the photo', 'cat']);
    await cleanSidecar(folder.at('a.jpg.xmp'), false);
    expect(await readdir(folder.path)).toEqual(['a.jpg']);
  });
});

describe('keywords', () => {
  const photos = {
    'p/1.gif': pictureOf('cat'),
    'p/in/2.gif': pictureOf('dog'),
    'p/3.gif': pictureOf('fish'),
  };

  test('are written for answers, a second time not, and are removed again', async () => {
    await using folder = await temporaryFolder();
    await folder.write({ ...photos, 'p/in/2.gif.xmp': xmp('sea') });
    const before = await folder.read();
    const command = [folder.at('p'), '--write-keywords', '--threshold', '0.5', '--no-list'];
    const dry = await runTask([folder.at('p'), '--write-keywords', '--dry-run', '--threshold', '.5']);
    expect(dry.stdout.replaceAll(folder.path, '').split('\n')).toEqual([
      'cat\t/p/1.gif\t/p/1.gif.xmp',
      '-\t/p/3.gif\t-',
      'dog\t/p/in/2.gif\t/p/in/2.gif.xmp',
      '',
    ]);
    expect(await folder.read()).toEqual(before);

    const first = await runTask(command);
    expect([first.stdout, first.tally.tagged, first.fault]).toEqual(['', 2, undefined]);
    expect(first.tally.summary()).toContain('2 with new keywords');
    expect(await subjectsIn(folder, 'p/1.gif.xmp')).toEqual(['cat']);
    expect(await subjectsIn(folder, 'p/in/2.gif.xmp')).toEqual(['sea', 'dog']);
    expect((await folder.read())['p/1.gif']).toBe(photos['p/1.gif']);
    expect((await runTask(command)).tally.tagged).toBe(0);

    const removing = [folder.at('p'), '--remove-keywords'];
    const dryRemoval = await runTask([...removing, '--dry-run'], { labels: [] });
    const removal = await runTask(removing, { labels: [] });
    expect(removal.stdout.replaceAll(folder.path, '')).toBe('cat\t/p/1.gif.xmp\ndog\t/p/in/2.gif.xmp\n');
    expect(dryRemoval.stdout).toBe(removal.stdout);
    expect(await folder.read()).toEqual(before);
    expect((await runTask(removing, { labels: [] })).stdout).toBe('');
  });

  test('are removed from the sidecar of a photo that is named', async () => {
    await using folder = await temporaryFolder();
    await folder.write(photos);
    await runTask([folder.at('p'), '--write-keywords']);
    await runTask([folder.at('p/1.gif'), '--remove-keywords'], { labels: [] });
    expect((await readdir(folder.at('p'))).toSorted()).toEqual(['1.gif', '3.gif', '3.gif.xmp', 'in']);
  });

  test('do not end a run where a sidecar is broken', async () => {
    await using folder = await temporaryFolder();
    await folder.write({ ...photos, 'p/1.gif.xmp': '<not closed>' });
    const { stderr, tally, fault } = await runTask([folder.at('p'), '--write-keywords']);
    expect(fault).toBeUndefined();
    expect(stderr).toContain(
      `1.gif: The sidecar ${folder.at('p/1.gif.xmp')} stays unchanged: It is not well-formed`,
    );
    expect([tally.faults, tally.tagged]).toEqual([1, 2]);
    expect(tally.summary()).toContain('1 sidecar that stays unchanged');
    expect(await Bun.file(folder.at('p/1.gif.xmp')).text()).toBe('<not closed>');
  });

  test('go along when the photo is sorted', async () => {
    await using folder = await temporaryFolder();
    await folder.write(photos);
    await runTask([folder.at('p'), '--write-keywords', '--move-to', folder.at('s')]);
    expect(await subjectsIn(folder, 's/cat/1.gif.xmp')).toEqual(['cat']);
    expect(await readdir(folder.at('p/in'))).toEqual([]);
  });
});
