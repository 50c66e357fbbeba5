import { afterEach, beforeEach, describe, expect, test } from 'bun:test';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, readFile, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createSpaceGauge, createSpools, type FolderSpace, type SpoolFile } from '../../src/http/spool.ts';

let directory: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'classify-images-test-'));
});
afterEach(() => rm(directory, { recursive: true, force: true }));

const bytes = (text: string) => new TextEncoder().encode(text);
const faultOf = (work: Promise<unknown>) =>
  work.then(
    () => undefined,
    (fault: unknown) => fault,
  );
const errno = (code: string) => Object.assign(new Error(code), { code });

describe('a spool', () => {
  test('keeps files for nobody else to read, and removes them with itself', async () => {
    const spool = await createSpools({ directory }).open();
    const file = await spool.write('video', [bytes('ab'), bytes(''), bytes('c')]);
    expect(file.bytes).toBe(3);
    expect(await readFile(file.path, 'utf8')).toBe('abc');
    expect((await stat(file.path)).mode & 0o077).toBe(0);
    await spool.write('0.jpg', [bytes('x')]);
    const [folder = ''] = await readdir(directory);
    expect((await stat(join(directory, folder))).mode & 0o077).toBe(0);
    await spool.remove(file);
    expect(await readdir(join(directory, folder))).toEqual(['0.jpg']);
    await spool[Symbol.asyncDispose]();
    expect(await readdir(directory)).toEqual([]);
    await spool[Symbol.asyncDispose]();
  });

  test('two of them never share a file', async () => {
    const spools = createSpools({ directory });
    await using first = await spools.open();
    await using second = await spools.open();
    const paths = [await first.write('video', []), await second.write('video', [])].map(({ path }) => path);
    expect(new Set(paths).size).toBe(2);
  });

  test('writes on where the disk takes less than it is given', async () => {
    const written: string[] = [];
    let isClosed = false;
    const createFile = async (): Promise<SpoolFile> => ({
      async write(chunk) {
        written.push(new TextDecoder().decode(chunk.subarray(0, 3)));
        return { bytesWritten: Math.min(3, chunk.byteLength) };
      },
      async close() {
        isClosed = true;
      },
    });
    await using spool = await createSpools({ directory, createFile }).open();
    expect(await spool.write('video', [bytes('abcdefgh')])).toMatchObject({ bytes: 8 });
    expect(written).toEqual(['abc', 'def', 'gh']);
    expect(isClosed).toBe(true);
  });

  test('asks for the next chunk when the last one is written', async () => {
    const order: string[] = [];
    const createFile = async (): Promise<SpoolFile> => ({
      async write({ byteLength }) {
        await Bun.sleep(1);
        order.push('written');
        return { bytesWritten: byteLength };
      },
      close: async () => {},
    });
    async function* chunks() {
      for (let index = 0; index < 3; index += 1) {
        order.push('asked');
        yield bytes('x');
      }
    }
    await using spool = await createSpools({ directory, createFile }).open();
    await spool.write('video', chunks());
    expect(order).toEqual(['asked', 'written', 'asked', 'written', 'asked', 'written']);
  });

  test.each(['ENOSPC', 'EDQUOT', 'EFBIG'])('a full disk is said to be full: %s', async (code) => {
    let isClosed = false;
    const createFile = async (): Promise<SpoolFile> => ({
      write: () => Promise.reject(errno(code)),
      async close() {
        isClosed = true;
      },
    });
    await using spool = await createSpools({ directory, createFile }).open();
    expect(await faultOf(spool.write('video', [bytes('x')]))).toMatchObject({
      code: 'storage_full',
      message: expect.stringContaining('is full'),
    });
    expect(isClosed).toBe(true);
  });

  test('a folder that is not there is the operator’s to set right', async () => {
    const spools = createSpools({ directory: join(directory, 'missing') });
    expect(await faultOf(spools.open())).toMatchObject({
      code: 'storage_full',
      message: expect.stringContaining('TMPDIR'),
    });
  });

  test('what its source throws, and errors of another kind, come through', async () => {
    const reason = new Error('the connection broke');
    async function* broken() {
      yield bytes('x');
      throw reason;
    }
    await using spool = await createSpools({ directory }).open();
    expect(await faultOf(spool.write('video', broken()))).toBe(reason);
    await using faulty = await createSpools({
      directory,
      createFile: () => Promise.reject(errno('EMFILE')),
    }).open();
    expect(await faultOf(faulty.write('video', []))).toMatchObject({ code: 'EMFILE' });
  });
});

