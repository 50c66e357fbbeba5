import { describe, expect, test } from 'bun:test';
import { acceptedFiles, countsByKind, fileKind, sortFound } from '../../src/page/intake/found-files.ts';
import { createPhotoList } from '../../src/page/intake/photo-list.ts';

const found = (name: string, content = 'x', lastModified = 1) => ({
  file: new File([content], name, { lastModified }),
  path: name,
  inFolder: false,
});

describe('a dropped file', () => {
  test.each<[string, string, ReturnType<typeof fileKind>]>([
    ['a.JPG', '', 'photo'],
    ['a.webp', 'image/webp', 'photo'],
    ['scan', 'image/png', 'photo'],
    ['a.heic', '', 'photo'],
    ['a.HIF', '', 'photo'],
    ['a.jxl', '', 'other'],
    ['a.heic', 'image/heic', 'photo'],
    ['a.tif', '', 'photo'],
    ['a.DNG', '', 'photo'],
    ['a.nef', 'application/octet-stream', 'photo'],
    ['film.MP4', 'video/mp4', 'video'],
    ['film.mkv', '', 'video'],
    ['clip', 'video/webm', 'video'],
    ['cats.json', 'application/json', 'categories'],
    ['cats.csv', 'application/vnd.ms-excel', 'categories'],
    ['cats.txt', 'text/plain', 'categories'],
    ['letter.pdf', 'application/pdf', 'other'],
    ['Thumbs.db', '', 'other'],
  ])('%s of the type %j is taken for a %s', (name, type, kind) => {
    expect(fileKind({ name, type })).toBe(kind);
  });
});

test('the file chooser offers what the service accepts, and nothing else', () => {
  const offered = acceptedFiles.split(',');
  for (const kind of ['.jpg', 'image/jpeg', '.avif', '.heic', '.mkv', 'video/mp4', '.json'])
    expect(offered).toContain(kind);
  expect(offered.filter((kind) => /jxl|\*/.test(kind))).toEqual([]);
});

describe('of what is dropped at once', () => {
  const inFolder = (name: string) => ({ ...found(name), path: `f/${name}`, inFolder: true });

  test('no file of a folder is left out without its name and a reason', () => {
    const names = ['a.jpg', 'b.X3F', 'c.jxl', 'd.mov', 'e.wmv', 'f.xmp', 'cats.json'];
    const { photos, video, unused } = sortFound({
      files: names.map(inFolder),
      unreadable: ['f/gone.jpg'],
    });
    expect(photos.map(({ path }) => path)).toEqual(['f/a.jpg']);
    expect(video).toBeUndefined();
    expect(unused.map(({ path, reason }) => `${path}: ${reason}`)).toEqual([
      'f/gone.jpg: The browser cannot read it.',
      'f/b.X3F: Camera raw pictures are not accepted.',
      'f/c.jxl: JPEG XL pictures are not accepted.',
      'f/e.wmv: WMV videos are not accepted.',
      'f/f.xmp: It is neither a picture nor a video.',
      'f/cats.json: It is neither a picture nor a video.',
      'f/d.mov: Videos in a folder with photos are not searched; choose it on its own.',
    ]);
    expect(countsByKind(unused)[0]).toEqual(['other file', 2]);
  });

  test('one video is searched, and what is chosen on its own is always used', () => {
    const { photos, video, documents, unused } = sortFound({
      files: ['a.mp4', 'b.nef', 'c.wmv', 'cats.csv'].map((name) => found(name)),
      unreadable: [],
    });
    expect(photos.map(({ path }) => path)).toEqual(['b.nef']);
    expect(video?.name).toBe('c.wmv');
    expect(documents.map(({ name }) => name)).toEqual(['cats.csv']);
    expect(unused).toEqual([
      { path: 'a.mp4', reason: 'Only one video at a time is searched.', what: 'video' },
    ]);
  });
});

describe('the list of photos', () => {
  test('keeps the order, and a file that is dropped again only once', async () => {
    const list = createPhotoList();
    expect(await list.add([found('a.jpg'), found('b.jpg')])).toBe(2);
    expect(await list.add([found('b.jpg'), found('c.jpg')])).toBe(1);
    expect(list.all.map(({ path }) => path)).toEqual(['a.jpg', 'b.jpg', 'c.jpg']);
    expect(new Set(list.all.map(({ id }) => id)).size).toBe(3);
  });

  test('tells files of the same name apart by folder, size and date', async () => {
    const list = createPhotoList();
    const other = { ...found('a.jpg'), path: 'holiday/a.jpg' };
    const files = [found('a.jpg'), found('a.jpg', 'xy'), found('a.jpg', 'x', 2), other];
    expect(await list.add(files)).toBe(4);
    expect(list.all.map(({ bytes }) => bytes)).toEqual([1, 2, 1, 1]);
  });

  test('asks the browser for each size once', async () => {
    let asked = 0;
    const files = Array.from({ length: 10 }, (_, index) => {
      const one = found(`${index}.jpg`);
      Object.defineProperty(one.file, 'size', { get: () => ++asked });
      return one;
    });
    const list = createPhotoList();
    await list.add(files);
    list.all.reduce((sum, { bytes }) => sum + bytes, 0);
    expect(asked).toBe(10);
  });

  test('rests in between, and takes nothing more once it was cleared', async () => {
    const list = createPhotoList();
    const slow = Array.from({ length: 5 }, (_, index) => {
      const one = found(`${index}.jpg`);
      Object.defineProperty(one.file, 'size', {
        get() {
          Bun.sleepSync(40);
          return 1;
        },
      });
      return one;
    });
    const counts: number[] = [];
    const added = await list.add(slow, () => {
      counts.push(list.all.length);
      if (counts.length === 3) list.clear();
    });
    expect(counts).toEqual([1, 2, 3]);
    expect(added).toBe(3);
    expect(list.all).toEqual([]);
  });

  test('is empty again after it was cleared, and takes the same files anew', async () => {
    const list = createPhotoList();
    await list.add([found('a.jpg')]);
    list.clear();
    expect(list.all).toEqual([]);
    expect(await list.add([found('a.jpg')])).toBe(1);
  });
});
