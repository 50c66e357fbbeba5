import { Database } from 'bun:sqlite';
import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { readdir, rename, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { claimFile, claimFolder } from '../../src/cli/output/claim.ts';
import { type Colour, colourPicture } from '../fixtures/colour-pictures.ts';
import { crashDecoders, slowTiff } from '../fixtures/crashing-decoders.ts';
import { makeVideo } from '../fixtures/videos.ts';
import { tiff } from '../media/sample-pictures.ts';
import { type Service, startService } from '../service/service.ts';
import { type CommandResult, startCommand } from './command.ts';
import { readPhotos } from './sorting/sorting.ts';
import { type TemporaryFolder, temporaryFolder } from './temporary-folder.ts';

const colours: Readonly<Record<string, Colour>> = {
  red: [205, 25, 35],
  green: [40, 150, 50],
  blue: [35, 70, 200],
};
const names = Object.keys(colours);
const labels = ['something red', 'a green thing', 'blue'];
const categories = labels.flatMap((label) => ['--category', label]);

let cache: TemporaryFolder;
let pictures: readonly Uint8Array[];

beforeAll(async () => {
  cache = await temporaryFolder();
  pictures = await Promise.all(names.map((name) => colourPicture(colours[name] as Colour, 'jpeg', 320, 240)));
  // Compiles the model, so that each test finds it.
  await using folder = await photos(1);
  expect((await run([folder.path, ...categories])).code).toBe(0);
});

afterAll(() => cache[Symbol.asyncDispose]());

const run = (argv: readonly string[], environment: Record<string, string> = {}): Promise<CommandResult> =>
  startCommand(cache.path, argv, environment).result;

const truncated = () => pictures[0]?.subarray(0, pictures[0].length / 2) ?? '';

/** Writes photos into ten albums; the same file names occur in several albums. */
async function photos(count: number): Promise<TemporaryFolder> {
  const folder = await temporaryFolder();
  for (let index = 0; index < count; index++) {
    const name = `p/album ${index % 10}/${Math.floor(index / 10) % 5}.jpg`;
    const copy = Math.floor(index / 50);
    await folder.write({
      [copy === 0 ? name : name.replace('.jpg', `-${copy}.jpg`)]: pictures[(index * 7) % 3] ?? '',
    });
  }
  return folder;
}

/** Resolves when a file has at least this many bytes. */
async function untilWritten(path: string, bytes: number): Promise<void> {
  while (((await stat(path).catch(() => undefined))?.size ?? 0) < bytes) await Bun.sleep(2);
}

async function countFiles(path: string): Promise<number> {
  return (await readdir(path, { recursive: true }).catch(() => [])).filter((name) => name.endsWith('.jpg'))
    .length;
}

describe('the command', () => {
  test('sorts photos, and prints only the answers to standard output', async () => {
    await using folder = await photos(6);
    const { code, stdout, stderr } = await run([folder.path, ...categories, '--csv']);
    const lines = stdout
      .trim()
      .split('\n')
      .map((line) => line.split(',').slice(0, 2));
    expect(lines).toEqual([
      ['file', 'category'],
      ...[0, 1, 2, 3, 4, 5].map((index) => [
        folder.at(`p/album ${index}/0.jpg`),
        labels[(index * 7) % 3] ?? '',
      ]),
    ]);
    expect(stderr).toContain('NOT CLIP: the demo model answers.');
    expect(stderr).toContain('6 answered in ');
    expect(code).toBe(0);
  });

  test('finds the best photos', async () => {
    await using folder = await photos(3);
    const { code, stdout } = await run([folder.path, ...categories, '--best', '--quiet']);
    expect(stdout).toBe(
      [0, 1, 2].map((index) => `${labels[index]}\t${folder.at(`p/album ${index}/0.jpg`)}\n`).join(''),
    );
    expect(code).toBe(0);
  });

  test('finds when each category fits in a video', async () => {
    const { path, scenes } = makeVideo({
      scenes: [
        { colour: 'red', seconds: 1 },
        { colour: 'blue', seconds: 1 },
        { colour: 'red', seconds: 1 },
      ],
    });
    const argv = ['--video', path, ...categories, '--json', '--thorough', '--moments', '--quiet'];
    const { code, stdout } = await run(argv);
    expect(code).toBe(0);
    const [red] = stdout.split('\n').map((line) => (line === '' ? undefined : JSON.parse(line)));
    const starts: number[] = red.moments.map(({ start }: { start: number }) => start).toSorted();
    expect(starts).toEqual([expect.closeTo(0, 1), expect.closeTo(scenes[2]?.start ?? Number.NaN, 1)]);
  });

  test('ends with 1 if a file is broken, and names it', async () => {
    await using folder = await photos(2);
    const cut = folder.at('p/cut.jpg');
    await folder.write({ 'p/cut.jpg': truncated() });
    const { code, stdout, stderr } = await run([folder.path, ...categories, '--quiet']);
    expect(stdout.split('\n').length).toBe(3);
    expect(stderr).toContain(`${cut}: The JPEG picture is truncated: `);
    expect(code).toBe(1);
  });

  test('ends with 1 for a video in a folder or named, and with 0 for what is left out on purpose', async () => {
    await using folder = await photos(1);
    await folder.write({ 'p/.trash/1.jpg': truncated(), 'v/film.mp4': '\0\0\0\x14ftypisom\0\0\0\0' });
    const [hidden, found, named] = await Promise.all([
      run([folder.at('p'), ...categories, '--quiet']),
      run([folder.path, ...categories, '--quiet']),
      run([folder.at('v/film.mp4'), ...categories, '--quiet']),
    ]);
    expect([hidden.code, found.code, named.code]).toEqual([0, 1, 1]);
    expect(hidden.stderr).toContain(`${folder.at('p/.trash')}: 1 picture or video in it left out`);
    for (const { stderr } of [found, named]) {
      expect(stderr).toContain(`${folder.at('v/film.mp4')}: The file is an MP4 video`);
    }
  });

  test('writes keywords and removes them, and needs no model for that', async () => {
    await using folder = await photos(2);
    const before = await folder.read();
    const written = await run([folder.path, ...categories, '--write-keywords', '--no-list', '--quiet']);
    expect([written.code, written.stdout]).toEqual([0, '']);
    expect(Object.keys(await folder.read())).toHaveLength(4);
    const removal = [folder.path, '--remove-keywords'];
    const dry = await run([...removal, '--dry-run'], { CLIP_MODEL: '/nowhere' });
    expect([dry.code, dry.stderr]).toEqual([0, expect.stringMatching(/^2 sidecars would change in /)]);
    const removed = await run(removal, { CLIP_MODEL: '/nowhere' });
    expect([removed.code, removed.stdout]).toEqual([0, dry.stdout]);
    expect(removed.stderr).toMatch(/^2 sidecars changed in /);
    expect(await folder.read()).toEqual(before);
  });

  test('ends with 2 for one category that would move everything', async () => {
    await using folder = await photos(1);
    const move = [folder.at('p'), '--category', 'red', '--move-to', folder.at('sorted')];
    const refused = await run(move);
    expect([refused.code, refused.stdout]).toEqual([2, '']);
    expect(refused.stderr).toContain('it fits every photo at 100 %');
    expect((await run([...move, '--yes', '--quiet'])).code).toBe(0);
  });

  test('ends with 2 for wrong options, and for wrong settings', async () => {
    const [options, settings] = await Promise.all([
      run(['/tmp', '--category', 'c', '--jason']),
      run(['/tmp', '--category', 'c'], { THREADS: 'many' }),
    ]);
    expect([options.code, options.stdout, settings.code, settings.stdout]).toEqual([2, '', 2, '']);
    expect(options.stderr).toContain("Unknown option '--jason'");
    expect(settings.stderr).toContain('THREADS="many" must be a whole number');
  });

  test.if(process.platform === 'linux')(
    'finishes a folder in which a picture ends its decoder, and names it',
    async () => {
      await using folder = await photos(3);
      await folder.write({
        'p/a fatal.tif': await slowTiff(0),
        'p/album 1/fatal.tif': await slowTiff(1),
        'p/sound.tif': Uint8Array.from(await tiff(61, 47)),
      });
      using _crashes = crashDecoders(process.pid);
      const { code, stdout, stderr } = await run([folder.path, ...categories, '--json']);
      const records = stdout
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line) as { file: string; category?: string; code?: string });
      expect(records.filter(({ category }) => category !== undefined)).toHaveLength(4);
      const fatal = records.filter((record) => record.code === 'image_broken').map(({ file }) => file);
      expect(fatal.sort()).toEqual([folder.at('p/a fatal.tif'), folder.at('p/album 1/fatal.tif')]);
      expect(stderr).toContain('The TIFF picture crashed its decoder');
      expect(code).toBe(1);
    },
  );

  test('ends with 2 for a model that is not there, and for a label that is too long', async () => {
    await using folder = await photos(1);
    const missing = await run([folder.path, ...categories], { CLIP_MODEL: '/nowhere/model.pt' });
    expect([missing.code, missing.stdout]).toEqual([2, '']);
    expect(missing.stderr).toContain('/nowhere/model.pt');
    const long = await run([folder.path, '--category', 'red '.repeat(100)]);
    expect([long.code, long.stdout]).toEqual([2, '']);
    expect(long.stderr).toContain('tokens');
  });

  test('ends with 2 where another run writes the output, or sorts into the folder', async () => {
    await using folder = await photos(1);
    const argv = [folder.at('p'), ...categories];
    await using _file = (await claimFile(folder.at('out'))).file;
    await using _folder = await claimFolder(folder.at('sorted'));
    const [output, best, sorting] = await Promise.all([
      run([...argv, '--json', '--output', folder.at('out')]),
      run([...argv, '--best', '--output', folder.at('out')]),
      run([...argv, '--move-to', folder.at('sorted')]),
    ]);
    for (const { code, stdout, stderr } of [output, best]) {
      expect([code, stdout]).toEqual([2, '']);
      expect(stderr).toContain(`${folder.at('out')} is being written by another run.`);
    }
    expect([sorting.code, sorting.stdout]).toEqual([2, '']);
    expect(sorting.stderr).toContain(`Another run is putting files into ${folder.at('sorted')}.`);
    expect(await countFiles(folder.at('p'))).toBe(1);
  });

  test('never prints control characters to a terminal', async () => {
    await using folder = await photos(1);
    const evil = 'a\u001b[2J\u009b5m\u202egpj\u2028.jpg';
    await folder.write({ [`p/${evil}`]: truncated() });
    const shown = 'a\\u001b[2J\\u009b5m\\u202egpj\\u2028.jpg';
    const results = await Promise.all([
      run([folder.path, ...categories]),
      run([folder.path, ...categories, '--json']),
      run([folder.path, '--category', evil, '--category', 'b', '--best']),
      run([folder.path, '--category', 'c', `--${evil}`]),
      run([folder.path, '--categories', evil]),
      run([folder.path, ...categories, '--server', evil]),
      run([`${folder.path}/${evil}/${evil}`, ...categories]),
      run([folder.path, ...categories, '--output', `${folder.path}/none/${evil}`]),
      run([folder.path, ...categories], { CLIP_MODEL: evil }),
      run([folder.path, ...categories], { THREADS: evil }),
    ]);
    for (const { stdout, stderr } of results) {
      expect(stdout + stderr).not.toMatch(/(?!\n|\t)[\p{Cc}\u2028\u2029\u202a-\u202e\u2066-\u2069]/u);
      expect((stdout + stderr).replaceAll('\\\\', '\\')).toContain(shown);
    }
  });

  test('explains itself', async () => {
    const { code, stdout, stderr } = await run(['--help']);
    expect([code, stderr]).toEqual([0, '']);
    expect(stdout).toContain('bun run classify PHOTOS… --categories cats.json');
    expect(Math.max(...stdout.split('\n').map((line) => line.length))).toBeLessThanOrEqual(80);
  });

  test('ends quietly when standard output is closed', async () => {
    await using folder = await photos(100);
    const script = `"${process.execPath}" src/cli/main.ts "$1" --category red --category blue --json --no-index | head -n 1`;
    const shell = Bun.spawn(['sh', '-c', script, 'sh', folder.path], {
      cwd: join(import.meta.dir, '../..'),
      env: { PATH: process.env.PATH, TMPDIR: process.env.TMPDIR, CLIP_MODEL: 'demo', CLIP_CACHE: cache.path },
      stderr: 'pipe',
    });
    const [stdout, stderr] = await Promise.all([shell.stdout.text(), shell.stderr.text()]);
    expect(stdout.split('\n').length).toBe(2);
    expect(stderr).toBe('NOT CLIP: the demo model answers. It only knows colours and brightness.\n');
  });
});

