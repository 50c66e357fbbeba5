import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { deflateSync } from 'node:zlib';
import { residentMemory } from '../bench/process/process-usage.ts';
import { bitmap, encodePicture } from '../fixtures/colour-pictures.ts';
import { chunk, concat, uint32be } from '../media/sample-pictures.ts';
import { type Service, startService } from './service.ts';

const MEBI = 1024 ** 2;

let folder: string;
let service: Service;
let picture: Uint8Array;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'classify-images-test-'));
  service = await startService({ CLIP_MODEL: 'demo', CLIP_CACHE: folder });
  // Hash-like noise compresses badly: 1.3 MB.
  const noise = bitmap(1600, 1200, (x, y) => {
    const hash = Math.imul(x * 374_761_393 + y * 668_265_263, 1_274_126_177) >>> 8;
    return [hash & 255, (hash >> 8) & 255, (hash >> 16) & 255];
  });
  picture = await encodePicture(noise, 'jpeg');
  await service.ready();
});

afterAll(async () => {
  await service[Symbol.asyncDispose]();
  await rm(folder, { recursive: true, force: true });
});

/**
 * What a request may add to a peak. Where nothing is kept it adds some 50 MiB at most: what the collector has not
 * looked at yet, and what the allocator holds for later. Where the pictures are kept it adds 300 MiB or more.
 */
const TOLERANCE = 150 * MEBI;

/** Sends one request with so many pictures. @returns the highest resident memory seen meanwhile, in bytes */
async function peakWhileSending(count: number): Promise<number> {
  const encoder = new TextEncoder();
  async function* body() {
    for (let index = 0; index < count; index++) {
      yield encoder.encode(
        `--b\r\nContent-Disposition: form-data; name="files"; filename="${index}.jpg"\r\n\r\n`,
      );
      yield picture;
      yield encoder.encode('\r\n');
    }
    yield encoder.encode(
      '--b\r\nContent-Disposition: form-data; name="categories"\r\n\r\nred,green\r\n--b--\r\n',
    );
  }
  let peak = 0;
  const sample = () => {
    try {
      peak = Math.max(peak, residentMemory(service.pid).nowBytes);
    } catch {
      // It has ended: the request says so.
    }
  };
  const sampling = setInterval(sample, 20);
  try {
    const response = await fetch(`${service.url}/categorize`, {
      method: 'POST',
      headers: { 'content-type': 'multipart/form-data; boundary=b' },
      body: body(),
    });
    const answers = (await response.json()) as Record<string, string>;
    expect(response.status).toBe(200);
    expect(Object.keys(answers).length).toBe(count);
  } finally {
    clearInterval(sampling);
  }
  return peak;
}

test('large pictures wait for memory, and are answered as small ones', async () => {
  // 29 megapixels as PNG, of one bit each in the file, take more than 102 MiB.
  const side = 5400;
  const bytes = concat(
    '\x89PNG\r\n\x1a\n',
    chunk('IHDR', [...uint32be(side), ...uint32be(side), 1, 3, 0, 0, 0]),
    chunk('PLTE', [30, 60, 220]),
    chunk('IDAT', deflateSync(new Uint8Array((1 + side / 8) * side))),
    chunk('IEND'),
  );
  const form = new FormData();
  for (let index = 0; index < 3; index++)
    form.append('files', new File([new Uint8Array(bytes)], `${index}.png`));
  form.append('categories', 'something red,something blue');
  const response = await fetch(`${service.url}/categorize`, { method: 'POST', body: form });
  expect(await response.json()).toEqual({
    '0.png': 'something blue',
    '1.png': 'something blue',
    '2.png': 'something blue',
  });
});

describe.if(process.platform === 'linux')('memory', () => {
  test('does not grow with the number of pictures in a request', async () => {
    // Fills what is filled once: pools of threads, of buffers, compiled code.
    await peakWhileSending(60);
    const few = await peakWhileSending(60);
    // 240 further pictures are 320 MB of upload, 1.4 GB of pixels.
    expect(picture.byteLength).toBeGreaterThan(1.2 * MEBI);
    let growth = Number.POSITIVE_INFINITY;
    // What is kept is kept each time; what merely came together at a bad moment is not.
    for (let attempt = 0; attempt < 3 && growth >= TOLERANCE; attempt++) {
      growth = (await peakWhileSending(300)) - few;
    }
    expect(growth).toBeLessThan(TOLERANCE);
  });
});
