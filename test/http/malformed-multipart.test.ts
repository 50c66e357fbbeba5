import { describe, expect, test } from 'bun:test';
import fc from 'fast-check';
import { boundary, closing, filePart, part } from './harness.ts';
import { cutAt, faultOf, threeParts } from './read-parts.ts';

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
