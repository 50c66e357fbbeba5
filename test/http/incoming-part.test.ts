import { afterEach, beforeEach, describe, expect, test } from 'bun:test';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import type { ServiceError } from '../../src/errors.ts';
import { receivePart } from '../../src/http/form.ts';
import { createResources, type Lease, type ResourceLimits } from '../../src/http/resources.ts';
import { createSpools, type Spool, type SpoolFile } from '../../src/http/spool.ts';
import { plenty } from './plenty.ts';

const patience = { waitMs: 60_000, msPerKibibyte: 1000 };
const code = (expected: string) => expect.objectContaining({ code: expected });

let directory: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'classify-images-test-'));
});
afterEach(() => rm(directory, { recursive: true, force: true }));

interface RoomOptions {
  readonly limits?: Partial<ResourceLimits>;
  readonly folder?: string;
  readonly createFile?: (path: string) => Promise<SpoolFile>;
}

/** One request with this much memory for parts, and a temporary folder. */
function roomOf({ limits = {}, folder = directory, createFile }: RoomOptions = {}) {
  const all = { ...plenty, ...limits };
  const resources = createResources(all, { patience, hurriedPatience: patience });
  const enter = () => resources.enter('pictureUploads', new Request('http://localhost'));
  const lease = enter();
  const faults: ServiceError[] = [];
  const spools = createSpools({ directory: folder, ...(createFile && { createFile }) });
  let opening: Promise<Spool> | undefined;
  const space = (own: Lease) => ({
    take: (bytes: number) => own.take('temporaryBytes', bytes),
    give: (bytes: number) => own.give('temporaryBytes', bytes),
  });
  const room = {
    lease,
    spool: () => {
      opening ??= spools.open(space(lease));
      return opening;
    },
    onStorageFault: (fault: ServiceError) => faults.push(fault),
  };
  const receive = (chunks: Iterable<Uint8Array> | AsyncIterable<Uint8Array>, maxBytes = 1e9) =>
    receivePart(iterate(chunks), maxBytes, room);
  const end = async () => {
    await (await opening)?.[Symbol.asyncDispose]();
    lease[Symbol.dispose]();
  };
  return { resources, enter, lease, receive, faults, end };
}

async function* iterate(chunks: Iterable<Uint8Array> | AsyncIterable<Uint8Array>) {
  yield* chunks;
}

const bytes = (length: number, value = 7) => new Uint8Array(length).fill(value);
const stored = async () => (await readdir(directory, { recursive: true })).length;