describe('the space of uploads', () => {
  const MEBI = 1024 ** 2;
  const limits = { onDisk: 1000 * MEBI, inMemory: 100 * MEBI };
  const gaugeOf = async (space: FolderSpace | undefined, used = 0) => {
    const gauge = createSpaceGauge({ measure: async () => space }, limits, () => used);
    await gauge.refresh();
    return gauge.capacity / MEBI;
  };
  const disk = (freeMebibytes: number, isMemory = false) => ({
    free: freeMebibytes * MEBI,
    total: 100_000 * MEBI,
    isMemory,
  });

  test('is what is free but for a reserve, and never more than the limit', async () => {
    expect(await gaugeOf(disk(50_000))).toBe(1000);
    expect(await gaugeOf(disk(756))).toBe(500);
    expect(await gaugeOf(disk(756), 200 * MEBI)).toBe(700);
    expect(await gaugeOf(disk(100))).toBe(0);
    expect(await gaugeOf({ free: 60 * MEBI, total: 200 * MEBI, isMemory: false })).toBe(50);
  });

  test('is far less where the folder lies in memory', async () => {
    expect(await gaugeOf(disk(50_000, true))).toBe(100);
  });

  test('is the limit where the system does not tell', async () => {
    expect(await gaugeOf(undefined)).toBe(1000);
  });

  test('is measured for real', async () => {
    const space = await createSpools({ directory }).measure();
    expect(space?.total).toBeGreaterThan(space?.free ?? Number.POSITIVE_INFINITY);
    expect(await createSpools({ directory: join(directory, 'missing') }).measure()).toBeUndefined();
  });

  test.if(existsSync('/dev/shm'))('tells a folder in memory from one on a disk', async () => {
    const isMemory = /^tmpfs \/dev\/shm tmpfs /m.test(await readFile('/proc/mounts', 'utf8'));
    expect((await createSpools({ directory: '/dev/shm' }).measure())?.isMemory).toBe(isMemory);
  });

  test('is taken before bytes are written, and given back when they go', async () => {
    let held = 0;
    const space = {
      take(taken: number) {
        held += taken;
        if (held > 10) throw errno('TOO MUCH');
      },
      give(given: number) {
        held -= given;
      },
    };
    const spool = await createSpools({ directory }).open(space);
    const first = await spool.write('a', [bytes('1234')]);
    const second = await spool.create();
    await second.append(bytes('567'));
    expect(await readFile((await second.end()).path, 'utf8')).toBe('567');
    expect(held).toBe(7);
    expect(Buffer.from(await spool.read(first)).toString()).toBe('1234');
    await spool.remove(first);
    expect(held).toBe(3);
    await spool[Symbol.asyncDispose]();
    expect(held).toBe(0);
    expect(await readdir(directory)).toEqual([]);
  });
});

describe('what killed processes leave', () => {
  /** Opens a spool in another process, which then ends or keeps running. */
  async function otherProcess(afterwards: 'kill' | 'live') {
    const script = `
      import { createSpools } from ${JSON.stringify(join(import.meta.dir, '../../src/http/spool.ts'))};
      const spool = await createSpools({ directory: ${JSON.stringify(directory)} }).open();
      await spool.write('video', [new Uint8Array(1000)]);
      process.send('written');
      setInterval(() => {}, 1000);
    `;
    const written = Promise.withResolvers<void>();
    const child = Bun.spawn([process.execPath, '-e', script], {
      ipc: () => written.resolve(),
      stdio: ['ignore', 'ignore', 'inherit'],
    });
    await written.promise;
    if (afterwards === 'kill') {
      child.kill('SIGKILL');
      await child.exited;
    }
    return child;
  }

  test('is removed; what living ones use is not', async () => {
    await otherProcess('kill');
    const living = await otherProcess('live');
    const spools = createSpools({ directory });
    await using own = await spools.open();
    const file = await own.write('video', [bytes('mine')]);
    expect(await readdir(directory)).toHaveLength(3);
    expect(await spools.removeStale()).toBe(1);
    expect(await readFile(file.path, 'utf8')).toBe('mine');
    const left = await readdir(directory);
    expect(left).toHaveLength(2);
    expect(left.filter((name) => name.includes(`-${living.pid}-`))).toHaveLength(1);
    living.kill('SIGKILL');
    await living.exited;
    expect(await spools.removeStale()).toBe(1);
  });

  test('is removed also under the name that earlier versions gave it', async () => {
    const spools = createSpools({ directory });
    const spool = await spools.open();
    const [name = ''] = await readdir(directory);
    await spool[Symbol.asyncDispose]();
    const earlier = name.replace('-upload-', '-video-').replace(/-[0-9a-z]+-([^-]+)$/, '-abc-$1');
    await mkdir(join(directory, earlier));
    expect(await spools.removeStale()).toBe(1);
  });

  test('is removed also where this process has the killed one’s id, as in a container', async () => {
    const spools = createSpools({ directory });
    await using _own = await spools.open();
    const [name = ''] = await readdir(directory);
    const earlier = name.replace(/-[0-9a-z]+-([^-]+)$/, '-abc-$1');
    await mkdir(join(directory, earlier));
    expect(await spools.removeStale()).toBe(1);
    expect(await readdir(directory)).toEqual([name]);
  });

  test('of another machine goes when it is old', async () => {
    const spools = createSpools({ directory });
    const spool = await spools.open();
    const [name = ''] = await readdir(directory);
    const [young, old] = ['00000000', '11111111'].map((host) =>
      join(directory, name.replace(/-[0-9a-f]{8}-/, `-${host}-`)),
    ) as [string, string];
    await spool[Symbol.asyncDispose]();
    await mkdir(young);
    await mkdir(old);
    const dayBefore = Date.now() / 1000 - 25 * 3600;
    await utimes(old, dayBefore, dayBefore);
    expect(await spools.removeStale()).toBe(1);
    expect(await readdir(directory)).toEqual([young.slice(directory.length + 1)]);
  });

  test('and nothing else of the temporary folder', async () => {
    const spools = createSpools({ directory });
    const spool = await spools.open();
    const [name = ''] = await readdir(directory);
    await spool[Symbol.asyncDispose]();
    const file = name.replace(/-\d+-/, '-4194305-');
    const others = [`x${name}`, `${file}-x`, 'classify-images-0', 'classify-images-video', 'notes'];
    for (const other of others) await mkdir(join(directory, other));
    await writeFile(join(directory, file), 'a file of such a name is not ours');
    expect(await spools.removeStale()).toBe(0);
    expect(await readdir(directory)).toHaveLength(6);
  });

  test('a temporary folder that cannot be read holds nothing', async () => {
    expect(await createSpools({ directory: join(directory, 'missing') }).removeStale()).toBe(0);
  });
});
