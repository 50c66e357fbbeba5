import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { readdir, stat } from 'node:fs/promises';
import { packTar } from 'modern-tar';
import { readPart } from '../../../src/cli/shards/part.ts';
import { openPlace } from '../../../src/cli/shards/place.ts';
import { shardOf } from '../../../src/cli/shards/shard.ts';
import { colourPicture } from '../../fixtures/colour-pictures.ts';
import { type CommandResult, startCommand } from '../command.ts';
import { type StorageServer, startStorageServer } from '../storage/storage-server.ts';
import { type TemporaryFolder, temporaryFolder } from '../temporary-folder.ts';

const ARCHIVES = 5;
const MEMBERS = 80;
const PLAIN = 40;
const COUNT = 2;
/** Of the first shard. */
const MAX_KILLS = 2;
const KILLED = 128 + 9;
const question = ['--category', 'something red', '--category', 'a green thing'];

let server: StorageServer;
let cache: TemporaryFolder;
beforeAll(async () => {
  cache = await temporaryFolder();
  server = startStorageServer();
  const pictures = await Promise.all([
    colourPicture([205, 25, 35], 'jpeg', 64, 48),
    colourPicture([40, 150, 50], 'jpeg', 64, 48),
  ]);
  const picture = (number: number) => pictures[number % 2] ?? new Uint8Array();
  for (let archive = 0; archive < ARCHIVES; archive++) {
    const members = Array.from({ length: MEMBERS }, (_, number) => {
      const body = Uint8Array.from(picture(number));
      return { header: { name: `${number}.jpg`, size: body.length, type: 'file' as const }, body };
    });
    server.objects.set(`b/in/${archive}.tar`, await packTar(members));
  }
  for (let number = 0; number < PLAIN; number++) server.objects.set(`b/in/${number}.jpg`, picture(number));
});
afterAll(async () => {
  await server[Symbol.asyncDispose]();
  await cache[Symbol.asyncDispose]();
});

const start = (index: number, output: string) =>
  startCommand(
    cache.path,
    ['s3://b/in/', ...question, '--shard', `${index}/${COUNT}`, '--output', output, '--quiet'],
    server.environment,
  );
const merge = (parts: string, output: string): Promise<CommandResult> =>
  startCommand(cache.path, ['merge', parts, '--output', output], server.environment).result;

async function expectEachOnce(folder: TemporaryFolder, parts: string): Promise<void> {
  const merged = await merge(parts, folder.at('all.parquet'));
  expect(merged.stderr).toContain(`${ARCHIVES * MEMBERS + PLAIN} photos of ${COUNT} parts`);
  expect(merged.code).toBe(0);
  const place = openPlace(folder.path, () => {
    throw new Error('this is a folder');
  });
  const files = (await Array.fromAsync(readPart(place, 'all.parquet'))).map(({ file }) => String(file));
  const plain = Array.from({ length: PLAIN }, (_, number) => `s3://b/in/${number}.jpg`);
  const members = Array.from({ length: ARCHIVES * MEMBERS }, (_, number) => {
    return `s3://b/in/${Math.floor(number / MEMBERS)}.tar/${number % MEMBERS}.jpg`;
  });
  expect(files.toSorted()).toEqual([...plain, ...members].toSorted());
}

describe('a worker that is killed', () => {
  test('at any moment continues in a folder, and every photo is answered once', async () => {
    await using folder = await temporaryFolder();
    const out = folder.at('out');
    let kills = 0;
    for (let index = 0; index < COUNT; index++) {
      const name = `part-0000${index}-of-0000${COUNT}.jsonl`;
      const bytes = async () => (await stat(`${out}/_${name}.progress`).catch(() => undefined))?.size ?? 0;
      for (let round = 1; ; round++) {
        const before = await bytes();
        const worker = start(index, out);
        let isRunning = true;
        const result = worker.result.then((ended) => {
          isRunning = false;
          return ended;
        });
        // Each time after it has answered more.
        while (isRunning && (round > MAX_KILLS - index || (await bytes()) < before + round * 4000))
          await Bun.sleep(2);
        worker.kill('SIGKILL');
        const { code, stderr } = await result;
        if (code === KILLED) {
          kills += 1;
          const visible = (await readdir(out)).filter((one) => one.startsWith('part-'));
          expect(visible.length).toBeLessThanOrEqual(index + 1);
          continue;
        }
        expect({ code, stderr: stderr.includes('bug') }).toEqual({ code: 0, stderr: false });
        break;
      }
    }
    expect(kills).toBeGreaterThan(0);
    await expectEachOnce(folder, out);
    expect((await readdir(out)).filter((one) => one.includes('progress') || one.endsWith('.part'))).toEqual(
      [],
    );
  });

  test('repeats in object storage; one that is stopped continues with the tar files that it has not had', async () => {
    await using folder = await temporaryFolder();
    const objects = () => [...server.objects.keys()].filter((name) => name.startsWith('b/out/'));
    // It has four of the five tar files.
    const index = shardOf('s3://b/in/1.tar', COUNT);
    const its = Array.from({ length: ARCHIVES }, (_, archive) => `in/${archive}.tar`).filter(
      (name) => shardOf(`s3://b/${name}`, COUNT) === index,
    );
    for (const signal of ['SIGKILL', 'SIGTERM'] as const) {
      server.requests.length = 0;
      const worker = start(index, 's3://b/out/');
      // It reads the next tar file while it answers the last photos of the one before.
      while (!server.requests.includes(`GET b/${its.at(-1)}`)) await Bun.sleep(2);
      worker.kill(signal);
      expect((await worker.result).code).toBe(signal === 'SIGKILL' ? KILLED : 130);
      expect(objects().filter((name) => name.endsWith('.jsonl'))).toEqual([]);
    }
    expect(objects().length).toBe(1);
    expect(objects()[0]).toContain('b/out/_part-0000');
    server.requests.length = 0;
    for (let shard = 0; shard < COUNT; shard++)
      expect((await start(shard, 's3://b/out/').result).code).toBe(0);
    expect(server.requests).not.toContain(`GET b/${its[0]}`);
    expect(objects().filter((name) => name.includes('progress'))).toEqual([]);
    await expectEachOnce(folder, 's3://b/out/');
  });
});
