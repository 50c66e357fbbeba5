import { describe, expect, test } from 'bun:test';
import { appendFile, truncate } from 'node:fs/promises';
import { openPlace, type Place } from '../../../src/cli/shards/place.ts';
import { openProgress, type ShardProgress } from '../../../src/cli/shards/progress.ts';
import { openStorage } from '../../../src/cli/storage/storage.ts';
import { parseStorageConfig } from '../../../src/config.ts';
import { type StorageServer, startStorageServer } from '../storage/storage-server.ts';
import { temporaryFolder } from '../temporary-folder.ts';

const name = 'part-00000-of-00001.jsonl';
const model = { name: 'm', precision: 'fp32', sha256: '0'.repeat(64) } as const;

const open = (place: Place, lagMs = 30_000, run = '{"run":1}') =>
  openProgress({
    place,
    name,
    run,
    lagMs,
    refuse: (earlier) => {
      throw new Error(`the earlier run is ${earlier}`);
    },
  });
const inFolder = (path: string) =>
  openPlace(path, () => {
    throw new Error('this is a folder');
  });
const inStorage = (server: StorageServer) =>
  openPlace('s3://b/out/', () =>
    openStorage({
      config: parseStorageConfig(server.environment),
      signal: new AbortController().signal,
      pauseMs: 1,
    }),
  );

const record = (archive: string, place: number, category = 'c') =>
  [
    { file: `${archive}/${place}.jpg`, category },
    { archive, place },
  ] as const;
const filesOf = async (progress: ShardProgress) =>
  (await Array.fromAsync(progress.records())).map(({ file }) => String(file));

describe.each(['a folder', 'object storage'] as const)('progress in %s', (kind) => {
  async function setting() {
    const folder = await temporaryFolder();
    const server = startStorageServer();
    const place = kind === 'a folder' ? inFolder(folder.at('out')) : inStorage(server);
    return {
      place,
      folder,
      async [Symbol.asyncDispose]() {
        await server[Symbol.asyncDispose]();
        await folder[Symbol.asyncDispose]();
      },
    };
  }

  test('is what earlier runs have left', async () => {
    await using at = await setting();
    {
      await using first = await open(at.place);
      await first.answeredBy(model);
      await first.beginArchive('a.tar', '1');
      await first.record([record('a.tar', 0), record('a.tar', 2)]);
      await first.endArchive('a.tar');
      await first.beginArchive('b.tar', '1');
      await first.record([record('b.tar', 5), [{ file: 'x.jpg', code: 'c', error: 'e' }, undefined]]);
    }
    await using second = await open(at.place);
    expect(second.recorded).toBe(4);
    expect(second.model).toEqual(model);
    expect(second.isArchiveDone('a.tar', '1')).toBe(true);
    expect(second.isArchiveDone('a.tar', '2')).toBe(false);
    expect(second.isArchiveDone('b.tar', '1')).toBe(false);
    expect([4, 5].map((place) => second.hasMember('b.tar', '1', place))).toEqual([false, true]);
    expect(second.hasMember('b.tar', '2', 5)).toBe(false);
    expect(second.hasPhoto('x.jpg')).toBe(true);
    await second.beginArchive('b.tar', '1');
    await second.record([record('b.tar', 5), record('b.tar', 6)]);
    expect(await filesOf(second)).toEqual([
      ...['a.tar/0.jpg', 'a.tar/2.jpg', 'b.tar/5.jpg', 'x.jpg', 'b.tar/6.jpg'],
    ]);
    await expect(second.answeredBy({ ...model, sha256: '1'.repeat(64) })).rejects.toThrow(
      'has answers of another model',
    );
    await second.remove();
    await second[Symbol.asyncDispose]();
    expect(await at.place.names()).toEqual([]);
  });

  test('forgets an archive that was replaced', async () => {
    await using at = await setting();
    {
      await using first = await open(at.place);
      await first.beginArchive('a.tar', '1');
      await first.record([record('a.tar', 0), record('a.tar', 1)]);
      await first.endArchive('a.tar');
      await first.record([[{ file: 'x.jpg', category: 'c' }, undefined]]);
    }
    {
      await using second = await open(at.place);
      await second.beginArchive('a.tar', '2');
      await second.record([record('a.tar', 1, 'new')]);
      expect(second.recorded).toBe(2);
      expect(await filesOf(second)).toEqual(['x.jpg', 'a.tar/1.jpg']);
    }
    await using third = await open(at.place);
    expect(await filesOf(third)).toEqual(['x.jpg', 'a.tar/1.jpg']);
    expect(third.isArchiveDone('a.tar', '2')).toBe(false);
  });

  test('of another run is refused, and stays', async () => {
    await using at = await setting();
    {
      await using first = await open(at.place);
      await first.record([[{ file: 'x.jpg', category: 'c' }, undefined]]);
    }
    await expect(open(at.place, 0, '{"run":2}')).rejects.toThrow('the earlier run is {"run":1}');
    await using again = await open(at.place);
    expect(again.recorded).toBe(1);
  });
});

