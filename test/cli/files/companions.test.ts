import { describe, expect, test } from 'bun:test';
import { createCompanions, ownersIn, renamedWith } from '../../../src/cli/files/companions.ts';
import { temporaryFolder } from '../temporary-folder.ts';

describe('the companions of a photo', () => {
  const folders: readonly [what: string, names: string[], owners: Record<string, string>][] = [
    ['sidecars of both names', ['a.jpg', 'a.jpg.xmp', 'a.xmp', 'a.AAE', 'a.jpg.pp3'], { 'a.jpg': '4' }],
    ['the video of a live photo', ['IMG_8.HEIC', 'IMG_8.MOV'], { 'IMG_8.HEIC': '1' }],
    ['a raw picture and its sidecar', ['a.JPG', 'a.CR2', 'a.CR2.xmp', 'a.xmp'], { 'a.JPG': '3' }],
    ['a second edit of darktable', ['a.jpg', 'a_01.jpg.xmp', 'a.jpg.xmp'], { 'a.jpg': '2' }],
    ['descriptions of Google', ['a.jpg', 'a.jpg.json', 'a.jpg.supplemental-metadata.json'], { 'a.jpg': '2' }],
    [
      'of the preferred photo of a stem',
      ['a.png', 'a.jpg', 'a.mov', 'a.png.xmp'],
      { 'a.jpg': '1', 'a.png': '1' },
    ],
    ['whatever the case of letters', ['A.JPG', 'a.xmp', 'a.jpg.XMP'], { 'A.JPG': '2' }],
    [
      'not files of other photos',
      ['a.jpg', 'ab.xmp', 'a (2).xmp', 'a.txt', 'a.png.xmp', 'b.mov', 'a.json'],
      {},
    ],
    ['not a video beside a drawing', ['a.png', 'a.mp4'], {}],
    ['not hidden files', ['a.jpg', '._a.jpg', '.a.xmp'], {}],
    ['sidecars of raw pictures alone', ['a.cr2', 'a.xmp'], { 'a.cr2': '1' }],
  ];
  for (const [what, names, expected] of folders) {
    test(`are ${what}`, () => {
      const counts: Record<string, number> = {};
      for (const owner of ownersIn(names).values()) counts[owner] = (counts[owner] ?? 0) + 1;
      expect(Object.entries(counts).map(([name, number]) => [name, String(number)])).toEqual(
        Object.entries(expected),
      );
    });
  }

  test('get the new stem of a photo that is renamed', () => {
    expect(renamedWith('a.jpg.xmp', 'a.jpg', 'a (2).jpg')).toBe('a (2).jpg.xmp');
    expect(renamedWith('A.MOV', 'a.jpg', 'a (2).jpg')).toBe('a (2).MOV');
    expect(renamedWith('a_01.jpg.xmp', 'a.jpg', 'a (2).jpg')).toBe('a (2)_01.jpg.xmp');
  });

  test('are found where this run has made them', async () => {
    await using folder = await temporaryFolder();
    await folder.write({ 'a.jpg': '', 'a.aae': '' });
    const companions = createCompanions();
    expect(await companions.of(folder.at('a.jpg'))).toEqual([folder.at('a.aae')]);
    companions.made(folder.at('a.xmp'), folder.at('a.jpg'));
    expect(await companions.of(folder.at('a.jpg'))).toEqual([folder.at('a.aae'), folder.at('a.xmp')]);
    expect(await companions.ownerOf(folder.at('a.xmp'))).toBe(folder.at('a.jpg'));
  });
});
