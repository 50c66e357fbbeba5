import { afterAll, describe, expect, test } from 'bun:test';
import { cp, mkdir, readdir, readFile, rm, truncate, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import {
  DEMO_MODEL_NAME,
  demoCheckpoint,
  demoCheckpointSha256,
} from '../../../src/clip/demo/demo-checkpoint.ts';
import { compileModel } from '../../../src/clip/graph/compile-model.ts';
import { addPrecisionReport, BUILDER_VERSION } from '../../../src/clip/graph/compiled-model.ts';
import {
  addToCache,
  type CompiledModelKey,
  folderName,
  readCached,
  sweepTemporaries,
  tryLock,
} from '../../../src/clip/store/obtain-compiled.ts';
import { temporaryFolder } from './temporary-folder.ts';

/** Long enough for a living process to renew its lock on a slow machine. */
const stale = 60_000;
const sha256 = demoCheckpointSha256();

const demo = await temporaryFolder();
afterAll(() => demo[Symbol.asyncDispose]());
using checkpoint = demoCheckpoint();
await compileModel({
  checkpoint,
  identity: { name: DEMO_MODEL_NAME, sha256 },
  target: { precision: 'fp32' },
  directory: demo.path,
});

const { architecture } = checkpoint;
const key: CompiledModelKey = { sha256, precision: 'fp32', architecture };

/** Compiling anew each time would write the same. */
const compileDemo = (directory: string) => cp(demo.path, directory, { recursive: true });

function compileNothing(): Promise<never> {
  throw new Error('nothing should be compiled');
}

describe('a compiled model', () => {
  test('is absent, then compiled, then there', async () => {
    await using folder = await temporaryFolder();
    const root = join(folder.path, 'compiled');
    expect(await readCached(root, key)).toBe('absent');
    const model = await addToCache(root, key, stale, compileDemo);
    expect(model).toMatchObject({ name: 'demo', sha256, precision: 'fp32', builderVersion: BUILDER_VERSION });
    expect(await readCached(root, key)).toEqual(model);
    expect(await readdir(root)).toEqual([folderName(key)]);
  });

  test('has a name of the sum, the precision and the version of the builder', () => {
    expect(folderName(key)).toBe(`${sha256.slice(0, 16)}-fp32-v${BUILDER_VERSION}`);
  });

  test('of another checkpoint whose sum begins alike is not taken for it', async () => {
    await using folder = await temporaryFolder();
    await addToCache(folder.path, key, stale, compileDemo);
    const other = { ...key, sha256: sha256.slice(0, 16) + '0'.repeat(48) };
    expect(await readCached(folder.path, other)).toEqual({ damage: 'it was compiled from something else' });
  });

  test('of the same weights with another activation is not taken for it', async () => {
    await using folder = await temporaryFolder();
    await addToCache(folder.path, key, stale, compileDemo);
    const other = { ...key, architecture: { ...architecture, activation: 'gelu' } } as const;
    expect(await readCached(folder.path, other)).toHaveProperty('damage');
  });
});

describe('what auto has chosen', () => {
  const auto: CompiledModelKey = { ...key, precision: 'auto' };
  const report = {
    pictures: { count: 98, meanCosine: 0.9, minCosine: 0.7 },
    texts: { count: 1000, meanCosine: 0.999, minCosine: 0.998 },
    bestLabels: { clear: 900, agreeing: 700 },
    fp32Products: [],
    rowProducts: [],
    accepted: false,
    reasons: ['the mean cosine of pictures is 0.9, below 0.999'],
  };

  test('has its own name, and is found there with its reasons', async () => {
    await using folder = await temporaryFolder();
    const model = await addToCache(folder.path, auto, stale, async (directory) => {
      await compileDemo(directory);
      await addPrecisionReport(directory, report);
    });
    expect(model).toMatchObject({ precision: 'fp32', precisionReport: report });
    expect(await readCached(folder.path, auto)).toEqual(model);
    expect(await readdir(folder.path)).toEqual([`${sha256.slice(0, 16)}-auto-v${BUILDER_VERSION}`]);
    expect(await readCached(folder.path, key)).toBe('absent');
    expect(await readCached(folder.path, { ...key, precision: 'int8' })).toBe('absent');
  });

  test('must have been chosen by a comparison', async () => {
    await using folder = await temporaryFolder();
    await mkdir(join(folder.path, folderName(auto)));
    await compileDemo(join(folder.path, folderName(auto)));
    expect(await readCached(folder.path, auto)).toHaveProperty('damage');
  });

  test('is not taken for the precision that was asked for', async () => {
    await using folder = await temporaryFolder();
    const int8: CompiledModelKey = { ...key, precision: 'int8' };
    await mkdir(join(folder.path, folderName(int8)));
    await compileDemo(join(folder.path, folderName(int8)));
    expect(await readCached(folder.path, int8)).toEqual({ damage: 'it was compiled from something else' });
  });
});

async function zeroWeights(path: string): Promise<void> {
  const weights = join(path, 'vision.weights');
  await writeFile(weights, new Uint8Array((await readFile(weights)).length));
}

describe('a damaged compiled model', () => {
  test.each([
    ['has a file cut short', (path: string) => truncate(join(path, 'vision.weights'), 100)],
    ['has weights of the right size and another content', zeroWeights],
    ['misses a file', (path: string) => rm(join(path, 'text.onnx'))],
    ['has no description', (path: string) => rm(join(path, 'model.json'))],
    ['has a broken description', (path: string) => writeFile(join(path, 'model.json'), '{')],
    ['is empty', (path: string) => rm(path, { recursive: true }).then(() => mkdir(path))],
    ['is a file', (path: string) => rm(path, { recursive: true }).then(() => writeFile(path, ''))],
  ])('that %s is noticed and replaced', async (_name, damage) => {
    await using folder = await temporaryFolder();
    const sound = await addToCache(folder.path, key, stale, compileDemo);
    await damage(join(folder.path, folderName(key)));
    expect(await readCached(folder.path, key)).toHaveProperty('damage');
    expect(await addToCache(folder.path, key, stale, compileDemo)).toEqual(sound);
    expect(await readdir(folder.path)).toEqual([folderName(key)]);
  });
});

describe('several processes at once', () => {
  test('all get the model of the first that was complete', async () => {
    await using folder = await temporaryFolder();
    const models = await Promise.all([1, 2, 3].map(() => addToCache(folder.path, key, stale, compileDemo)));
    expect(new Set(models.map(({ visionGraphPath }) => visionGraphPath)).size).toBe(1);
    expect(await readdir(folder.path)).toEqual([folderName(key)]);
  });

  test("do not overwrite a winner's sound model", async () => {
    await using folder = await temporaryFolder();
    const marker = join(folder.path, folderName(key), 'winner');
    await addToCache(folder.path, key, stale, async (directory) => {
      await addToCache(folder.path, key, stale, compileDemo);
      await writeFile(marker, '');
      await compileDemo(directory);
    });
    expect(await readFile(marker, 'utf8')).toBe('');
    expect(await readdir(folder.path)).toEqual([folderName(key)]);
  });
});

test('a compile step that made something else is an error that trying again may heal', async () => {
  await using folder = await temporaryFolder();
  const failure = await addToCache(folder.path, key, stale, async () => {}).catch((error) => error);
  expect(failure).toMatchObject({ fault: 'compile_failed', retryable: true });
  expect(failure.message).toContain(folder.path);
});

describe('a temporary folder', () => {
  const leftover = `${folderName(key)}.00000000-0000-4000-8000-000000000000.tmp`;

  test('by a crashed process is removed, its lock with it', async () => {
    await using folder = await temporaryFolder();
    const lock = join(folder.path, `${leftover}.lock`);
    await mkdir(join(folder.path, leftover));
    await writeFile(join(folder.path, leftover, 'vision.weights'), 'half');
    await mkdir(lock);
    await utimes(lock, new Date(0), new Date(0));
    await addToCache(folder.path, key, stale, compileDemo);
    await sweepTemporaries(folder.path, stale);
    expect(await readdir(folder.path)).toEqual([folderName(key)]);
  });

  test('of a living process is left alone', async () => {
    await using folder = await temporaryFolder();
    await using _lock = await tryLock(join(folder.path, leftover), stale);
    await mkdir(join(folder.path, leftover));
    await addToCache(folder.path, key, stale, compileDemo);
    await sweepTemporaries(folder.path, stale);
    expect((await readdir(folder.path)).sort()).toEqual(
      [folderName(key), leftover, `${leftover}.lock`].sort(),
    );
  });

  test('by a failed attempt is nothing', async () => {
    await using folder = await temporaryFolder();
    const attempt = addToCache(folder.path, key, stale, async (directory) => {
      await writeFile(join(directory, 'half'), '');
      throw new Error('it failed');
    });
    await expect(attempt).rejects.toThrow('it failed');
    expect(await readdir(folder.path)).toEqual([]);
  });

  test('by other versions of the builder is removed after success, and nothing else', async () => {
    await using folder = await temporaryFolder();
    const short = sha256.slice(0, 16);
    const others = [
      `${short}-int8-v${BUILDER_VERSION}`,
      `${'0'.repeat(16)}-fp32-v999`,
      `${short}-fp32-v999.keep`,
      'remembered.sha256.json',
    ];
    for (const name of [...others, `${short}-fp32-v0`, `${short}-fp32-v999`, `${short}-auto-v1`]) {
      await mkdir(join(folder.path, name));
    }
    await addToCache(folder.path, key, stale, compileDemo);
    expect((await readdir(folder.path)).sort()).toEqual([...others, folderName(key)].sort());
  });

  test('by other versions stays where compiling fails', async () => {
    await using folder = await temporaryFolder();
    await mkdir(join(folder.path, `${sha256.slice(0, 16)}-fp32-v0`));
    await addToCache(folder.path, key, stale, compileNothing).catch(() => undefined);
    expect(await readdir(folder.path)).toHaveLength(1);
  });
});

describe('a folder that cannot be written', () => {
  test('is an error before anything is compiled', async () => {
    await using folder = await temporaryFolder();
    await writeFile(join(folder.path, 'file'), '');
    const root = join(folder.path, 'file', 'compiled');
    const failure = await addToCache(root, key, stale, compileNothing).catch((error) => error);
    expect(failure).toMatchObject({ fault: 'storage_failed' });
    expect(failure.message).toContain(root);
  });

  test('may still be read', async () => {
    await using folder = await temporaryFolder();
    const model = await addToCache(join(folder.path, 'one'), key, stale, compileDemo);
    await cp(join(folder.path, 'one'), join(folder.path, 'two'), { recursive: true });
    expect(await readCached(join(folder.path, 'two'), key)).toMatchObject({ sha256: model.sha256 });
  });
});
