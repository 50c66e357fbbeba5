import { describe, expect, test } from 'bun:test';
import fc from 'fast-check';
import { boundaryOf, readParts } from '../../src/http/multipart.ts';
import { boundary, closing, filePart } from './harness.ts';
import { chunksOf, cutAt, read, threeParts } from './read-parts.ts';

const expectedParts = [
  { name: 'files', filename: '写真 "1".jpg', text: '\r\n--test-boundar\r\n--\r\n' },
  { name: 'files', filename: '', text: '' },
  { name: 'categories', filename: undefined, text: 'a,b' },
];

const typed = (contentType: string | null) =>
  new Headers(contentType === null ? {} : { 'content-type': contentType });

describe('the boundary of a content type', () => {
  test.each([
    ['multipart/form-data; boundary=abc', 'abc'],
    ['Multipart/Form-Data; charset=utf-8; Boundary="a b?c"', 'a b?c'],
    ['multipart/form-data;boundary=----WebKitFormBoundary7MA4YWxk', '----WebKitFormBoundary7MA4YWxk'],
  ])('%s', (contentType, expected) => {
    expect(boundaryOf(typed(contentType))).toBe(expected);
  });

  test.each([
    ['content_type_unsupported', null],
    ['content_type_unsupported', 'application/json'],
    ['content_type_unsupported', 'multipart/form-database; boundary=a'],
    ['multipart_malformed', 'multipart/form-data'],
    ['multipart_malformed', 'multipart/form-data; boundary='],
    ['multipart_malformed', 'multipart/form-data; boundary=""'],
    ['multipart_malformed', `multipart/form-data; boundary=${'a'.repeat(71)}`],
    ['multipart_malformed', 'multipart/form-data; boundary="a\tb"'],
  ])('%s: %p', (code, contentType) => {
    expect(() => boundaryOf(typed(contentType))).toThrow(expect.objectContaining({ code }));
  });

  test('compressed bodies are refused', () => {
    const headers = typed('multipart/form-data; boundary=a');
    headers.set('content-encoding', 'gzip');
    expect(() => boundaryOf(headers)).toThrow(expect.objectContaining({ code: 'content_type_unsupported' }));
  });
});

describe('the parts of a body', () => {
  test('come with their names and their bytes', async () => {
    expect(await read([threeParts])).toEqual(expectedParts);
  });

  test('are the same wherever the body is cut in two', async () => {
    for (let at = 1; at < threeParts.length; at += 1) {
      expect({ at, parts: await read(cutAt(threeParts, [at])) }).toEqual({ at, parts: expectedParts });
    }
  });

  test('are the same byte by byte', async () => {
    expect(await read([...threeParts].map((byte) => Uint8Array.of(byte)))).toEqual(expectedParts);
  });

  test('are the same for any content, boundary and cuts, as Bun’s own (buffering) parser reads them', async () => {
    const boundaries = fc.constantFrom(
      'b',
      '-',
      '--',
      '--a-',
      'aab',
      '----WebKitFormBoundary7',
      '-'.repeat(70),
    );
    const piece = fc.constantFrom(
      '\r',
      '\n',
      '-',
      '--',
      '\r\n',
      '\r\n--',
      '\r\n-',
      'a',
      'b',
      '\r\n--a',
      '\0',
    );
    const bodies = fc.record({
      bound: boundaries,
      contents: fc.array(fc.array(piece, { maxLength: 12 }), { minLength: 1, maxLength: 4 }),
      cuts: fc.array(fc.nat(400), { maxLength: 12 }),
    });
    await fc.assert(
      fc.asyncProperty(bodies, async ({ bound, contents, cuts }) => {
        const texts = contents.map((pieces) => pieces.join(''));
        fc.pre(texts.every((text) => !`\r\n${text}\r\n--${bound}`.slice(0, -1).includes(`\r\n--${bound}`)));
        const body = Buffer.from(
          [
            ...texts.map(
              (text, index) =>
                `--${bound}\r\nContent-Disposition: form-data; name="${index}"; filename="f"\r\n\r\n${text}\r\n`,
            ),
            `--${bound}--\r\n`,
          ].join(''),
          'latin1',
        );
        const positions = [...new Set(cuts)].filter((at) => at < body.length).toSorted((a, b) => a - b);
        const parts = await read(cutAt(body, positions), bound);
        expect(parts.map(({ text }) => text)).toEqual(texts);
        // Bun also cuts at a boundary in the middle of a line.
        if (texts.some((text) => text.includes(`--${bound}`))) return;
        const oracle = await new Response(body, {
          headers: { 'content-type': `multipart/form-data; boundary="${bound}"` },
        }).formData();
        for (const { name, text } of parts) {
          const file = oracle.get(name);
          expect(file instanceof File && Buffer.from(await file.arrayBuffer()).toString('latin1')).toBe(text);
        }
      }),
      { numRuns: 300 },
    );
  });

  test('closing dashes in two chunks close the body', async () => {
    const end = threeParts.indexOf('--test-boundary--') + '--test-boundary-'.length;
    expect(await read(cutAt(threeParts, [end]))).toEqual(expectedParts);
  });

  test('hundreds of dashes are content', async () => {
    const dashes = '-'.repeat(1000);
    const body = Buffer.concat([filePart('a', dashes), closing]);
    const parts = await read(cutAt(body, [300, 400, 401, 800]));
    expect(parts).toEqual([{ name: 'files', filename: 'a', text: dashes }]);
  });

  test('that nobody reads are skipped', async () => {
    const names: (string | undefined)[] = [];
    for await (const { filename } of readParts(chunksOf(threeParts), boundary)) names.push(filename);
    expect(names).toEqual(expectedParts.map(({ filename }) => filename));
  });

  test('are handed over before the next chunk is asked for', async () => {
    const asked: number[] = [];
    async function* slowly() {
      for (const [index, chunk] of [filePart('a', '1'), filePart('b', '2'), closing].entries()) {
        asked.push(index);
        yield chunk;
      }
    }
    const parts = readParts(slowly(), boundary);
    await parts.next();
    expect(asked).toEqual([0]);
    await parts.return(undefined);
    expect(asked).toEqual([0]);
  });

  test('a reader that stops early closes the body', async () => {
    let isClosed = false;
    async function* body() {
      try {
        yield threeParts;
        yield closing;
      } finally {
        isClosed = true;
      }
    }
    for await (const _ of readParts(body(), boundary)) break;
    expect(isClosed).toBe(true);
  });

  test('what the body throws comes through', async () => {
    const reason = new Error('the connection broke');
    async function* body() {
      yield filePart('a', '1');
      throw reason;
    }
    const readAll = async () => {
      for await (const { content } of readParts(body(), boundary)) for await (const _ of content);
    };
    expect(readAll()).rejects.toBe(reason);
  });
});
