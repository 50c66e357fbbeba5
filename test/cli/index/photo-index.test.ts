import { Database } from 'bun:sqlite';
import { describe, expect, test } from 'bun:test';
import { mkdir, rm, stat } from 'node:fs/promises';
import {
  hashContent,
  type NewEntry,
  type OpenIndex,
  openIndex,
  type StampedFile,
} from '../../../src/cli/index/photo-index.ts';
import { createEmbeddingCoder } from '../../../src/cli/index/stored-embedding.ts';
import type { AnsweringModel } from '../../../src/cli/output/provenance.ts';
import { UsageError } from '../../../src/cli/usage-error.ts';
import { randomNumbers } from '../../bench/random-numbers.ts';
import { type TemporaryFolder, temporaryFolder } from '../temporary-folder.ts';
import { randomEmbedding } from './random-embedding.ts';

const DIMENSION = 16;
const coder = createEmbeddingCoder(DIMENSION);
const { signal } = new AbortController();
const model: AnsweringModel = { name: 'made', sha256: 'a'.repeat(64), precision: 'fp32' };
const DAY_MS = 24 * 3600 * 1000;

async function open(
  path: string,
  { now = Date.now(), isNamed = true }: { readonly now?: number; readonly isNamed?: boolean } = {},
): Promise<OpenIndex & { readonly notes: string[] }> {
  const notes: string[] = [];
  const opened = await openIndex({ path, isNamed, note: (sentence) => notes.push(sentence), now: () => now });
  if (!opened) throw new Error(notes.join('\n'));
  return Object.assign(opened, { notes });
}

const settled = (path: string, change: Partial<StampedFile['stamp']> = {}): StampedFile => ({
  path,
  stamp: { size: 100, modifiedMs: 1_700_000_000_000.25, changedMs: 1_750_000_000_000.5, ...change },
  stampedMs: 1_800_000_000_000,
});

const contentOf = (seed: number) => hashContent(Buffer.from(`content ${seed}`));

function entry(file: StampedFile, seed: number, opened: OpenIndex, its = model): NewEntry {
  const content = contentOf(seed);
  const salt = opened.of(its, DIMENSION).saltOf(content);
  return { ...file, content, stored: coder.store(randomEmbedding(DIMENSION, seed), salt) };
}

/** Saves photos `/p/N.jpg`, each with the embedding of its number. */
function saveMany(opened: OpenIndex, from: number, to: number): void {
  const index = opened.of(model, DIMENSION);
  for (let start = from; start < to; start += 32) {
    const numbers = Array.from({ length: Math.min(32, to - start) }, (_, at) => start + at);
    index.save(numbers.map((at) => entry(settled(`/p/${at}.jpg`), at, opened)));
  }
}

const files = (count: number) => Array.from({ length: count }, (_, at) => settled(`/p/${at}.jpg`));

/** @returns the photos that the index knows. Fails if it answers with a wrong embedding */
async function knownPhotos(opened: OpenIndex, count: number): Promise<ReadonlySet<number>> {
  const index = opened.of(model, DIMENSION);
  const pictures = index
    .recognise(files(count))
    .flatMap((picture, at) => (picture ? [{ ...picture, at }] : []))
    .sort((a, b) => a.id - b.id);
  const list = {
    ids: Float64Array.from(pictures, ({ id }) => id),
    salts: Uint32Array.from(pictures, ({ salt }) => salt),
  };
  const known = new Set<number>();
  await index.scan(
    list,
    (place, embedding) => {
      const at = pictures[place]?.at ?? -1;
      known.add(at);
      const right = randomEmbedding(DIMENSION, at);
      const isRight = embedding.every((value, i) => Math.abs(value - right[i]!) < 1e-4);
      if (!isRight) throw new Error(`${at} has the embedding of another photo`);
    },
    signal,
  );
  return known;
}

