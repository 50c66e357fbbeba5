import { describe, expect, test } from 'bun:test';
import { type Command, help, parseCommand, readCategories } from '../../src/cli/arguments.ts';
import { UsageError } from '../../src/cli/usage-error.ts';
import { temporaryFolder } from './temporary-folder.ts';

const parse = (line: string): Command => {
  const command = parseCommand(line.split(' '));
  if (command === 'help') throw new Error('help was not asked for');
  return command;
};

describe('a command', () => {
  test('has defaults for all but photos and categories', () => {
    expect(parse('photos a.jpg --categories cats.json')).toEqual({
      task: 'categorize',
      paths: ['photos', 'a.jpg'],
      categories: { file: 'cats.json', words: [] },
      question: { fit: 'crop', top_k: 5 },
      videoOptions: { thorough: false, moments: false },
      format: 'text',
      output: undefined,
      sorting: undefined,
      keywords: undefined,
      isDry: false,
      isListed: true,
      isConfirmed: false,
      search: { subject: '', limit: 20, minSimilarity: -1 },
      shard: { index: 0, count: 1 },
      partFormat: 'jsonl',
      index: { isUsed: true, file: undefined },
      server: undefined,
      isQuiet: false,
    });
  });

  test('takes options as requests do', () => {
    const argv = ['p', '--category', 'a,b', '--category', 'c', '--threshold', '.5', '--top-k', '3'];
    const command = parseCommand([...argv, '--template', 'a {}', '--template', '{}!']);
    expect(command).toMatchObject({
      categories: { file: undefined, words: ['a,b', 'c'] },
      question: { threshold: 0.5, top_k: 3, template: ['a {}', '{}!'] },
    });
  });

  test('takes a background for photos', () => {
    expect(parse('p --category c --background White').question.background).toBe('#ffffff');
    expect(parse('p --best --category c --background #fc0').question.background).toBe('#ffcc00');
    expect(() => parse('p --category c --background whitish')).toThrow('--background must be a colour');
    expect(() => parse('--video f.mp4 --category c --background white')).toThrow(
      '--background is for photos',
    );
  });

  test('knows what becomes of the answers', () => {
    expect(parse('p --category c --json --move-to d --dry-run')).toMatchObject({
      format: 'json',
      sorting: { directory: 'd', action: 'move', keepsFolders: false },
      isDry: true,
    });
    expect(parse('p --category c --csv --output o --copy-to d')).toMatchObject({
      format: 'csv',
      output: 'o',
      sorting: { directory: 'd', action: 'copy', keepsFolders: false },
      isDry: false,
    });
    expect(parse('p --category c --move-to d --keep-folders --no-list --yes')).toMatchObject({
      sorting: { keepsFolders: true },
      isListed: false,
      isConfirmed: true,
    });
    expect(parse('p --category c --write-keywords')).toMatchObject({ keywords: { naming: 'full' } });
    expect(parse('p --category c --write-keywords --sidecar-name stem --dry-run')).toMatchObject({
      keywords: { naming: 'stem' },
      isDry: true,
    });
  });

  test('may have no question', () => {
    expect(parse('p q --remove-keywords')).toMatchObject({ task: 'remove-keywords', paths: ['p', 'q'] });
    expect(parse('undo sorted/log.jsonl --dry-run')).toMatchObject({
      task: 'undo',
      paths: ['sorted/log.jsonl'],
      isDry: true,
    });
    // A folder may have that name.
    expect(parse('undo --category c')).toMatchObject({ task: 'categorize', paths: ['undo'] });
  });

  test('is about a video, or the best photos', () => {
    expect(parse('--video film.mp4 --category c')).toMatchObject({ task: 'video', paths: ['film.mp4'] });
    expect(parse('--video film.mp4 --category c --json --thorough --moments')).toMatchObject({
      videoOptions: { thorough: true, moments: true },
    });
    expect(parse('p --best --category c')).toMatchObject({ task: 'best', paths: ['p'] });
  });

  test('takes files whose names begin with a dash after two of them', () => {
    expect(parse('--category c -- -a.jpg --best')).toMatchObject({
      task: 'categorize',
      paths: ['-a.jpg', '--best'],
    });
  });

  test('may be about a whole folder', () => {
    expect(parse('search --top-k 3 snow photos a.jpg')).toMatchObject({
      task: 'search',
      paths: ['photos', 'a.jpg'],
      search: { subject: 'snow', limit: 3, minSimilarity: -1 },
    });
    expect(parse('similar a.jpg photos --min-similarity .5')).toMatchObject({
      task: 'similar',
      paths: ['photos'],
      search: { subject: 'a.jpg', limit: 20, minSimilarity: 0.5 },
    });
    expect(parse('duplicates photos --json')).toMatchObject({
      task: 'duplicates',
      paths: ['photos'],
      search: { minSimilarity: 0.98 },
    });
    expect(parse('./search --category c')).toMatchObject({ task: 'categorize', paths: ['./search'] });
  });

  test('uses an index', () => {
    expect(parse('p --category c --index i')).toMatchObject({ index: { isUsed: true, file: 'i' } });
    expect(parse('p --category c --no-index')).toMatchObject({ index: { isUsed: false } });
  });

  test('names a server', () => {
    const { server } = parse('p --category c --server https://example.org/clip');
    expect(server?.href).toBe('https://example.org/clip');
  });

  test('is about shards if it says so, or if its photos or answers are elsewhere', () => {
    const command = parse('/p --category c --shard 3/10 --output out --parquet');
    expect(command).toMatchObject({
      task: 'shard',
      shard: { index: 3, count: 10 },
      partFormat: 'parquet',
      index: { isUsed: false },
    });
    for (const text of [
      's3://b/p',
      'a.tar',
      'p x.TGZ',
      'p --output s3://b/a.jsonl',
      'p --output a.parquet',
    ]) {
      const { task, shard } = parse(`${text} --category c`);
      expect({ task, shard }).toEqual({ task: 'shard', shard: { index: 0, count: 1 } });
    }
    expect(parse('merge out s3://b/out/ --output all.jsonl')).toMatchObject({
      task: 'merge',
      paths: ['out', 's3://b/out/'],
    });
  });

  test.each([
    [
      's3://b/p --category c --move-to d',
      '--move-to cannot be combined with photos in object storage, which',
    ],
    [
      'a.tar --category c --write-keywords',
      '--write-keywords cannot be combined with photos in tar files, which',
    ],
    ['p --category c --shard 0/2 --output o --best', '--best cannot be combined with --shard, which'],
    ['p --category c --output o.parquet --copy-to d', '--copy-to cannot be combined with Parquet, which'],
    ['p --category c --shard 0/2', '--shard needs --output FOLDER'],
    ['p --category c --shard 2/2 --output o', '--shard "2/2" must be I/N'],
    [
      'a.tar --category c --csv --output o.jsonl',
      'With photos in tar files, --output is JSON lines or Parquet',
    ],
    [
      'search words s3://b/p',
      'search cannot be combined with photos in object storage; it needs photos in files',
    ],
    ['duplicates a.tar', 'duplicates cannot be combined with photos in tar files'],
    ['merge', 'merge needs the folder of the parts'],
    ['merge out', 'merge needs --output FILE'],
    ['merge out --output all.jsonl --json', '--json cannot be combined with merge.'],
  ])('%s is refused', (text, sentence) => {
    expect(() => parse(text)).toThrow(sentence);
  });

  test('has a help of lines that fit into a terminal', () => {
    const long = help.split('\n').filter((line) => line.length > 80);
    expect(long).toEqual([]);
  });

  test('may be for help, whatever else is wrong', () => {
    expect(parseCommand(['--help'])).toBe('help');
    expect(parseCommand(['-h', '--threshold', 'x'])).toBe('help');
  });
});