describe('files, killed halfway and continued, are answered as in one go', () => {
  /** Several batches, and names that occur in several albums. */
  const COUNT = 100;
  let whole: string;

  beforeAll(async () => {
    await using folder = await photos(COUNT);
    const { code } = await run([folder.at('p'), ...categories, '--json', '--output', folder.at('out')]);
    expect(code).toBe(0);
    whole = (await Bun.file(folder.at('out')).text()).replaceAll(folder.path, '');
    expect(whole.split('\n').length).toBe(COUNT + 1);
  });

  for (const [signal, code] of [
    ['SIGINT', 130],
    ['SIGKILL', 137],
  ] as const) {
    test(`by ${signal}`, async () => {
      await using folder = await photos(COUNT);
      const argv = [folder.at('p'), ...categories, '--json', '--output', folder.at('out'), '--no-index'];
      const written = async () => (await Bun.file(folder.at('out')).text()).replaceAll(folder.path, '');
      for (;;) {
        await folder.write({ out: '' });
        const running = startCommand(cache.path, argv);
        await untilWritten(folder.at('out'), 1);
        running.kill(signal);
        // Twice, as the terminal and `bun run` both send it.
        running.kill(signal);
        const killed = await running.result;
        // The run may have ended before the signal arrived.
        if (killed.code === 0 || (await written()) === whole) continue;
        expect(killed.code).toBe(code);
        if (signal === 'SIGINT') {
          expect(killed.stderr).toMatch(
            /^Interrupted: \d+ answered .* Run the same command again to continue\.$/m,
          );
        }
        break;
      }
      expect((await written()).length).toBeLessThan(whole.length);
      expect((await run(argv)).code).toBe(0);
      expect(await written()).toBe(whole);
    });
  }

  test('and moved, killed again and again', async () => {
    await using once = await photos(COUNT);
    await using often = await photos(COUNT);
    const argv = (folder: TemporaryFolder) => [
      folder.at('p'),
      ...categories,
      '--move-to',
      folder.at('sorted'),
      '--no-index',
    ];
    expect((await run(argv(once))).code).toBe(0);
    const sorted = await readPhotos(once);
    expect(Object.keys(sorted).length).toBe(COUNT);
    expect(Object.keys(sorted).every((name) => name.startsWith('sorted/'))).toBe(true);

    for (const target of [20, 60]) {
      const killed = startCommand(cache.path, argv(often));
      while ((await countFiles(often.at('sorted'))) < target) await Bun.sleep(2);
      killed.kill('SIGKILL');
      await killed.result;
    }
    expect((await run(argv(often))).code).toBe(0);
    expect(await readPhotos(often)).toEqual(sorted);
    // Each run has its log; all of them together lead back.
    const logs = (await readdir(often.at('sorted'))).filter((name) => name.endsWith('.jsonl'));
    for (const log of logs.toSorted().toReversed()) {
      expect((await run(['undo', often.at('sorted', log), '--quiet'])).code).toBe(0);
    }
    const back = Object.keys(await readPhotos(often));
    expect([back.length, back.every((name) => name.startsWith('p/'))]).toEqual([COUNT, true]);
  });
});