describe('a part that arrives', () => {
  test('is there whole however it was cut, in memory and in the temporary folder, cut anywhere in between', async () => {
    const cuts = fc.array(fc.nat({ max: 40_000 }), { minLength: 0, maxLength: 30 });
    await fc.assert(
      fc.asyncProperty(cuts, fc.nat({ max: 300_000 }), async (lengths, partBytes) => {
        const { resources, receive, end } = roomOf({ limits: { partBytes } });
        const chunks = lengths.map((length, index) => bytes(length, index));
        const expected = Buffer.concat(chunks);
        await using part = await receive(chunks);
        expect(part?.byteLength).toBe(expected.length);
        const read = (await part?.read()) as Uint8Array;
        expect(Buffer.compare(read, expected)).toBe(0);
        part?.putBack(read);
        expect(Buffer.compare((await part?.read()) as Uint8Array, expected)).toBe(0);
        await part?.[Symbol.asyncDispose]();
        expect([resources.used('partBytes'), resources.used('temporaryBytes')]).toEqual([0, 0]);
        await end();
      }),
      { numRuns: 60 },
    );
    expect(await stored()).toBe(0);
  });

  test('stays in memory where there is room, and counts as what it has', async () => {
    const { resources, receive, end } = roomOf({ limits: { partBytes: 1000 } });
    await using part = await receive([bytes(400), bytes(600)]);
    expect(resources.used('partBytes')).toBe(1000);
    expect(await stored()).toBe(0);
    await part?.[Symbol.asyncDispose]();
    await part?.[Symbol.asyncDispose]();
    expect(resources.used('partBytes')).toBe(0);
    await end();
  });

  test('frees the memory of bytes that nobody reads any more', async () => {
    const { receive, end } = roomOf();
    const putBack = await receive([bytes(400), bytes(600)]);
    const read = (await putBack?.read()) as Uint8Array;
    putBack?.putBack(read);
    await putBack?.[Symbol.asyncDispose]();
    expect(read.byteLength).toBe(0);
    const chunk = bytes(100_000);
    const unread = await receive([chunk]);
    expect(chunk.byteLength).toBe(100_000);
    await unread?.[Symbol.asyncDispose]();
    expect(chunk.byteLength).toBe(0);
    await end();
  });

  test('goes to the temporary folder where there is none, frees the memory, and leaves no file', async () => {
    const { resources, receive, end } = roomOf({ limits: { partBytes: 1000 } });
    {
      await using part = await receive([bytes(400), bytes(700), bytes(5)]);
      expect([resources.used('partBytes'), resources.used('temporaryBytes')]).toEqual([0, 1105]);
      expect(await stored()).toBe(2);
      expect(await part?.read()).toHaveLength(1105);
    }
    expect(await stored()).toBe(1);
    expect(resources.used('temporaryBytes')).toBe(0);
    await end();
    expect(await stored()).toBe(0);
  });

  test('a small one of a large chunk does not keep that alive', async () => {
    const { receive, end } = roomOf();
    const large = new ArrayBuffer(100_000);
    await using part = await receive([new Uint8Array(large, 10, 100)]);
    const whole = await part?.read();
    expect(whole?.buffer).not.toBe(large);
    expect(large.byteLength).toBe(100_000);
    await end();
  });

  test('uses up the chunks that fill their buffers', async () => {
    const { receive, end } = roomOf();
    const own = bytes(50_000);
    await using part = await receive([own, bytes(20)]);
    expect(await part?.read()).toHaveLength(50_020);
    expect(own.buffer.byteLength).toBe(0);
    await end();
  });

  test.each([1000, 10])('ends at once when it is too large, with %p bytes of memory', async (partBytes) => {
    const { resources, receive, end } = roomOf({ limits: { partBytes } });
    let read = 0;
    const endless = function* () {
      for (;;) {
        read += 1;
        yield bytes(10);
      }
    };
    expect(await receive(endless(), 100)).toBeUndefined();
    expect(read).toBe(11);
    expect([resources.used('partBytes'), resources.used('temporaryBytes')]).toEqual([0, 0]);
    await end();
    expect(await stored()).toBe(0);
  });

  test.each([1000, 10])('that breaks off leaves nothing, with %p bytes of memory', async (partBytes) => {
    const { resources, receive, end } = roomOf({ limits: { partBytes } });
    const breaking = function* () {
      yield bytes(8);
      yield bytes(20);
      throw new Error('broke off');
    };
    expect(await receive(breaking()).catch((fault: unknown) => fault)).toEqual(new Error('broke off'));
    expect([resources.used('partBytes'), resources.used('temporaryBytes')]).toEqual([0, 0]);
    await end();
    expect(await stored()).toBe(0);
  });
});

describe('where the temporary folder cannot be used', () => {
  test('a part that fits in no memory is refused while others hold it, and the operator hears why', async () => {
    const { resources, enter, receive, faults, end } = roomOf({
      limits: { partBytes: 1000 },
      folder: join(directory, 'missing'),
    });
    using other = enter();
    other.take('partBytes', 900);
    expect(await receive([bytes(200)]).catch((fault: unknown) => fault)).toEqual(code('overloaded'));
    expect(faults).toEqual([code('storage_full')]);
    expect(resources.used('partBytes')).toBe(900);
    other.give('partBytes', 500);
    await using part = await receive([bytes(200)]);
    expect(part?.byteLength).toBe(200);
    await end().catch(() => undefined);
  });

  test('a slow upload makes room in memory', async () => {
    const { enter, receive, end } = roomOf({
      limits: { partBytes: 1000 },
      folder: join(directory, 'missing'),
    });
    const slow = enter();
    slow.take('partBytes', 900);
    slow.awaitClient(new Promise(() => undefined), 'upload').catch(() => undefined);
    await Bun.sleep(1050);
    await using part = await receive([bytes(200)]);
    expect(part?.byteLength).toBe(200);
    expect(slow.signal.reason).toEqual(code('upload_stalled'));
    await end().catch(() => undefined);
  });

  test('a disk that fills up in the middle is no fault of the request: it may come again', async () => {
    const createFile = async (): Promise<SpoolFile> => ({
      write: () => Promise.reject(Object.assign(new Error('full'), { code: 'ENOSPC' })),
      close: async () => {},
    });
    const { resources, receive, faults, end } = roomOf({ limits: { partBytes: 10 }, createFile });
    expect(await receive([bytes(200)]).catch((fault: unknown) => fault)).toEqual(code('overloaded'));
    expect(faults).toEqual([code('storage_full')]);
    expect(resources.used('temporaryBytes')).toBe(0);
    await end();
  });
});
