import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { childrenOf } from '../bench/process/child-processes.ts';
import { type Colour, colourPicture } from '../fixtures/colour-pictures.ts';
import { crashDecoders, slowTiff } from '../fixtures/crashing-decoders.ts';
import { avif, tiff } from '../media/sample-pictures.ts';
import { type Service, startService } from './service.ts';

let folder: string;
let service: Service;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'classify-images-test-'));
  service = await startService({ CLIP_MODEL: 'demo', CLIP_CACHE: folder });
  await service.ready();
});

afterAll(async () => {
  await service[Symbol.asyncDispose]();
  await rm(folder, { recursive: true, force: true });
});

async function post(pictures: Readonly<Record<string, Uint8Array>>) {
  const form = new FormData();
  for (const [name, bytes] of Object.entries(pictures))
    form.append('files', new File([new Uint8Array(bytes)], name));
  form.append('categories', 'something red,something blue');
  const response = await fetch(`${service.url}/categorize`, { method: 'POST', body: form });
  return { status: response.status, body: (await response.json()) as Record<string, unknown> };
}

const red: Colour = [205, 25, 35];

describe.if(process.platform === 'linux')('a picture that ends the process that decodes it', () => {
  test('is refused by name, and hurts no other', async () => {
    const sound = {
      'red.jpg': await colourPicture(red, 'jpeg', 64, 48),
      'red.tif': await tiff(64, 48, () => [...red, 255]),
      'red.avif': await avif(64, 48, () => [...red, 255]),
    };
    const fatal = await Promise.all([0, 2, 4, 6].map((index) => slowTiff(index)));
    using _crashes = crashDecoders(service.pid);
    const answers = await Promise.all(
      Array.from({ length: 8 }, (_, index) =>
        post(index % 2 === 0 ? { 'fatal.tif': fatal[index / 2]! } : sound),
      ),
    );
    for (const [index, { status, body }] of answers.entries()) {
      if (index % 2 === 0) {
        expect({ status, body: JSON.stringify(body) }).toMatchObject({
          status: 422,
          body: expect.stringContaining(
            'The TIFF picture crashed its decoder; save it again as a JPEG or PNG.',
          ),
        });
        expect(JSON.stringify(body)).toContain('fatal.tif');
      } else {
        const answer = Object.fromEntries(Object.keys(sound).map((name) => [name, 'something red']));
        expect({ status, body }).toEqual({ status: 200, body: answer });
      }
    }
    const health = await fetch(`${service.url}/health`);
    expect(health.status).toBe(200);
    const deaths = service.log.filter(({ reason }) => reason === 'the process ended with signal SIGABRT');
    expect(deaths.length).toBeGreaterThanOrEqual(4);
  });

  test('leaves no process behind when the service ends', async () => {
    await post({ 'red.tif': await tiff(64, 48, () => [...red, 255]) });
    const children = childrenOf(service.pid);
    expect(children.length).toBeGreaterThanOrEqual(1);
    expect(await service.stop()).toBe(0);
    const left = children.filter((pid) => {
      try {
        process.kill(pid, 0);
        return true;
      } catch {
        return false;
      }
    });
    expect(left).toEqual([]);
  });
});