describe('an index', () => {
  /** Each different from the others. */
  const COUNT = 72;
  let folder: TemporaryFolder;
  const argv = () => [folder.at('p'), ...categories, '--csv', '--quiet'];
  const fresh = async () => (await run([...argv(), '--no-index'])).stdout;

  beforeAll(async () => {
    folder = await temporaryFolder();
    for (let at = 0; at < COUNT; at++) {
      const picture = await colourPicture(
        [(at * 37) % 256, (at * 91) % 256, (at * 151) % 256],
        'jpeg',
        64,
        48,
      );
      await folder.write({ [`p/${at % 5}/IMG_${at}.jpg`]: picture });
    }
  });
  afterAll(() => folder[Symbol.asyncDispose]());

  /** How many pictures an index has that is being written. */
  const stored = (path: string): number => {
    try {
      using database = new Database(path, { readonly: true });
      return database.query<{ n: number }, []>('SELECT count(*) AS n FROM pictures').get()?.n ?? 0;
    } catch {
      return 0;
    }
  };

  test('survives being killed, and finds what was renamed, edited or replaced', async () => {
    const index = folder.at('killed');
    for (const target of [1, 33]) {
      const killed = startCommand(cache.path, [...argv(), '--index', index]);
      while (stored(index) < target) await Bun.sleep(2);
      killed.kill('SIGKILL');
      await killed.result;
    }
    const remember = async () => await run([...argv(), '--index', index]);
    const whole = await fresh();
    expect(await remember()).toEqual({
      code: 0,
      stdout: whole,
      stderr: expect.not.stringContaining('index'),
    });

    await rename(folder.at('p/0/IMG_0.jpg'), folder.at('p/1/IMG_0.jpg'));
    await rename(folder.at('p/0/IMG_5.jpg'), folder.at('p/0/IMG_10.jpg'));
    await rename(folder.at('p/2'), folder.at('x'));
    await rename(folder.at('p/3'), folder.at('p/2'));
    await rename(folder.at('x'), folder.at('p/3'));
    await folder.write({ 'p/4/IMG_4.jpg': pictures[0] ?? '', 'p/4/IMG_9.jpg': pictures[1] ?? '' });
    const changed = await fresh();
    expect(changed).not.toBe(whole);
    expect((await remember()).stdout).toBe(changed);
  });

  test('is filled by two runs at the same time', async () => {
    const both = await Promise.all([1, 2].map(() => run([...argv(), '--index', folder.at('shared')])));
    const expected = await fresh();
    for (const { code, stdout } of both) expect([code, stdout]).toEqual([0, expected]);
    const again = await run([folder.at('p'), ...categories, '--index', folder.at('shared')]);
    expect(again.stderr).toMatch(/^(\d+) answered in .*, \1 of them from the index/m);
  });
});

