import { afterAll, describe, expect, test } from 'bun:test';
import fc from 'fast-check';
import type { ServiceError } from '../../src/errors.ts';
import { readForm, receivePart } from '../../src/http/form.ts';
import { readParts } from '../../src/http/multipart.ts';
import { createResources } from '../../src/http/resources.ts';
import { boundary, closing, filePart, part } from './harness.ts';
import { plenty } from './plenty.ts';
import { cutAt } from './read-parts.ts';

const patience = { waitMs: 60_000, msPerKibibyte: 1000 };
const lease = createResources(plenty, { patience, hurriedPatience: patience }).enter(
  'pictureUploads',
  new Request('http://localhost'),
);
afterAll(() => lease[Symbol.dispose]());

/** A part's bytes, received in memory. */
async function readWhole(content: AsyncIterator<Uint8Array>, maxBytes: number) {
  const room = {
    lease,
    spool: () => Promise.reject(new Error('the memory is not full')),
    onStorageFault: () => undefined,
  };
  await using part = await receivePart(content, maxBytes, room);
  return await part?.read();
}

/** The document of a form that has only categories. */
async function documentOf(body: Uint8Array): Promise<Uint8Array> {
  let document = new Uint8Array();
  const reading = readForm(readParts(chunksOf([body]), boundary), lease, {
    field: 'files',
    receive: async () => true,
    parseCategories(bytes) {
      document = Uint8Array.from(bytes);
      return { labels: [] };
    },
    checkCategories: async () => undefined,
  });
  await reading.catch((fault: ServiceError) => {
    if (fault.code !== 'files_missing') throw fault;
  });
  return document;
}

/** Each chunk in its own buffer, as from a socket. */
async function* chunksOf(chunks: readonly Uint8Array[]) {
  for (const chunk of chunks) yield Uint8Array.from(chunk);
}

describe('a part that is read whole', () => {
  test('has every byte wherever the body is cut, though chunks are given back meanwhile', async () => {
    const piece = fc.constantFrom(
      '\r',
      '\n',
      '-',
      '--',
      '\r\n--',
      `\r\n--${boundary.slice(0, -1)}`,
      'a'.repeat(300),
    );
    const contents = fc.array(
      fc.array(piece, { maxLength: 12 }).map((pieces) => pieces.join('')),
      { minLength: 1, maxLength: 4 },
    );
    await fc.assert(
      fc.asyncProperty(contents, fc.array(fc.nat(4000), { maxLength: 12 }), async (texts, cuts) => {
        const body = Buffer.concat([...texts.map((text) => filePart('a', text)), closing]);
        const positions = [...new Set(cuts)].filter((at) => at < body.length).toSorted((a, b) => a - b);
        const read: string[] = [];
        for await (const { content } of readParts(chunksOf(cutAt(body, positions)), boundary)) {
          const whole = await readWhole(content, 4000);
          read.push(Buffer.from(whole ?? []).toString('latin1'));
        }
        expect(read).toEqual(texts);
      }),
      { numRuns: 300 },
    );
  });

  test('uses up the chunks that are its own, and leaves those that it shares', async () => {
    const own = new Uint8Array(1000).fill(1);
    const shared = new Uint8Array(1000).fill(2);
    async function* content() {
      yield own;
      yield shared.subarray(0, 10);
    }
    const whole = await readWhole(content(), 2000);
    expect(whole).toEqual(Buffer.concat([new Uint8Array(1000).fill(1), new Uint8Array(10).fill(2)]));
    expect([own.buffer.byteLength, shared.buffer.byteLength]).toEqual([0, 1000]);
  });

  test('has every byte, in order, of chunks of any sizes', async () => {
    const sizes = fc.array(fc.oneof(fc.nat(20), fc.integer({ min: 4000, max: 4200 }), fc.nat(70_000)), {
      maxLength: 40,
    });
    await fc.assert(
      fc.asyncProperty(sizes, async (lengths) => {
        const chunks = lengths.map((length, at) =>
          Uint8Array.from({ length }, (_, index) => (at + 7 * index) % 251),
        );
        const expected = Buffer.concat(chunks);
        const whole = await readWhole(chunksOf(chunks), 10_000_000);
        expect(expected.equals(whole ?? Buffer.of())).toBe(true);
      }),
      { numRuns: 50 },
    );
  });

  test('that comes byte by byte takes little more memory than its bytes', async () => {
    async function* content() {
      for (let count = 0; count < 2 ** 20; count += 1) yield Uint8Array.of(count);
    }
    Bun.gc(true);
    const before = process.memoryUsage().heapUsed;
    let most = 0;
    async function* watched() {
      let count = 0;
      for await (const chunk of content()) {
        yield chunk;
        count += 1;
        if (count % 2 ** 18 !== 0) continue;
        Bun.gc(true);
        most = Math.max(most, process.memoryUsage().heapUsed - before);
      }
    }
    expect(await readWhole(watched(), 2 ** 21)).toHaveLength(2 ** 20);
    expect(most).toBeLessThan(8 * 2 ** 20);
  });

  test('is undefined where it has more bytes than may be', async () => {
    expect(await readWhole(chunksOf([new Uint8Array(10), new Uint8Array(11)]), 20)).toBeUndefined();
    expect(await readWhole(chunksOf([new Uint8Array(10), new Uint8Array(10)]), 20)).toHaveLength(20);
  });
});

describe('categories in a declared charset', () => {
  test('are decoded piece by piece as they are whole', async () => {
    // Characters of two and four bytes: some are split between the pieces that are decoded.
    const text = `x${'é🐈'.repeat(150_000)}`;
    const parts = Buffer.concat([
      part(
        'form-data; name="categories"',
        Buffer.from(text, 'utf16le'),
        'Content-Type: text/plain; charset=UTF-16LE',
      ),
      closing,
    ]);
    const decoded = Buffer.from(await documentOf(parts)).toString();
    // A failed comparison would print the whole texts.
    expect(decoded === text).toBe(true);
  });

  test('are bounded in UTF-8', async () => {
    const parts = Buffer.concat([
      part(
        'form-data; name="categories"',
        new Uint8Array(3 * 1024 ** 2).fill(0xe9),
        'Content-Type: text/plain; charset=latin1',
      ),
      closing,
    ]);
    await expect(documentOf(parts)).rejects.toMatchObject({ code: 'multipart_too_large' });
  });
});