describe('the index', () => {
  test('knows a file by its path, size and times', async () => {
    await using folder = await temporaryFolder();
    using opened = await open(folder.at('index'));
    const index = opened.of(model, DIMENSION);
    const file = settled('/photos/1.jpg');
    index.save([entry(file, 1, opened)]);
    const others = [
      settled('/photos/2.jpg'),
      settled('/other/1.jpg'),
      settled('/photos/1.jpg', { size: 101 }),
      settled('/photos/1.jpg', { modifiedMs: 1_700_000_000_000.5 }),
      settled('/photos/1.jpg', { changedMs: 1_750_000_000_001 }),
    ];
    const [found, ...rest] = index.recognise([file, ...others]);
    expect(found).toEqual({ id: 1, salt: index.saltOf(contentOf(1)) });
    expect(rest).toEqual(others.map(() => undefined));
  });

  test('finds all files of a folder, in any order, and between others', async () => {
    await using folder = await temporaryFolder();
    using opened = await open(folder.at('index'));
    saveMany(opened, 0, 500);
    const index = opened.of(model, DIMENSION);
    for (const asked of [files(500), files(500).reverse(), [settled('/p/99.jpg'), settled('/p/0.jpg')]]) {
      expect(index.recognise(asked)).not.toContain(undefined);
    }
    expect(index.recognise([settled('/p/0.jpg'), settled('/q/0.jpg'), settled('/p/99.jpg')])).toEqual([
      expect.anything(),
      undefined,
      expect.anything(),
    ]);
  });

  test('finds an equal picture under another path, and is of one model and precision', async () => {
    await using folder = await temporaryFolder();
    using opened = await open(folder.at('index'));
    const index = opened.of(model, DIMENSION);
    const [saved] = index.save([entry(settled('/p/1.jpg'), 1, opened)]);
    expect(index.find(contentOf(1))).toEqual(saved);
    expect(index.find(contentOf(2))).toBeUndefined();
    for (const change of [{ sha256: 'b'.repeat(64) }, { precision: 'int8' as const }]) {
      const other = opened.of({ ...model, ...change }, DIMENSION);
      expect(other.find(contentOf(1))).toBeUndefined();
      expect(other.recognise([settled('/p/1.jpg')])).toEqual([undefined]);
      other.save([entry(settled('/p/1.jpg'), 1, opened, { ...model, ...change })]);
      expect(other.recognise([settled('/p/1.jpg')])).toEqual([expect.anything()]);
      expect(index.recognise([settled('/p/1.jpg')])).toEqual([saved]);
    }
  });

  test('does not trust the times of a file that has just been written', async () => {
    await using folder = await temporaryFolder();
    using opened = await open(folder.at('index'));
    const index = opened.of(model, DIMENSION);
    const fresh = { ...settled('/p/1.jpg'), stampedMs: 1_750_000_000_500 };
    index.save([entry(fresh, 1, opened)]);
    expect(index.recognise([fresh])).toEqual([undefined]);
    expect(index.find(contentOf(1))).toBeDefined();
  });

  test('forgets photos that no question has met for a year', async () => {
    await using folder = await temporaryFolder();
    const path = folder.at('index');
    const at = async (day: number, work: (opened: OpenIndex) => void) => {
      using opened = await open(path, { now: 20_000 * DAY_MS + day * DAY_MS });
      work(opened);
    };
    const recognise = (opened: OpenIndex) => opened.of(model, DIMENSION).recognise(files(2));
    await at(0, (opened) => saveMany(opened, 0, 2));
    await at(200, (opened) => {
      opened.of(model, DIMENSION).recognise(files(1));
    });
    await at(500, (opened) => {
      expect(recognise(opened)).toEqual([expect.anything(), undefined]);
      expect(opened.of(model, DIMENSION).find(contentOf(1))).toBeUndefined();
    });
    using database = new Database(path, { readonly: true });
    expect(database.query('SELECT count(*) AS n FROM pictures').get()).toEqual({ n: 1 });
  });

  test('is used by several runs of one user at the same time', async () => {
    await using folder = await temporaryFolder();
    const runs = await Promise.all([open(folder.at('index')), open(folder.at('index'))]);
    for (let start = 0; start < 200; start += 20) {
      saveMany(runs[0], start, start + 15);
      saveMany(runs[1], start + 5, start + 20);
    }
    for (const name of ['index', 'index-wal', 'index-shm']) {
      expect((await stat(folder.at(name))).mode & 0o777).toBe(0o600);
    }
    for (const run of runs) expect((await knownPhotos(run, 200)).size).toBe(200);
    for (const run of runs) run[Symbol.dispose]();
    using again = await open(folder.at('index'));
    expect((await knownPhotos(again, 200)).size).toBe(200);
    expect(again.notes).toEqual([]);
  });
});

