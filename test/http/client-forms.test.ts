import { describe, expect, test } from 'bun:test';
import { categoriesPart, closing, filePart, part, postRaw } from './harness.ts';
import { post } from './post-pictures.ts';
import { film, startVideos, videoPart } from './video/video-server.ts';

/** A part with its head in Latin-1: one byte per character. */
function latin1Part(field: string, parameter: string, content: string): Buffer {
  const line = Buffer.from(`form-data; name="${field}"; ${parameter}`, 'latin1');
  const [before, after] = part('PLACE', content).toString('latin1').split('PLACE');
  return Buffer.concat([Buffer.from(before ?? ''), line, Buffer.from(after ?? '', 'latin1')]);
}

async function postVideo(parts: readonly Buffer[]) {
  await using server = await startVideos();
  const response = await postRaw(server, '/video?images=false', Buffer.concat([...parts, closing]));
  return { status: response.status, text: await response.text(), left: await server.left() };
}

const categories = categoriesPart('cat,dog');
describe('file names of pictures', () => {
  test.each([
    ['an extended name in Latin-1', "filename*=iso-8859-1''B%E4r.png", 'Bär.png'],
    ['an extended name in UTF-8, in quotes', `filename*="UTF-8''B%C3%A4r.png"`, 'Bär.png'],
    [
      'an extended name beside one that is not UTF-8',
      `filename="B\xe4r.png"; filename*=utf-8''B%C3%A4r.png`,
      'Bär.png',
    ],
    ['UTF-8', `filename="B\xc3\xa4r.png"`, 'Bär.png'],
    ['not normalised', `filename="Ba\xcc\x88r.png"`, 'Ba\u0308r.png'],
    ['a byte order mark', `filename="\xef\xbb\xbfa.png"`, '\ufeffa.png'],
    ['percent signs that browsers leave alone', `filename="100%20%C3%A4.png"`, '100%20%C3%A4.png'],
    ['an extended name with percent signs', "filename*=utf-8''100%250Awool.png", '100%0Awool.png'],
  ])('%s', async (_, parameter, name) => {
    const { status, text } = await post(
      '/categorize',
      Buffer.concat([latin1Part('files', parameter, 'cat'), categories, closing]),
    );
    expect(JSON.parse(text)).toEqual({ [name]: 'cat' });
    expect(status).toBe(200);
  });

  const refused: [string, string, string, string][] = [
    [
      'Latin-1',
      'filename="B\xe4r.png"',
      'file_name_invalid',
      'The file name "B\\xe4r.png" is not valid UTF-8: byte 1, counted from 0, is 0xe4. Send names in UTF-8; a name in Latin-1 can also be sent like filename*=iso-8859-1\'\'caf%E9.jpg.',
    ],
    [
      'a tab',
      'filename="a\tb.png"',
      'file_name_invalid',
      'The file name "a\\tb.png" has the control character U+0009 at position 1, counted from 0; names without control characters are accepted.',
    ],
    [
      'a terminal’s escape',
      'filename="\xc3\xa9\x1b[2J"',
      'file_name_invalid',
      'The file name "é\\u001b[2J" has the control character U+001B at position 1, counted from 0; names without control characters are accepted.',
    ],
    [
      'a control character beyond ASCII',
      'filename="a\xc2\x9bb"',
      'file_name_invalid',
      'The file name "a\\u009bb" has the control character U+009B at position 1, counted from 0; names without control characters are accepted.',
    ],
    [
      'a delete character behind one of two units',
      "filename*=utf-8''%F0%9F%90%88%7F",
      'file_name_invalid',
      'The file name "🐈\\u007f" has the control character U+007F at position 1, counted from 0; names without control characters are accepted.',
    ],
    [
      'a zero byte',
      "filename*=utf-8''a%00b",
      'file_name_invalid',
      'The file name "a\\u0000b" has the control character U+0000 (a zero byte) at position 1, counted from 0; names without control characters are accepted.',
    ],
    [
      'a line break as browsers write it',
      'filename="100%0awool.png"',
      'file_name_invalid',
      'The file name "100\\nwool.png" has the control character U+000A at position 3, counted from 0; names without control characters are accepted. Forms write a line break as %0D or %0A; to send a name that contains these letters, write filename*=utf-8\'\'100%250Awool.png.',
    ],
    [
      'broken percent signs',
      "filename*=utf-8''100%.png",
      'multipart_malformed',
      "The multipart body is malformed: a part’s header cannot be decoded: filename* is \"utf-8''100%.png\"; accepted are utf-8''… and iso-8859-1''…, with bytes of that charset as % and two hexadecimal digits, e.g. utf-8''caf%C3%A9.jpg.",
    ],
  ];
  test.each(refused)('%s is refused by name', async (_, parameter, code, error) => {
    const { status, text } = await post(
      '/image',
      Buffer.concat([latin1Part('files', parameter, 'cat'), categories, closing]),
    );
    expect(JSON.parse(text)).toEqual({ error, code });
    expect(status).toBe(400);
  });

  test.each(refused)('%s in a video’s name is refused, too', async (_, parameter, code, error) => {
    const { status, text, left } = await postVideo([latin1Part('video', parameter, film), categories]);
    expect(JSON.parse(text)).toEqual({ error, code });
    expect(status).toBe(400);
    expect(left).toEqual([]);
  });

  test('that are not UTF-8 do not matter for categories, which are not answered by file name', async () => {
    const body = Buffer.concat([
      filePart('a.png', 'cat'),
      latin1Part('categories', 'filename="B\xe4ume.txt"', 'cat'),
      closing,
    ]);
    expect((await post('/categorize', body)).text).toBe('{"a.png":"cat"}');
  });
});

