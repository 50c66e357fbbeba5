import { describe, expect, test } from 'bun:test';
import fc from 'fast-check';
import { boundaryOf, readParts } from '../../src/http/multipart.ts';
import { boundary, closing, filePart, part } from './harness.ts';
import { chunksOf, cutAt, faultOf, read, threeParts } from './read-parts.ts';

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
        // Bun also splits at a boundary in the middle of a line.
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

  const head = 'Content-Disposition: form-data; name="files"; filename="a"\r\n\r\n';
  const two = [
    { name: 'files', filename: 'a', text: '1' },
    { name: 'files', filename: 'a', text: '2' },
  ];
  test.each<[string, string, string, typeof two]>([
    ['no line break at the end', 'b', `--b\r\n${head}1\r\n--b\r\n${head}2\r\n--b--`, two],
    ['spaces and tabs after boundaries', 'b', `--b \t\r\n${head}1\r\n--b  \r\n${head}2\r\n--b--\t\r\n`, two],
    ['a line break before the first boundary', 'b', `\r\n--b\r\n${head}1\r\n--b\r\n${head}2\r\n--b--`, two],
    [
      'a preamble with half a boundary',
      'bc',
      `--b\r\n--\r\n--bc\r\n${head}1\r\n--bc\r\n${head}2\r\n--bc--`,
      two,
    ],
    [
      'one line break between an empty content’s head and the boundary',
      'b',
      `--b\r\n${head}--b\r\n${head}2\r\n--b--`,
      [{ name: 'files', filename: 'a', text: '' }, ...two.slice(1)],
    ],
    ['a boundary of dashes', '--', `----\r\n${head}1\r\n----\r\n${head}2\r\n------`, two],
    [
      'headers in any order, folded, and in any case',
      'b',
      `--b\r\nX: y\r\nCONTENT-disposition:form-data;\r\n\tname="files";\r\n  filename="a"\r\n\r\n1\r\n--b\r\n${head}2\r\n--b--`,
      two,
    ],
    [
      'content of beginnings of the boundary',
      'aa',
      `--aa\r\n${head}\r\n--a\r\n--a\r\r\n-\r\n--\r\r\n--aa--`,
      [{ name: 'files', filename: 'a', text: '\r\n--a\r\n--a\r\r\n-\r\n--\r' }],
    ],
  ])('%s, wherever the body is cut', async (_, bound, text, expected) => {
    const body = Buffer.from(text);
    for (let at = 1; at < body.length; at += 1) {
      expect({ at, parts: await read(cutAt(body, [at]), bound) }).toEqual({ at, parts: expected });
    }
    expect(
      await read(
        [...body].map((byte) => Uint8Array.of(byte)),
        bound,
      ),
    ).toEqual(expected);
  });

  test.each([
    ['text/plain; charset=ISO-8859-1', 'ISO-8859-1'],
    ['text/plain;CharSet="koi8-r"; format=flowed', 'koi8-r'],
    ['text/plain; charset=', undefined],
    ['text/plain', undefined],
  ])('%s declares a charset', async (contentType, expected) => {
    const body = Buffer.concat([part('form-data; name="a"', '', `Content-Type: ${contentType}`), closing]);
    for await (const { charset } of readParts(chunksOf(body), boundary)) expect(charset).toBe(expected);
  });

  test('of any names, heads, surroundings and cuts are the same', async () => {
    const name = fc
      .string({ unit: 'binary', minLength: 1, maxLength: 20 })
      .filter((text) => !/[\p{Cc}"\\%]/u.test(text));
    const bytes = fc.uint8Array({ maxLength: 300 }).map((array) => Buffer.from(array));
    const lines = fc.constantFrom(
      '',
      'X-Long: a: b\r\n',
      'Content-Type: image/png\r\n',
      'x:\r\n',
      'y: \xe9\xff\r\n',
    );
    const forms = fc.record({
      parts: fc.array(fc.record({ name, bytes, before: lines, after: lines }), {
        minLength: 1,
        maxLength: 5,
      }),
      padding: fc.constantFrom('', ' ', '\t  '),
      preamble: fc.constantFrom('', '\r\n', 'a preamble\r\n', '--nothing\r\n\r\n', '\r\r\n'),
      epilogue: fc.constantFrom('', '\r\n', '\r\nan epilogue\r\n--test-boundary\r\n'),
      cuts: fc.array(fc.nat(2000), { maxLength: 12 }),
    });
    await fc.assert(
      fc.asyncProperty(forms, async ({ parts, padding, preamble, epilogue, cuts }) => {
        fc.pre(parts.every((one) => !`\r\n${one.bytes.toString('latin1')}`.includes(`\r\n--${boundary}`)));
        const body = Buffer.concat([
          Buffer.from(preamble),
          ...parts.flatMap((one) => [
            Buffer.from(`--${boundary}${padding}\r\n${one.before}`, 'latin1'),
            Buffer.from(`Content-Disposition: form-data; name="files"; filename="${one.name}"\r\n`),
            Buffer.from(`${one.after}\r\n`, 'latin1'),
            one.bytes,
            Buffer.from('\r\n'),
          ]),
          Buffer.from(`--${boundary}--${epilogue}`),
        ]);
        const positions = [...new Set(cuts)].filter((at) => at < body.length).toSorted((a, b) => a - b);
        expect(await read(cutAt(body, positions))).toEqual(
          parts.map((one) => ({ name: 'files', filename: one.name, text: one.bytes.toString('latin1') })),
        );
      }),
      { numRuns: 300 },
    );
  });

  test.each([
    ['a letter', 'a', 'a'.repeat(70)],
    ['dashes', '-', '-'.repeat(70)],
    ['CR', '\r', 'a'.repeat(70)],
    ['LF', '\n', 'a'.repeat(70)],
    ['line breaks', '\r\n', 'a'.repeat(70)],
    ['delimiters’ beginnings', '\r\n--', '-'.repeat(70)],
    ['boundaries but for the last byte', `\r\n--${'a'.repeat(69)}`, 'a'.repeat(70)],
  ])('with a megabyte of nothing but %s are whole', async (_, unit, bound) => {
    const text = `x${unit.repeat(2 ** 20 / unit.length)}x`;
    const body = Buffer.from(`--${bound}\r\n${head}${text}\r\n--${bound}--`);
    const [only] = await read(cutAt(body, [65_536, 65_537, 200_000, 500_001]), bound);
    // A failed comparison would print the whole texts.
    expect(only?.text === text).toBe(true);
  });

  test('leave a chunk alone that has no delimiter: its reader may give its memory back', async () => {
    const chunk = new Uint8Array(100_000).fill(1);
    const got: boolean[] = [];
    for await (const { content } of readParts(
      chunksOf(Buffer.from(`--${boundary}\r\n${head}`), chunk, Buffer.from(`\r\n--${boundary}--`)),
      boundary,
    )) {
      for await (const bytes of content)
        got.push(bytes.buffer === chunk.buffer && bytes.byteLength === chunk.byteLength);
    }
    expect(got).toEqual([true]);
  });

  test.each<[string, Buffer]>([
    ['thousands of parts', Buffer.concat([...Array<Buffer>(4000).fill(filePart('a', '')), closing])],
    ['one of megabytes', Buffer.concat([filePart('a', Buffer.alloc(24 * 2 ** 20)), closing])],
  ])('give others their turn though all has come: %s', async (_, body) => {
    let turns = 0;
    let isReading = true;
    const count = () => {
      turns += 1;
      if (isReading) setImmediate(count);
    };
    setImmediate(count);
    for await (const { content } of readParts(chunksOf(body), boundary)) for await (const _bytes of content);
    isReading = false;
    expect(turns).toBeGreaterThan(20);
  });

  test('that come after are not taken for what is left of one before', async () => {
    const parts = readParts(chunksOf(threeParts), boundary);
    const first = (await parts.next()).value;
    await parts.next();
    for await (const _ of first?.content ?? []) throw new Error('The content of another part.');
    await parts.return(undefined);
  });

  test('without a file name are a thousand at most', async () => {
    const empty = part('form-data; name="files"; filename=""', '');
    const parts = (count: number) => Buffer.concat([...Array<Buffer>(count).fill(empty), closing]);
    expect(await read([parts(1000)])).toHaveLength(1000);
    expect(await faultOf([parts(1001)])).toMatchObject({
      code: 'part_unexpected',
      message: expect.stringContaining('more than 1000 parts without a file name'),
    });
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