describe('a command is refused', () => {
  const refused: readonly [line: string, sentence: string][] = [
    ['p', 'No categories given'],
    ['search', 'search needs the words to search for and a folder'],
    ['search snow', 'search needs photos or a folder'],
    ['similar', 'similar needs a photo and a folder'],
    ['duplicates', 'duplicates needs photos or a folder'],
    ['search snow p --category c', '--category cannot be combined with search. If a folder has that name'],
    ['duplicates p --top-k 3', '--top-k cannot be combined with duplicates'],
    ['similar a p --template {}', '--template cannot be combined with similar'],
    ['duplicates p --move-to d', '--move-to cannot be combined with duplicates'],
    ['duplicates p --min-similarity 2', '--min-similarity must be a number from -1 to 1.'],
    ['p --category c --min-similarity .5', '--min-similarity needs search, similar or duplicates.'],
    ['p --category c --index i --no-index', '--index and --no-index cannot be combined.'],
    ['--category c', 'No photos given'],
    ['p --category c --jason', "Unknown option '--jason'"],
    ['p --category c --threshold 2', '--threshold must be a number from 0 to 1'],
    ['p --category c --threshold 0.1 --threshold 0.2', '--threshold is given 2 times'],
    [
      'p --category c --several --move-to d',
      '--several cannot be combined with --move-to, because a photo can be',
    ],
    ['p --category c --several --best', '--several cannot be combined with --best or --video; use --others'],
    ['--video v --category c --several', '--several cannot be combined with --best or --video'],
    ['search a p --others', '--others cannot be combined with search'],
    ['p --category c --template photograph --top-k 0', '--template must hold {} exactly once'],
    ['p --category c --template photo --top-k 0', '--top-k must be at least 1'],
    ['p --category c --json --csv', '--json and --csv cannot be combined'],
    ['p --category c --move-to a --copy-to b', '--move-to and --copy-to cannot be combined'],
    ['p --category c --move-to a --move-to b', '--move-to is given 2 times'],
    ['p --category c --dry-run', '--dry-run needs --move-to, --copy-to or --write-keywords'],
    ['p --category c --keep-folders', '--keep-folders needs --move-to or --copy-to'],
    ['p --category c --best --write-keywords', '--write-keywords cannot be combined with --best or --video'],
    ['p --category c --sidecar-name stem', '--sidecar-name needs --write-keywords'],
    ['p --category c --write-keywords --sidecar-name x', '--sidecar-name must be "full" or "stem"'],
    ['p --category c --no-list', '--no-list needs --move-to, --copy-to or --write-keywords'],
    ['p --category c --copy-to d --no-list --output o', '--no-list cannot be combined with'],
    ['p --category c --remove-keywords', '--remove-keywords takes photos and --dry-run only'],
    ['p --remove-keywords --output o', '--output needs categories'],
    ['--remove-keywords', 'No photos given'],
    ['undo', 'undo takes one file, the log of a move'],
    ['undo a b', 'undo takes one file, the log of a move'],
    ['p --category c --dry-run --copy-to a --output o', '--dry-run cannot be combined with --output'],
    ['p --category c --best --move-to a', '--best cannot be combined with --move-to'],
    ['--video v --category c --move-to a', '--video cannot be combined with --move-to'],
    ['--video v --category c --copy-to a --dry-run', '--dry-run cannot be combined with --video'],
    ['--video v --category c --best', '--video cannot be combined with --best'],
    ['p --video v --category c', '--video cannot be combined with photos; run it separately.'],
    ['p --category c --thorough', '--thorough needs --video'],
    ['--video v --category c --moments', '--moments needs --video and --json'],
    ['p --category c --json --moments', '--moments needs --video and --json'],
    ['p --category c --server localhost:8080', '"localhost:8080" is not an http or https URL'],
    ['p --category c --output ', '--output is empty'],
  ];
  for (const [line, sentence] of refused) {
    test(`${line}: ${sentence}`, () => {
      expect(() => parse(line)).toThrow(UsageError);
      expect(() => parse(line)).toThrow(sentence);
    });
  }
});

describe('categories', () => {
  test('come from a file, then one by one', async () => {
    await using folder = await temporaryFolder();
    await folder.write({ 'cats.json': '{"categories":["a","b"]}' });
    const { labels } = await readCategories({ file: folder.at('cats.json'), words: ['c, d', 'a'] }, 10);
    expect(labels).toEqual(['a', 'b', 'c, d']);
  });

  test('of a file may have phrases, which those given one by one do not have', async () => {
    await using folder = await temporaryFolder();
    await folder.write({ 'cats.json': '{"categories":{"10":["a dog","a puppy"],"b":"b"}}' });
    const read = (words: readonly string[], most = 10) =>
      readCategories({ file: folder.at('cats.json'), words }, most);
    expect(await read([' c ', 'b'])).toEqual({
      labels: ['10', 'b', 'c'],
      phrases: [['a dog', 'a puppy'], ['b'], ['c']],
    });
    expect((await read([])).labels).toEqual(['10', 'b']);
    expect(read(['c'], 2)).rejects.toThrow('3 categories came; at most 2 are accepted.');
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