describe('against a server', () => {
  let service: Service;
  beforeAll(async () => {
    const settings = { CLIP_MODEL: 'demo', CLIP_CACHE: cache.path, API_KEY: 'a long secret' };
    service = await startService(settings);
  });
  afterAll(() => service[Symbol.asyncDispose]());

  test('the answers are the same, and a model that still loads is waited for', async () => {
    await using folder = await photos(40);
    await folder.write({ 'p/cut.jpg': truncated(), 'p/notes.txt': 'text' });
    const argv = [folder.path, ...categories, '--json', '--template', 'a photo of {}'];
    const here = await run(argv);
    const onServer = ['--server', service.url, '--index', folder.at('index')];
    const there = await run([...argv, ...onServer], { API_KEY: 'a long secret' });
    expect(there.stdout).toBe(here.stdout);
    // The second time, the photos come from the index.
    const again = await run([...argv, ...onServer], { API_KEY: 'a long secret' });
    expect(again.stdout).toBe(here.stdout);
    expect(again.stderr).toMatch(/^40 answered in .*, 40 of them from the index/m);
    expect([there.code, here.code]).toEqual([1, 1]);
    expect(there.stderr).toContain('40 answered in ');
    expect(there.stderr).toContain('Model: demo, fp32.');

    const best = [folder.path, ...categories, '--best', '--json'];
    const bestThere = await run([...best, ...onServer], { API_KEY: 'a long secret' });
    expect(bestThere.stdout).toBe((await run(best)).stdout);

    const search = ['search', 'green', folder.path];
    const searchThere = await run([...search, ...onServer], { API_KEY: 'a long secret' });
    expect(searchThere.stdout).toBe((await run(search)).stdout);
  });

  test('a key that is missing ends with 2', async () => {
    await using folder = await photos(1);
    const { code, stderr } = await run([folder.path, ...categories, '--server', service.url]);
    expect(code).toBe(2);
    expect(stderr).toContain('The server says: This service needs an API key');
  });
});
