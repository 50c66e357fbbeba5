import { describe, expect, test } from 'bun:test';
import fc from 'fast-check';
import { ServiceError } from '../../src/errors.ts';
import { readForm } from '../../src/http/form.ts';
import { readParts } from '../../src/http/multipart.ts';
import { boundary, closing, filePart, part } from './harness.ts';
import { chunksOf, cutAt, faultOf, threeParts } from './read-parts.ts';

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
      'has an invalid header',
      Buffer.concat([part('form-data; name="a"', '', 'nonsense'), closing]),
    ],
    ['a zero byte in a header', 'has an invalid header', Buffer.concat([filePart('a\0b', ''), closing])],
    [
      'a boundary that goes on',
      'other characters follow',
      Buffer.from(`--${boundary}x\r\n\r\n--${boundary}--`),
    ],
    [
      'a boundary with half a closing',
      'other characters follow',
      Buffer.from(`--${boundary}-\r\n\r\n--${boundary}--`),
    ],
    [
      'line feeds without carriage returns',
      'other characters follow',
      Buffer.from(`--${boundary}\nA: b\n\n--${boundary}--`),
    ],
    ['a line feed in a header', 'has an invalid header', Buffer.concat([filePart('a\nb', ''), closing])],
    [
      'a header without name',
      'has an invalid header',
      Buffer.concat([part('form-data; name="a"', '', ': a'), closing]),
    ],
    [
      'a space before the colon',
      'has an invalid header',
      Buffer.concat([part('form-data; name="a"', '', 'A : a'), closing]),
    ],
    [
      'a first header that is folded',
      'has an invalid header',
      Buffer.from(`--${boundary}\r\n A: b\r\n\r\n\r\n--${boundary}--`),
    ],
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
    ['a header without end', [`X-Long: ${'a'.repeat(2 ** 21)}`]],
    ['one folded header', [`X-Long: ${'a\r\n '.repeat(5000)}`]],
    ['many headers', Array.from({ length: 120 }, (_, index) => `X-${index}: a`)],
  ])('headers that are too large: %s', async (_, headers) => {
    const body = Buffer.concat([part('form-data; name="files"; filename="a"', '', ...headers), closing]);
    expect((await faultOf([body]))?.code).toBe('multipart_too_large');
  });

  test('spaces without end after a boundary are too large', async () => {
    expect((await faultOf([Buffer.from(`--${boundary}${' '.repeat(20_000)}`)]))?.code).toBe(
      'multipart_too_large',
    );
  });

  /** A form with every feature that is parsed: names of several kinds, charsets, folded lines. */
  const forms: readonly Buffer[] = [
    threeParts,
    Buffer.concat([
      part(`form-data; name=files; filename*=iso-8859-1''B%E4r.png`, 'a', 'Content-Type: image/png'),
      part('form-data; name="files[0]";\r\n filename="a%22b.png"', 'b', 'Content-Transfer-Encoding: binary'),
      part('form-data; name="categories"', 'gelb,gr\xfcn', 'Content-Type: text/plain; charset=ISO-8859-1'),
      closing,
    ]),
  ];

  test('mutated bodies are read or refused with a known error', async () => {
    const mutation = fc.record({
      at: fc.nat(600),
      remove: fc.nat(20),
      insert: fc.oneof(
        fc
          .constantFrom('', '\r\n', '--', '"', '\0', ':', ';', '%', '\r', `--${boundary}`, 'é', '\x85', "''")
          .map((text) => Buffer.from(text)),
        fc.uint8Array({ maxLength: 4 }).map((bytes) => Buffer.from(bytes)),
      ),
    });
    const codes = new Set([
      'multipart_malformed',
      'multipart_too_large',
      'part_unexpected',
      'file_name_invalid',
      'categories_malformed',
      'categories_missing',
      'files_missing',
      undefined,
    ]);
    const receive = async (chunks: readonly Buffer[]) => {
      const lease = { take: () => undefined, give: () => undefined };
      await readForm(readParts(chunksOf(...chunks), boundary), lease, {
        field: 'files',
        async receive(name) {
          expect(name).not.toMatch(/[\p{Cc}\ufffd]/u);
          return true;
        },
        parseCategories: (document) => ({ labels: [document.toString()] }),
        checkCategories: async () => undefined,
      });
    };
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom(...forms),
        fc.array(mutation, { minLength: 1, maxLength: 4 }),
        fc.nat(600),
        async (form, mutations, cut) => {
          let body = form;
          for (const { at, remove, insert } of mutations) {
            const place = at % body.length;
            body = Buffer.concat([body.subarray(0, place), insert, body.subarray(place + remove)]);
          }
          const chunks = cutAt(body, [Math.min(cut, body.length)]);
          const code = await receive(chunks).then(
            () => undefined,
            (fault) => (fault instanceof ServiceError ? fault.code : fault),
          );
          expect(codes).toContain(code);
        },
      ),
      { numRuns: 1000, seed: 20_210_101 },
    );
  });
});
