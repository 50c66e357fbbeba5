import { describe, expect, test } from 'bun:test';
import { createTally } from '../../src/cli/tasks/task.ts';
import { createCommandTerminal } from '../../src/cli/terminal.ts';
import { UsageError } from '../../src/cli/usage-error.ts';
import { emptySubfolders, findLabelledFiles } from '../../src/evaluate/labelled-folder.ts';
import { type TemporaryFolder, temporaryFolder } from '../cli/temporary-folder.ts';

const { signal } = new AbortController();

interface Options {
  readonly categoriesFile?: string;
  readonly none?: string;
}

/** Lists the files of a folder, each as `category: path`. */
async function find(folder: TemporaryFolder, { categoriesFile, none }: Options = {}) {
  let notes = '';
  const stderr = {
    write(text: string) {
      notes += text;
      return true;
    },
  };
  const terminal = createCommandTerminal(stderr, stderr);
  const tally = createTally(terminal);
  const found = await findLabelledFiles(
    { folder: folder.at('sorted'), categoriesFile, none, maxCategories: 100 },
    { terminal, tally, signal },
  );
  const files = found.files.map(({ file, category }) => [category, file.path.slice(folder.path.length + 8)]);
  return { labels: found.categories.labels, files, notes, summary: tally.summary(), found };
}

const photos = (...paths: readonly string[]) =>
  Object.fromEntries(paths.map((path) => [`sorted/${path}`, 'x']));

describe('a labelled folder', () => {
  test('has one category for each subfolder, nested ones included', async () => {
    await using folder = await temporaryFolder();
    await folder.write(photos('golden_retriever/1.jpg', 'golden_retriever/old/2.jpg', 'sea--side/3.jpg'));
    expect(await find(folder)).toMatchObject({
      labels: ['golden retriever', 'sea side'],
      files: [
        ['golden retriever', 'golden_retriever/1.jpg'],
        ['golden retriever', 'golden_retriever/old/2.jpg'],
        ['sea side', 'sea--side/3.jpg'],
      ],
    });
  });

  test('may have photos of no category', async () => {
    await using folder = await temporaryFolder();
    await folder.write(photos('cat/1.jpg', 'None/2.jpg', 'other stuff/3.jpg'));
    expect((await find(folder)).files[0]).toEqual([null, 'None/2.jpg']);
    expect(await find(folder, { none: 'other_stuff' })).toMatchObject({
      labels: ['None', 'cat'],
      files: [
        ['None', 'None/2.jpg'],
        ['cat', 'cat/1.jpg'],
        [null, 'other stuff/3.jpg'],
      ],
    });
  });

  test('leaves out files that lie in no subfolder, and says so', async () => {
    await using folder = await temporaryFolder();
    await folder.write(photos('cat/1.jpg', 'a.jpg', 'b.jpg'));
    const { files, notes, summary } = await find(folder);
    expect(files).toEqual([['cat', 'cat/1.jpg']]);
    expect(notes).toContain('2 files lie in no subfolder and belong to no category; left out.');
    expect(summary).toContain('2 skipped: 2 unlabelled files');
  });

  test('counts a raw picture beside its JPEG once', async () => {
    await using folder = await temporaryFolder();
    await folder.write(photos('cat/1.jpg', 'cat/1.dng', 'cat/1.xmp'));
    expect((await find(folder)).files).toEqual([['cat', 'cat/1.jpg']]);
  });

  test('names subfolders without files', async () => {
    await using folder = await temporaryFolder();
    await folder.write({ ...photos('cat/1.jpg', 'dog/.hidden'), 'sorted/notes.txt': 'x' });
    const { found } = await find(folder);
    expect(await emptySubfolders(folder.at('sorted'), found)).toEqual(['dog']);
  });
});

describe('a file of categories', () => {
  test('is matched by name, and may list more', async () => {
    await using folder = await temporaryFolder();
    await folder.write({
      ...photos('golden_retriever/1.jpg', 'cat/2.jpg'),
      'categories.json': '["a fox", "Golden Retriever", "cat"]',
    });
    expect(await find(folder, { categoriesFile: folder.at('categories.json') })).toMatchObject({
      labels: ['a fox', 'Golden Retriever', 'cat'],
      files: [
        ['cat', 'cat/2.jpg'],
        ['Golden Retriever', 'golden_retriever/1.jpg'],
      ],
    });
  });

  test('keeps underscores and hyphens that it has', async () => {
    await using folder = await temporaryFolder();
    await folder.write({ ...photos('t-shirt/1.jpg'), 'categories.txt': 't-shirt\nhat' });
    const { files } = await find(folder, { categoriesFile: folder.at('categories.txt') });
    expect(files).toEqual([['t-shirt', 't-shirt/1.jpg']]);
  });

  test('may list a category of the name none', async () => {
    await using folder = await temporaryFolder();
    await folder.write({ ...photos('none/1.jpg'), 'categories.txt': 'none\nsome' });
    const { files } = await find(folder, { categoriesFile: folder.at('categories.txt') });
    expect(files).toEqual([['none', 'none/1.jpg']]);
  });

  test('must have a category for each subfolder', async () => {
    await using folder = await temporaryFolder();
    await folder.write({ ...photos('cat/1.jpg', 'dog/1.jpg', 'fox/1.jpg'), 'categories.txt': 'cat' });
    const file = folder.at('categories.txt');
    expect(find(folder, { categoriesFile: file })).rejects.toThrow(
      `${file} has no category for the subfolder "dog", and those of 1 more subfolders are missing. Add it`,
    );
  });
});

describe('what cannot be measured is refused', () => {
  test('a folder that does not exist, or is a file', async () => {
    await using folder = await temporaryFolder();
    expect(find(folder)).rejects.toThrow(
      `The folder ${folder.at('sorted')} cannot be read, because it does not exist.`,
    );
    await folder.write({ sorted: 'x' });
    expect(find(folder)).rejects.toThrow(`${folder.at('sorted')} is a file. Name a folder`);
  });

  test('a subfolder for no category that does not exist', async () => {
    await using folder = await temporaryFolder();
    await folder.write(photos('cat/1.jpg'));
    expect(find(folder, { none: 'rest' })).rejects.toThrow(
      new UsageError('--none "rest" is not the name of a subfolder with files.'),
    );
  });

  test('a name with control characters', async () => {
    await using folder = await temporaryFolder();
    await folder.write(photos('a\u0007b/1.jpg'));
    expect(find(folder)).rejects.toThrow('has a control character in label 1');
  });
});
