import { describe, expect, test } from 'bun:test';
import fc from 'fast-check';
import { readWhole } from '../../src/http/form-parts.ts';
import { readParts } from '../../src/http/multipart.ts';
import { boundary, closing, filePart } from './harness.ts';
import { cutAt } from './read-parts.ts';

/** Each in a buffer of its own, as they come from a socket. */
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

  test('is undefined where it has more bytes than may be', async () => {
    expect(await readWhole(chunksOf([new Uint8Array(10), new Uint8Array(11)]), 20)).toBeUndefined();
    expect(await readWhole(chunksOf([new Uint8Array(10), new Uint8Array(10)]), 20)).toHaveLength(20);
  });
});
