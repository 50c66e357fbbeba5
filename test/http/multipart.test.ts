import { describe, expect, test } from 'bun:test';
import fc from 'fast-check';
import { ServiceError } from '../../src/errors.ts';
import { boundaryOf, readParts } from '../../src/http/multipart.ts';
import { boundary, closing, filePart, part } from './harness.ts';

interface ReadPart {
  readonly name: string;
  readonly filename: string | undefined;
  readonly text: string;
}

async function* chunksOf(...chunks: readonly Uint8Array[]) {
  yield* chunks;
}

async function read(chunks: readonly Uint8Array[], bound = boundary): Promise<ReadPart[]> {
  const parts: ReadPart[] = [];
  for await (const { name, filename, content } of readParts(chunksOf(...chunks), bound)) {
    const kept: Uint8Array[] = [];
    for await (const chunk of content) kept.push(chunk);
    parts.push({ name, filename, text: Buffer.concat(kept).toString('latin1') });
  }
  return parts;
}

const faultOf = async (chunks: readonly Uint8Array[]): Promise<ServiceError | undefined> => {
  try {
    await read(chunks);
    return undefined;
  } catch (fault) {
    if (fault instanceof ServiceError) return fault;
    throw fault;
  }
};

/** Cuts a body at ascending positions. */
const cutAt = (body: Buffer, positions: readonly number[]) =>
  [0, ...positions].map((from, index) => body.subarray(from, positions[index] ?? body.length));

const threeParts = Buffer.concat([
  Buffer.from('a preamble\r\n'),
  part(
    'form-data; name="files"; filename="写真 \\"1\\".jpg"',
    '\r\n--test-boundar\r\n--\r\n',
    'Content-Type: image/jpeg',
  ),
  part('form-data; name="files"; filename=""', ''),
  part('form-data; name="categories"', 'a,b'),
  closing,
  Buffer.from('an epilogue\r\n--test-boundary\r\n'),
]);
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

describe('a malformed body', () => {
  const cut = (length: number) => Buffer.concat([filePart('a', 'content'), closing]).subarray(0, length);
  test.each<[string, string, Uint8Array]>([
    ['nothing', 'it is empty', Buffer.of()],
    ['text', 'closing boundary', Buffer.from('files=a')],
    ['another boundary', 'closing boundary', Buffer.from('--other\r\n\r\n--other--')],
    ['cut off in the headers', 'closing boundary', cut(40)],
    ['cut off in the content', 'closing boundary', cut(-20 + filePart('a', 'content').length)],
    ['cut off before the last boundary', 'closing boundary', filePart('a', 'content')],
    ['cut off within the last boundary', 'closing boundary', cut(-3)],
    [
      'no disposition',
      'and has none',
      Buffer.concat([Buffer.from(`--${boundary}\r\nX: y\r\n\r\n\r\n`), closing]),
    ],
    ['another disposition', 'attachment', Buffer.concat([part('attachment; name="files"', ''), closing])],
    ['no name', 'no name', Buffer.concat([part('form-data; filename="a"', ''), closing])],
    [
      'two dispositions',
      'one header',
      Buffer.concat([part('form-data; name="a"', '', 'Content-Disposition: form-data; name="b"'), closing]),
    ],
    [
      'a header without colon',
      'break the format',
      Buffer.concat([part('form-data; name="a"', '', 'nonsense'), closing]),
    ],
    ['a zero byte in a header', 'break the format', Buffer.concat([filePart('a\0b', ''), closing])],
    [
      'a broken extended name',
      'cannot be decoded',
      Buffer.concat([part("form-data; name=files; filename*=utf-8''%E9", ''), closing]),
    ],
    [
      'base64',
      'Content-Transfer-Encoding "base64"',
      Buffer.concat([
        part('form-data; name="files"; filename="a"', 'YQ==', 'Content-Transfer-Encoding: base64'),
        closing,
      ]),
    ],
  ])('%s', async (_, sentence, body) => {
    const fault = await faultOf([body]);
    expect(fault?.code).toBe('multipart_malformed');
    expect(fault?.message).toContain(sentence);
  });

  test.each([
    ['one long header', [`X-Long: ${'a'.repeat(17_000)}`]],
    ['many headers', Array.from({ length: 120 }, (_, index) => `X-${index}: a`)],
  ])('headers that are too large: %s', async (_, headers) => {
    const body = Buffer.concat([part('form-data; name="files"; filename="a"', '', ...headers), closing]);
    expect((await faultOf([body]))?.code).toBe('multipart_too_large');
  });

  test('mutated bodies are read or refused with a known error', async () => {
    const mutation = fc.record({
      at: fc.nat(threeParts.length - 1),
      remove: fc.nat(20),
      insert: fc.constantFrom('', '\r\n', '--', '"', '\0', ':', ';', '%', '\r', `--${boundary}`, 'é'),
    });
    const codes = new Set(['multipart_malformed', 'multipart_too_large', undefined]);
    await fc.assert(
      fc.asyncProperty(
        fc.array(mutation, { minLength: 1, maxLength: 4 }),
        fc.nat(600),
        async (mutations, cut) => {
          let body = threeParts;
          for (const { at, remove, insert } of mutations) {
            body = Buffer.concat([body.subarray(0, at), Buffer.from(insert), body.subarray(at + remove)]);
          }
          expect(codes).toContain((await faultOf(cutAt(body, [Math.min(cut, body.length)])))?.code);
        },
      ),
      { numRuns: 500, seed: 20_210_101 },
    );
  });
});