describe('other names of files', () => {
  const named = (field: string, name: string, content: string) =>
    part(`form-data; name="${field}"; filename="${name}"`, content);

  test.each([
    ['axios, dio', 'files[]', 'files[]'],
    ['PHP', 'files[0]', 'files[1]'],
    ['the last of ten thousand', 'files[9999]', 'files'],
  ])('%s', async (_, first, second) => {
    const body = Buffer.concat([named(first, 'a', 'cat'), named(second, 'b', 'dog'), categories, closing]);
    expect((await post('/categorize', body)).text).toBe('{"a":"cat","b":"dog"}');
  });

  test.each([
    'files[10000]',
    'files[-1]',
    'files[a]',
    'files[0][0]',
    'files[00]',
    'files[',
    'file[]',
    'xfiles[]',
  ])('%s is none', async (field) => {
    const { text } = await post(
      '/categorize',
      Buffer.concat([named(field, 'a', 'cat'), categories, closing]),
    );
    expect(JSON.parse(text)).toMatchObject({
      code: 'part_unexpected',
      error: expect.stringContaining(`"${field}"`),
    });
  });

  test('pictures under them are no video', async () => {
    const { text } = await postVideo([videoPart(film), named('files[]', 'a', 'cat'), categories]);
    expect(JSON.parse(text)).toMatchObject({
      code: 'part_unexpected',
      error: expect.stringContaining('/video accepts one video'),
    });
  });
});

