import { describe, expect, test } from 'bun:test';
import { createFakeEngine } from './fake-engine.ts';
import { categoriesPart, closing, filePart, form, part, postRaw, start } from './harness.ts';
import { post, twoPictures } from './post-pictures.ts';

describe('broken pictures', () => {
  const mixed = form(
    [
      ['a.jpg', 'cat'],
      ['x.jpg', 'broken:image_broken'],
      ['b.jpg', 'dog'],
      ['y.jpg', 'broken:image_unsupported'],
    ],
    'cat,dog',
  );
  const errors = [
    { file: 'x.jpg', code: 'image_broken', error: 'It is broken.' },
    { file: 'y.jpg', code: 'image_unsupported', error: 'It is broken.' },
  ];

  test.each(['/categorize', '/image'])('%s: plain answers fail and name all of them', async (path) => {
    const { status, text } = await post(path, mixed);
    expect(status).toBe(422);
    expect(JSON.parse(text)).toEqual({
      error: expect.stringContaining('2 files'),
      code: 'files_broken',
      errors,
    });
  });

  test('one broken picture is named in the sentence', async () => {
    const { text } = await post('/categorize', form([['x.jpg', 'broken:image_empty']], 'cat'));
    expect(JSON.parse(text).error).toBe('"x.jpg" cannot be used: It is broken.');
  });

  test('only unsupported formats: 415', async () => {
    const { status, text } = await post('/categorize', form([['x.heic', 'broken:image_unsupported']], 'cat'));
    expect(status).toBe(415);
    expect(JSON.parse(text)).toMatchObject({ code: 'image_unsupported', errors: [{ file: 'x.heic' }] });
  });

  test('details skip them and name them', async () => {
    const { status, text, headers } = await post('/categorize?details=true', mixed);
    expect(status).toBe(200);
    expect(JSON.parse(text).errors).toEqual(errors);
    expect(JSON.parse(text).results.map(({ file }: { file: string }) => file)).toEqual(['a.jpg', 'b.jpg']);
    expect(headers.get('x-broken-files')).toBe('2');
    expect(JSON.parse((await post('/image?details=true', mixed)).text).errors).toEqual(errors);
  });

  test('details with on_error=fail fail', async () => {
    const { status, text } = await post('/categorize?details=true&on_error=fail', mixed);
    expect(status).toBe(422);
    expect(JSON.parse(text).errors).toEqual(errors);
  });

  test('plain answers with on_error=skip have null in their place, and count them', async () => {
    const { status, text, headers } = await post('/categorize?on_error=skip', mixed);
    expect(status).toBe(200);
    expect(text).toBe('{"a.jpg":"cat","x.jpg":null,"b.jpg":"dog","y.jpg":null}');
    expect(headers.get('x-broken-files')).toBe('2');
    expect((await post('/image?on_error=skip', mixed)).text).toBe('{"cat":"a.jpg","dog":"b.jpg"}');
  });

  test('nothing but broken pictures', async () => {
    const body = form([['x.jpg', 'broken:image_broken']], 'cat,dog');
    expect((await post('/categorize?on_error=skip', body)).text).toBe('{"x.jpg":null}');
    expect((await post('/image?on_error=skip', body)).text).toBe('{"cat":null,"dog":null}');
    expect(JSON.parse((await post('/categorize?details=true', body)).text)).toMatchObject({ results: [] });
    expect(JSON.parse((await post('/image?details=true', body)).text).results[0]).toEqual({
      category: 'cat',
      file: null,
      score: null,
      similarity: null,
      scores: [],
    });
  });

  test('a picture over MAX_IMAGE_BYTES is named and passed over, the others are answered', async () => {
    const engine = createFakeEngine();
    const body = form(
      [
        ['big.jpg', 'x'.repeat(300_000)],
        ['a.jpg', 'cat'],
      ],
      'cat,dog',
    );
    const { text } = await post('/categorize?details=true', body, {
      engine: { state: 'ready', classifier: engine.classifier },
      environment: { MAX_IMAGE_BYTES: '1000' },
    });
    const { results, errors } = JSON.parse(text);
    expect(results).toHaveLength(1);
    expect(errors).toEqual([
      { file: 'big.jpg', code: 'image_too_large', error: expect.stringContaining('1000 bytes') },
    ]);
    expect(engine.added).toEqual([{ name: 'a.jpg', bytes: 3 }]);
  });

  test('a picture of exactly MAX_IMAGE_BYTES is taken', async () => {
    const { text } = await post('/categorize', form([['a.jpg', 'cat']], 'cat,dog'), {
      environment: { MAX_IMAGE_BYTES: '3' },
    });
    expect(text).toBe('{"a.jpg":"cat"}');
  });
});

