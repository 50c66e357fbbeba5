import { describe, expect, test } from 'bun:test';
import { truncate } from 'node:fs/promises';
import { readPicture } from '../../../src/cli/files/read-picture.ts';
import { colourPicture } from '../../fixtures/colour-pictures.ts';
import { pictureOf } from '../fake-classifier.ts';
import { temporaryFolder } from '../temporary-folder.ts';

const maxBytes = 1_000_000;

async function readAs(name: string, content: string | Uint8Array, isNamed = false) {
  await using folder = await temporaryFolder();
  await folder.write({ [name]: content });
  return await readPicture({ path: folder.at(name), isNamed }, maxBytes);
}

describe('a picture is read', () => {
  test('whole, whatever its name', async () => {
    const jpeg = await colourPicture([200, 30, 30]);
    expect(jpeg.length).toBeGreaterThan(4096);
    expect(await readAs('notes.txt', jpeg)).toEqual({ kind: 'picture', bytes: Buffer.from(jpeg) });
  });

  test('where it is shorter than what is looked at first', async () => {
    const read = await readAs('tiny', pictureOf('x'));
    expect(read).toEqual({ kind: 'picture', bytes: Buffer.from(pictureOf('x')) });
  });
});

describe('what is no picture', () => {
  test('is skipped where it lies in a folder', async () => {
    expect(await readAs('notes.txt', 'hello')).toEqual({ kind: 'skipped', what: 'text' });
    expect(await readAs('photo.jxl', '\0\0\0\x0cJXL \r\n')).toEqual({
      kind: 'skipped',
      what: 'a JPEG XL picture',
    });
    expect(await readAs('empty', '')).toMatchObject({ kind: 'skipped' });
  });

  test('is broken where the person named it', async () => {
    const read = await readAs('notes.txt', 'hello', true);
    expect(read).toMatchObject({ kind: 'broken', code: 'image_unsupported' });
    expect(read.kind === 'broken' && read.error).toStartWith('The file is text; JPEG, ');
  });

  test('is broken where it calls itself a picture', async () => {
    expect(await readAs('a.JPEG', 'hello')).toMatchObject({ kind: 'broken', code: 'image_unsupported' });
    expect(await readAs('a.png', '')).toMatchObject({ kind: 'broken', code: 'image_empty' });
  });
});

describe('a file is broken', () => {
  test('that has too many bytes, which are not read', async () => {
    await using folder = await temporaryFolder();
    await folder.write({ 'large.gif': pictureOf('x') });
    // A sparse file uses no space.
    await truncate(folder.at('large.gif'), 2 ** 40);
    const read = await readPicture({ path: folder.at('large.gif'), isNamed: false }, maxBytes);
    expect(read).toMatchObject({ kind: 'broken', code: 'image_too_large' });
  });

  test('that has gone meanwhile', async () => {
    const read = await readPicture({ path: '/nowhere/photo.jpg', isNamed: false }, maxBytes);
    expect(read).toEqual({
      kind: 'broken',
      code: 'file_unreadable',
      error: 'It cannot be read, because it does not exist.',
    });
  });

  test('that is a pipe, which nobody waits at', async () => {
    await using folder = await temporaryFolder();
    Bun.spawnSync(['mkfifo', folder.at('pipe')]);
    const read = await readPicture({ path: folder.at('pipe'), isNamed: true }, maxBytes);
    expect(read).toMatchObject({ kind: 'broken', code: 'file_unreadable' });
  });
});
