import { afterAll, afterEach, beforeAll, describe, expect, test } from 'bun:test';
import {
  isStorageUrl,
  openStorage,
  parseStorageUrl,
  type Storage,
  StorageError,
} from '../../../src/cli/storage/storage.ts';
import { parseStorageConfig } from '../../../src/config.ts';
import { type StorageServer, startStorageServer, type Trouble } from './storage-server.ts';

let server: StorageServer;
beforeAll(() => {
  server = startStorageServer();
});
afterAll(() => server[Symbol.asyncDispose]());
afterEach(() => {
  server.trouble = undefined;
  server.objects.clear();
  server.requests.length = 0;
});

const stopping = new AbortController();
const open = (options: { timeoutMs?: number; signal?: AbortSignal } = {}): Storage =>
  openStorage({
    config: parseStorageConfig(server.environment),
    signal: stopping.signal,
    pauseMs: 1,
    ...options,
  });

const content = Uint8Array.from({ length: 1000 }, (_, at) => at);
const place = { bucket: 'b', key: 'photos/é 1+2%.jpg' };

/** The first requests of a kind have this trouble. */
function troubleFor(requests: number, trouble: Trouble): void {
  let left = requests;
  server.trouble = () => {
    left -= 1;
    return left >= 0 ? trouble : undefined;
  };
}

async function faultOf(work: Promise<unknown>): Promise<StorageError> {
  const fault = await work.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  if (fault instanceof StorageError) return fault;
  throw fault ?? new Error('it worked');
}

describe('an address', () => {
  test('has a bucket and a key', () => {
    expect(parseStorageUrl('s3://b')).toEqual({ bucket: 'b', key: '' });
    expect(parseStorageUrl('S3://b/photos/1 2.jpg')).toEqual({ bucket: 'b', key: 'photos/1 2.jpg' });
    expect(isStorageUrl('s3/photos')).toBe(false);
    expect(() => parseStorageUrl('s3:///x')).toThrow('is not an address in object storage');
  });
});

describe('object storage', () => {
  test('lists page by page, in the order of the keys', async () => {
    const keys = Array.from({ length: 2500 }, (_, at) => `photos/${String(at).padStart(5, '0')} &é.jpg`);
    for (const key of keys) server.objects.set(`b/${key}`, content);
    server.objects.set('b/other.jpg', content);
    const listed = await Array.fromAsync(open().list({ bucket: 'b', key: 'photos/' }));
    expect(listed.map(({ key }) => key)).toEqual(keys);
    expect(listed[0]?.size).toBe(1000);
    expect(server.requests).toEqual(['LIST b/photos/', 'LIST b/photos/', 'LIST b/photos/']);
  });

  test('reads, writes, finds and removes', async () => {
    const storage = open();
    expect(await storage.find(place)).toBeUndefined();
    await storage.write(place, new Blob([content]));
    expect(server.objects.get('b/photos/é 1+2%.jpg')).toEqual(content);
    expect(await storage.find(place)).toMatchObject({ key: place.key, size: 1000 });
    expect(await storage.read(place, 10, 20)).toEqual(content.slice(10, 20));
    expect(await storage.read(place, 5, 5)).toEqual(new Uint8Array());
    await storage.remove(place);
    expect(server.objects.size).toBe(0);
  });

  test('writes large files in parts, and empty ones', async () => {
    const large = new Uint8Array(20 * 1024 * 1024).fill(7);
    const storage = open();
    await storage.write(place, new Blob([large]));
    expect(Buffer.compare(server.objects.get(`b/${place.key}`) ?? new Uint8Array(), large)).toBe(0);
    await storage.write(place, '');
    expect(server.objects.get(`b/${place.key}`)?.length).toBe(0);
  });

  test.each([500, 503, 'cut', 'silence'] as const)('tries again after %p', async (trouble) => {
    server.objects.set(`b/${place.key}`, content);
    const storage = open({ timeoutMs: 100 });
    troubleFor(3, trouble);
    expect(await storage.read(place, 0, 1000)).toEqual(content);
    troubleFor(3, trouble);
    expect((await Array.fromAsync(storage.list({ bucket: 'b', key: '' }))).length).toBe(1);
  });

  test.each([500, 'cut'] as const)('uploads again after %p', async (trouble) => {
    const storage = open();
    troubleFor(3, trouble);
    await storage.write(place, 'text');
    expect(server.objects.get(`b/${place.key}`)).toEqual(new TextEncoder().encode('text'));
  });

  test('gives up after some attempts, and says that it may pass', async () => {
    troubleFor(1000, 503);
    const fault = await faultOf(open().read(place, 0, 10));
    expect(fault.message).toBe(
      's3://b/photos/é 1+2%.jpg cannot be used after 8 attempts: SlowDown: as the test wants',
    );
    expect(fault.isPassing).toBe(true);
    expect(server.requests.length).toBe(8);
  });

  test.each([
    [404, 'it does not exist'],
    [403, 'access is denied'],
  ])('gives up at once after %d', async (status, reason) => {
    troubleFor(1000, status);
    const fault = await faultOf(open().read(place, 0, 10));
    expect(fault.message).toBe(`s3://b/photos/é 1+2%.jpg cannot be used, because ${reason}.`);
    expect(fault.isPassing).toBe(false);
    expect(server.requests.length).toBe(1);
  });

  // The client looks for them itself, too.
  const isSet = ['AWS_ACCESS_KEY_ID', 'S3_ACCESS_KEY_ID'].some((name) => process.env[name] !== undefined);
  test.if(!isSet)('says which settings are missing', async () => {
    const storage = openStorage({ config: { endpoint: server.url }, signal: stopping.signal });
    const fault = await faultOf(storage.read(place, 0, 10));
    expect(fault.message).toContain('set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY');
  });

  test('ends at once when it is stopped', async () => {
    const stop = new AbortController();
    troubleFor(1000, 'silence');
    const reading = open({ signal: stop.signal }).read(place, 0, 10);
    stop.abort(new Error('stopped'));
    await expect(reading).rejects.toThrow('stopped');
  });
});