describe('an index that is not usable', () => {
  const made = async (count: number): Promise<TemporaryFolder> => {
    const folder = await temporaryFolder();
    using opened = await open(folder.at('index'));
    saveMany(opened, 0, count);
    return folder;
  };

  test('never answers with the embedding of another photo, wherever it is damaged', async () => {
    await using folder = await made(300);
    const whole = await Bun.file(folder.at('index')).bytes();
    const next = randomNumbers(11);
    let reported = 0;
    for (let attempt = 0; attempt < 40; attempt++) {
      const damaged = whole.slice();
      let at = 0;
      // Most of the file is free space.
      while (at === 0 || whole[at] === 0) at = Math.floor(((next() + 1) / 2) * (whole.length - 200));
      for (let i = 0; i < 1 + (attempt % 3) * 90; i++) damaged[at + i]! ^= 1 + ((attempt + i) % 255);
      await rm(folder.at('index-wal'), { force: true });
      await folder.write({ index: damaged });
      using opened = await open(folder.at('index'));
      const known = await knownPhotos(opened, 300);
      if (opened.notes.length > 0) reported += 1;
      else expect(known.size).toBeGreaterThan(200);
      // It works again. Damage may be found only when a page is written, which makes the index anew.
      for (let time = 0; time < 2; time++) saveMany(opened, 0, 300);
      expect((await knownPhotos(opened, 300)).size).toBe(300);
    }
    expect(reported).toBeGreaterThan(5);
  });

  test('is reported and made anew', async () => {
    await using folder = await made(300);
    const whole = Buffer.from(await Bun.file(folder.at('index')).bytes());
    const other = Buffer.from(whole);
    other.writeUInt32BE(99, 60);
    const cases: [content: Uint8Array | string, note: RegExp][] = [
      [whole.subarray(0, 40_000), /is damaged \(.*\)\. It is made anew\.$/],
      [
        Buffer.concat([whole.subarray(0, 100), Buffer.alloc(whole.length - 100)]),
        /is damaged .* made anew\.$/,
      ],
      [other, /is of another version of this command\. It is made anew\.$/],
    ];
    for (const [content, note] of cases) {
      await folder.write({ index: content });
      using opened = await open(folder.at('index'));
      expect((await knownPhotos(opened, 300)).size).toBe(0);
      expect(opened.notes).toEqual([expect.stringMatching(note)]);
      saveMany(opened, 0, 300);
      expect((await knownPhotos(opened, 300)).size).toBe(300);
    }
  });

  test('is renamed if it is something else, and keeps every byte', async () => {
    await using folder = await temporaryFolder();
    const foreign = new Database(folder.at('catalogue'), { create: true });
    foreign.run('CREATE TABLE photos(id INTEGER)');
    foreign.close();
    const bytes = await Bun.file(folder.at('catalogue')).bytes();
    for (const [content, name] of [
      [bytes, 'index.set-aside'],
      [Buffer.from('my diary'), 'index.set-aside-2'],
    ] as const) {
      await folder.write({ index: content });
      using opened = await open(folder.at('index'));
      expect(opened.notes).toEqual([
        `${folder.at('index')} is not an index of photos. It was renamed to ${folder.at(name)}; a new one is made.`,
      ]);
      saveMany(opened, 0, 2);
      expect((await knownPhotos(opened, 2)).size).toBe(2);
      expect(Buffer.from(await Bun.file(folder.at(name)).bytes())).toEqual(Buffer.from(content));
    }
  });

  test('is left to another run that uses it', async () => {
    await using folder = await made(2);
    using first = await open(folder.at('index'));
    const whole = await Bun.file(folder.at('index')).bytes();
    await folder.write({ index: 'not an index' });
    expect(open(folder.at('index'))).rejects.toThrow('and another run is using it.');
    expect(await Bun.file(folder.at('index')).text()).toBe('not an index');
    await folder.write({ index: whole });
    expect((await knownPhotos(first, 2)).size).toBe(2);
  });

  test('is an error if it was named, and otherwise a note', async () => {
    await using folder = await temporaryFolder();
    await mkdir(folder.at('index'));
    await folder.write({ file: '' });
    for (const path of [folder.at('index'), folder.at('file/index')]) {
      expect(open(path)).rejects.toThrow(UsageError);
      const notes: string[] = [];
      const options = { path, isNamed: false, note: (sentence: string) => notes.push(sentence) };
      expect(await openIndex(options)).toBeUndefined();
      expect(notes).toEqual([expect.stringContaining('This run does not remember its photos')]);
    }
  });

  test('ends no run if it becomes so meanwhile', async () => {
    await using folder = await made(2);
    using opened = await open(folder.at('index'));
    const index = opened.of(model, DIMENSION);
    using database = new Database(folder.at('index'));
    database.run('DROP TABLE pictures');
    expect(index.save([entry(settled('/p/9.jpg'), 9, opened)])).toEqual([expect.anything()]);
    expect(opened.notes).toEqual([expect.stringMatching(/is damaged \(no such table.*made anew\.$/)]);
  });
});