describe('progress in a folder', () => {
  test('is locked, and may end with a part of a line', async () => {
    await using folder = await temporaryFolder();
    const place = inFolder(folder.path);
    {
      await using first = await open(place);
      await expect(open(place)).rejects.toThrow('is being written by another run');
      await first.beginArchive('a.tar', '1');
      await first.record([record('a.tar', 0), record('a.tar', 1)]);
    }
    const path = folder.at(`_${name}.progress`);
    await truncate(path, Bun.file(path).size - 3);
    {
      await using second = await open(place);
      expect(second.recorded).toBe(1);
    }
    // A power failure may leave zeros.
    await appendFile(path, new Uint8Array(5000));
    await using third = await open(place);
    expect(await filesOf(third)).toEqual(['a.tar/0.jpg']);
  });

  test.each(['hello\n', 'run\t{"run":1}\nhello\n', 'photo\t{"file":"x"}\n'])(
    'that is something else is refused: %j',
    async (text) => {
      await using folder = await temporaryFolder();
      await folder.write({ [`_${name}.progress`]: text });
      await expect(open(inFolder(folder.path))).rejects.toThrow('was not written by this command');
      expect(await Bun.file(folder.at(`_${name}.progress`)).text()).toBe(text);
    },
  );

  test('with lines of two workers mixed answers again what it does not know for certain', async () => {
    await using folder = await temporaryFolder();
    const lines = [
      ...['run\t{"run":1}', 'tar\t["a.tar","1"]', 'tar\t["b.tar","1"]'],
      ...['member\t5\t{"file":"a.tar/5.jpg"}', 'member\t6\t{"file":"b.tar/6.jpg"}'],
    ];
    await folder.write({ [`_${name}.progress`]: `${lines.join('\n')}\n` });
    await using progress = await open(inFolder(folder.path));
    expect(progress.hasMember('b.tar', '1', 5)).toBe(false);
    expect(progress.hasMember('b.tar', '1', 6)).toBe(true);
    expect(await filesOf(progress)).toEqual(['b.tar/6.jpg']);
  });
});

describe('progress in object storage', () => {
  test('of two workers at the same time has each photo once', async () => {
    await using server = startStorageServer();
    const place = inStorage(server);
    {
      await using a = await open(place, 0);
      await using b = await open(place, 0);
      await a.beginArchive('a.tar', '1');
      await b.beginArchive('b.tar', '1');
      for (let photo = 0; photo < 4; photo++) {
        await a.record([record('a.tar', photo)]);
        await b.record([record('b.tar', photo)]);
      }
      await b.beginArchive('a.tar', '1');
      await b.record([record('a.tar', 3, 'b'), record('a.tar', 4)]);
      // Each has only what it knows.
      expect((await filesOf(a)).toSorted()).toEqual([0, 1, 2, 3].map((photo) => `a.tar/${photo}.jpg`));
    }
    await using c = await open(place);
    expect((await filesOf(c)).toSorted()).toEqual([
      ...[0, 1, 2, 3, 4].map((photo) => `a.tar/${photo}.jpg`),
      ...[0, 1, 2, 3].map((photo) => `b.tar/${photo}.jpg`),
    ]);
    expect(c.recorded).toBe(9);
    await c.remove();
    await expect(filesOf(c)).rejects.toThrow('is gone: another worker had the same shard');
  });

  test('is not written at each photo', async () => {
    await using server = startStorageServer();
    {
      await using progress = await open(inStorage(server));
      for (let photo = 0; photo < 50; photo++) {
        await progress.record([[{ file: `${photo}.jpg`, category: 'c' }, undefined]]);
      }
      expect(server.objects.size).toBe(0);
    }
    expect(server.objects.size).toBe(1);
  });
});
