import { describe, expect, test } from 'bun:test';
import { readCategories } from '../../src/cli/categories-source.ts';
import { UsageError } from '../../src/cli/usage-error.ts';
import { temporaryFolder } from './temporary-folder.ts';

describe('categories', () => {
  test('come from a file, then one by one', async () => {
    await using folder = await temporaryFolder();
    await folder.write({ 'cats.json': '{"categories":["a","b"]}' });
    const { labels } = await readCategories({ file: folder.at('cats.json'), words: ['c, d', 'a'] }, 10);
    expect(labels).toEqual(['a', 'b', 'c, d']);
  });

  test('given one by one are taken as they are', async () => {
    const words = ['[1', '{', 'a;b', ' x '];
    expect((await readCategories({ file: undefined, words }, 10)).labels).toEqual(['[1', '{', 'a;b', 'x']);
  });

  test('are refused with the name of the file', async () => {
    await using folder = await temporaryFolder();
    await folder.write({ 'cats.json': '["a"' });
    const reading = readCategories({ file: folder.at('cats.json'), words: [] }, 10);
    expect(reading).rejects.toThrow(UsageError);
    expect(reading).rejects.toThrow(`${folder.at('cats.json')}: The categories document starts as JSON`);
    const missing = readCategories({ file: folder.at('none'), words: [] }, 10);
    expect(missing).rejects.toThrow('none cannot be read, because it does not exist.');
  });

  test('are not more than the limit, all together', async () => {
    await using folder = await temporaryFolder();
    await folder.write({ 'cats.txt': 'a\nb' });
    const reading = readCategories({ file: folder.at('cats.txt'), words: ['c'] }, 2);
    expect(reading).rejects.toThrow('3 categories came; at most 2 are accepted.');
  });
});