describe('the charset of categories', () => {
  const typed = (contentType: string, bytes: Uint8Array, filename = '') =>
    part(`form-data; name="categories"${filename}`, bytes, `Content-Type: ${contentType}`);
  const words = 'grün,gelb';
  const utf16be = Buffer.from(words, 'utf16le').swap16();

  test.each<[string, Buffer]>([
    ['ISO-8859-1', typed('text/plain; charset=ISO-8859-1', Buffer.from(words, 'latin1'))],
    [
      'in quotes, for a file',
      typed('text/csv; charset="iso-8859-15"', Buffer.from(words, 'latin1'), '; filename="c.csv"'),
    ],
    ['Windows-1252', typed('text/plain;charset=windows-1252', Buffer.from(words, 'latin1'))],
    ['UTF-8', typed('text/plain; charset=UTF-8', Buffer.from(words))],
    ['US-ASCII, though it is UTF-8', typed('text/plain; charset=US-ASCII', Buffer.from(words))],
    ['UTF-16, big-endian', typed('text/plain; charset=UTF-16BE', utf16be)],
    [
      'a byte order mark counts for more',
      typed('text/plain; charset=ISO-8859-1', Buffer.from(`\ufeff${words}`)),
    ],
    ['none: UTF-8', typed('text/plain', Buffer.from(words))],
  ])('%s', async (_, document) => {
    const body = Buffer.concat([filePart('a.png', 'grün'), document, closing]);
    // The fake classifier removes a byte order mark, as the real one does.
    expect((await post('/categorize', body)).text).toBe('{"a.png":"grün"}');
  });

  test('for a video, too', async () => {
    const { text } = await postVideo([
      videoPart('grün@1.5'),
      typed('text/plain; charset=ISO-8859-1', Buffer.from('grün', 'latin1')),
    ]);
    expect(text).toBe('{"grün":["film-1.500.jpg"]}');
  });

  test.each([
    [
      'an unknown one',
      'charset=klingon',
      'The part categories declares the charset "klingon", which is unknown; send UTF-8.',
    ],
    [
      'UTF-7',
      'charset=utf-7',
      'The part categories declares the charset "utf-7", which is unknown; send UTF-8.',
    ],
    [
      'bytes that are not of it',
      'charset=euc-jp',
      'The part categories declares the charset euc-jp, but its bytes are not valid in it; send UTF-8.',
    ],
  ])('%s is refused', async (_, charset, error) => {
    const body = Buffer.concat([
      filePart('a.png', 'cat'),
      typed(`text/plain; ${charset}`, Buffer.from('gr\xfc', 'latin1')),
      closing,
    ]);
    const { status, text } = await post('/categorize', body);
    expect(JSON.parse(text)).toEqual({ error, code: 'categories_malformed' });
    expect(status).toBe(400);
  });

  test('a part named _charset_ is refused by name', async () => {
    const body = Buffer.concat([part('form-data; name="_charset_"', 'iso-8859-1'), categories, closing]);
    expect(JSON.parse((await post('/categorize', body)).text)).toMatchObject({
      code: 'part_unexpected',
      error: expect.stringContaining('"_charset_"'),
    });
  });
});

describe('a file input and a text field of categories, one of them left alone', () => {
  const leftAlone = part(
    'form-data; name="categories"; filename=""',
    '',
    'Content-Type: application/octet-stream',
  );
  const empty = categoriesPart('');
  const file = part('form-data; name="categories"; filename="c.txt"', 'cat,dog');

  test.each<[string, Buffer[]]>([
    ['the file, first', [leftAlone, categories]],
    ['the file, last', [categories, leftAlone]],
    ['the text, first', [empty, file]],
    ['the text, last', [file, empty]],
  ])('%s', async (_, parts) => {
    expect((await post('/categorize', Buffer.concat([filePart('a', 'cat'), ...parts, closing]))).text).toBe(
      '{"a":"cat"}',
    );
    expect((await postVideo([videoPart(film), ...parts])).text).toBe(
      '{"cat":["film-1.500.jpg"],"dog":["film-3.000.jpg"]}',
    );
  });

  test.each<[string, string, Buffer[]]>([
    ['both left alone', 'categories_missing', [leftAlone, empty]],
    ['both filled in', 'part_unexpected', [file, categories]],
    [
      'a file that is empty',
      'categories_missing',
      [part('form-data; name="categories"; filename="c.txt"', '')],
    ],
  ])('%s: %s', async (_, code, parts) => {
    const { status, text } = await post(
      '/categorize',
      Buffer.concat([filePart('a', 'cat'), ...parts, closing]),
    );
    expect(JSON.parse(text)).toMatchObject({ code });
    expect(status).toBe(400);
  });

  test('a text under an empty file name counts', async () => {
    const text = part('form-data; name="categories"; filename=""', 'cat,dog');
    expect((await post('/categorize', Buffer.concat([filePart('a', 'cat'), text, closing]))).text).toBe(
      '{"a":"cat"}',
    );
  });
});

test('parts that count for nothing are a thousand at most', async () => {
  const empty = (field: string) => part(`form-data; name="${field}"; filename=""`, '');
  const parts = [...Array<Buffer>(600).fill(empty('files')), ...Array<Buffer>(600).fill(empty('categories'))];
  const { status, text } = await post(
    '/categorize',
    Buffer.concat([...parts, filePart('a', 'cat'), categories, closing]),
  );
  expect(JSON.parse(text)).toEqual({
    code: 'part_unexpected',
    error:
      'The form has more than 1000 parts without a file name; send each picture as a file that has a name, and the categories as one part.',
  });
  expect(status).toBe(400);
});