describe('faults of the form', () => {
  const files = filePart('a.jpg', 'cat');
  const categories = categoriesPart('cat,dog');
  test.each<[string, string, number, Buffer[]]>([
    ['files_missing', 'curl -F files=@photo.jpg', 400, [categories]],
    ['files_missing', 'No picture', 400, []],
    ['files_missing', 'No picture', 400, [categories, filePart('', '')]],
    ['categories_missing', 'part named categories', 400, [files]],
    ['categories_missing', 'empty', 400, [files, categoriesPart('')]],
    ['categories_malformed', 'JSON', 400, [files, categoriesPart('{')]],
    ['categories_too_many', 'many', 400, [files, categoriesPart('a,'.repeat(1001))]],
    ['label_too_long', 'long', 400, [files, categoriesPart('a'.repeat(301))]],
    ['part_unexpected', 'The part categories was sent twice', 400, [files, categories, categories]],
    [
      'part_unexpected',
      'named \\"image\\"; accepted are files',
      400,
      [part('form-data; name="image"; filename="a"', 'x')],
    ],
    ['part_unexpected', 'named \\"__proto__\\"', 400, [part('form-data; name="__proto__"', 'x')]],
    ['files_too_many', 'More than 3 files', 400, [files, files, files, files, categories]],
    ['file_name_invalid', 'no file name', 400, [part('form-data; name="files"', 'cat'), categories]],
    ['file_name_invalid', 'empty name', 400, [filePart('', 'cat'), categories]],
    ['file_name_invalid', 'too long: 1025 bytes', 400, [filePart(`${'é'.repeat(512)}a`, 'cat'), categories]],
    [
      'file_name_invalid',
      'zero byte',
      400,
      [part("form-data; name=files; filename*=utf-8''a%00b", 'x'), categories],
    ],
    [
      'multipart_malformed',
      'Content-Transfer-Encoding',
      400,
      [part('form-data; name="files"; filename="a"', 'Y2F0', 'Content-Transfer-Encoding: base64')],
    ],
    [
      'multipart_too_large',
      'The categories have more than 4194304 bytes',
      413,
      [files, categoriesPart('a,'.repeat(2 * 1024 ** 2 + 1))],
    ],
    ['multipart_too_large', '16 KiB', 413, [filePart('a'.repeat(20_000), 'cat')]],
  ])('%s: %s', async (code, sentence, status, parts) => {
    const answer = await post('/categorize', Buffer.concat([...parts, closing]), {
      environment: { MAX_FILES: '3' },
    });
    expect(answer.text).toContain(sentence);
    expect(JSON.parse(answer.text)).toEqual({ error: expect.any(String), code });
    expect(answer.status).toBe(status);
  });

  test('a name of 1,024 bytes is fine', async () => {
    const name = 'é'.repeat(512);
    const body = Buffer.concat([filePart(name, 'cat'), categories, closing]);
    expect(JSON.parse((await post('/categorize', body)).text)).toEqual({ [name]: 'cat' });
  });

  test.each([
    ['content_type_unsupported', 415, 'application/json', '{}'],
    ['content_type_unsupported', 415, 'application/x-www-form-urlencoded', 'files=a'],
    ['multipart_malformed', 400, 'multipart/form-data', 'x'],
    ['multipart_malformed', 400, 'multipart/form-data; boundary=b', ''],
    [
      'multipart_malformed',
      400,
      'multipart/form-data; boundary=b',
      '--b\r\nContent-Disposition: form-data; name="files"',
    ],
  ])('%s (%i): %s', async (code, status, contentType, body) => {
    await using server = start();
    const response = await postRaw(server, '/image', body, contentType);
    expect(response.status).toBe(status);
    expect(await response.json()).toEqual({ error: expect.any(String), code });
  });

  test('impossible options are refused before the body is read', async () => {
    const { status, text, lines } = await post('/categorize?size=3', twoPictures);
    expect(status).toBe(400);
    expect(JSON.parse(text)).toMatchObject({ code: 'option_invalid' });
    expect(lines[0]?.fields).toMatchObject({ bytes: 0, files: 0 });
  });

  test('categories that cannot be used stop the upload at once, and the work on its pictures', async () => {
    const engine = createFakeEngine();
    const body = Buffer.concat([filePart('a', 'cat'), categoriesPart('{'), filePart('b', 'cat'), closing]);
    await post('/categorize', body, { engine: { state: 'ready', classifier: engine.classifier } });
    expect(engine.added.map(({ name }) => name)).toEqual(['a']);
    expect(engine.signals[0]?.aborted).toBe(true);
  });

  test('a bug is a 500 that says so, without its inside; the log has it all', async () => {
    const { classifier } = createFakeEngine({ onRank: () => Promise.reject(new Error('secret inside')) });
    const { status, text, lines, headers } = await post('/categorize', twoPictures, {
      engine: { state: 'ready', classifier },
    });
    expect(status).toBe(500);
    expect(JSON.parse(text)).toMatchObject({
      code: 'internal',
      error: expect.stringContaining('This is a bug'),
    });
    expect(text).toContain(headers.get('x-request-id') ?? 'no id');
    expect(text).not.toContain('secret');
    expect(lines.find(({ level }) => level === 'error')?.fields).toMatchObject({
      err: expect.objectContaining({ message: 'secret inside' }),
    });
  });
});
