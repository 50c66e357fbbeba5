import { describe, expect, test } from 'bun:test';
import { createFakeEngine } from './fake-engine.ts';
import {
  categoriesPart,
  closing,
  filePart,
  form,
  part,
  postRaw,
  type StartOptions,
  start,
} from './harness.ts';

/** Posts a form to a server of its own. */
async function post(path: string, body: FormData | Uint8Array, options: StartOptions = {}) {
  await using server = start(options);
  const response =
    body instanceof FormData
      ? await fetch(server.address(path), { method: 'POST', body })
      : await postRaw(server, path, body);
  return {
    status: response.status,
    headers: response.headers,
    text: await response.text(),
    lines: server.lines,
  };
}

const twoPictures = form(
  [
    ['a.jpg', 'cat'],
    ['b.jpg', 'dog'],
  ],
  'dog,cat,bird',
);

describe('answers in the shapes of 2021', () => {
  test('/categorize: file → category, in the order sent', async () => {
    const { status, text, headers } = await post('/categorize', twoPictures);
    expect(status).toBe(200);
    expect(text).toBe('{"a.jpg":"cat","b.jpg":"dog"}');
    expect(headers.get('content-type')).toBe('application/json; charset=utf-8');
  });

  test('/image: category → file, in the order sent', async () => {
    const { status, text } = await post('/image', twoPictures);
    expect(status).toBe(200);
    expect(text).toBe('{"dog":"b.jpg","cat":"a.jpg","bird":"a.jpg"}');
  });

  test('parts come in any order, categories as a file or as a field', async () => {
    const first = Buffer.concat([categoriesPart('cat,dog'), filePart('a', 'dog'), closing]);
    const between = Buffer.concat([
      filePart('a', 'dog'),
      categoriesPart('cat,dog'),
      filePart('b', 'cat'),
      closing,
    ]);
    const asFile = Buffer.concat([
      filePart('a', 'dog'),
      part('form-data; name="categories"; filename="c.csv"', 'cat,dog', 'Content-Type: text/csv'),
      closing,
    ]);
    expect((await post('/categorize', first)).text).toBe('{"a":"dog"}');
    expect((await post('/categorize', between)).text).toBe('{"a":"dog","b":"cat"}');
    expect((await post('/categorize', asFile)).text).toBe('{"a":"dog"}');
  });

  test('keys keep their order where JavaScript would move or swallow them', async () => {
    const body = form(
      [
        ['10', 'x'],
        ['2', 'y'],
        ['__proto__', 'z'],
      ],
      'x,y,z',
    );
    expect((await post('/categorize', body)).text).toBe('{"10":"x","2":"y","__proto__":"z"}');
    const labels = form([['f', 'x']], '10,2,__proto__,constructor');
    expect((await post('/image', labels)).text).toBe('{"10":"f","2":"f","__proto__":"f","constructor":"f"}');
  });

  test('names come back exactly as sent', async () => {
    const names = [
      '写真 🐈.jpg',
      '../up/../a.jpg',
      'C:\\dir\\b.jpg',
      'a;b="c".jpg',
      "it's 100%.jpg",
      '<script>.jpg',
      'x\r\ny.jpg',
    ];
    const { text } = await post(
      '/categorize',
      form(
        names.map((name) => [name, 'cat']),
        'cat,dog',
      ),
    );
    expect(Object.keys(JSON.parse(text))).toEqual(names);
  });

  test('two files of one name both appear', async () => {
    const { text } = await post(
      '/categorize',
      form(
        [
          ['a', 'cat'],
          ['a', 'dog'],
        ],
        'cat,dog',
      ),
    );
    expect(text).toBe('{"a":"cat","a (2)":"dog"}');
  });

  test('below the threshold the answer is null', async () => {
    expect((await post('/categorize?threshold=0.81', twoPictures)).text).toBe('{"a.jpg":null,"b.jpg":null}');
    expect((await post('/categorize?threshold=0.8', twoPictures)).text).toBe('{"a.jpg":"cat","b.jpg":"dog"}');
    expect((await post('/image?threshold=0.5', twoPictures)).text).toBe(
      '{"dog":"b.jpg","cat":"a.jpg","bird":null}',
    );
  });
});

describe('detailed answers', () => {
  test('/categorize: the model, and every candidate’s standing', async () => {
    const { text } = await post('/categorize?details=true', twoPictures);
    expect(JSON.parse(text)).toEqual({
      model: {
        name: 'fake',
        sha256: '00'.repeat(32),
        precision: 'fp32',
        embedding_dimension: 2,
        image_resolution: 1,
      },
      results: [
        {
          file: 'a.jpg',
          category: 'cat',
          score: 0.8,
          similarity: 0.2,
          scores: [
            { category: 'cat', score: 0.8, similarity: 0.2 },
            { category: 'dog', score: 0.1, similarity: 0.025 },
            { category: 'bird', score: 0.1, similarity: 0.025 },
          ],
        },
        expect.objectContaining({ file: 'b.jpg', category: 'dog' }),
      ],
      errors: [],
    });
  });

  test('/image: per category', async () => {
    const { text } = await post('/image?details=true&threshold=0.5', twoPictures);
    expect(JSON.parse(text).results).toEqual([
      {
        category: 'dog',
        file: 'b.jpg',
        score: 0.8,
        similarity: 0.2,
        scores: [
          { file: 'b.jpg', score: 0.8, similarity: 0.2 },
          { file: 'a.jpg', score: 0.2, similarity: 0.05 },
        ],
      },
      expect.objectContaining({ category: 'cat', file: 'a.jpg' }),
      expect.objectContaining({ category: 'bird', file: null, score: 0.2 }),
    ]);
  });

  test('top_k: five unless told otherwise', async () => {
    const labels = ['cat', ...Array.from({ length: 9 }, (_, index) => `label ${index}`)].join(',');
    const listed = async (query: string) => {
      const { text } = await post(`/categorize?details=true${query}`, form([['a', 'cat']], labels));
      return JSON.parse(text).results[0].scores.length;
    };
    expect(await listed('')).toBe(5);
    expect(await listed('&top_k=1')).toBe(1);
    expect(await listed('&top_k=1000')).toBe(10);
  });

  test('an answer that would be enormous is refused, the five best are not', async () => {
    const labels = Array.from({ length: 1000 }, (_, index) => `l${index}`).join(',');
    const files = Array.from({ length: 300 }, (_, index): [string, string] => [`${index}`, 'l1']);
    const refused = await post('/categorize?details=true&top_k=1000', form(files, labels));
    expect(refused.status).toBe(400);
    expect(JSON.parse(refused.text)).toMatchObject({ code: 'option_invalid' });
    expect(refused.text).toContain('300000 scores');
    expect((await post('/categorize?details=true', form(files, labels))).status).toBe(200);
  });

  test('templates reach the engine', async () => {
    const tooLong = await post(`/categorize?template=${'a'.repeat(400)}{}`, twoPictures);
    expect(JSON.parse(tooLong.text)).toMatchObject({ code: 'label_too_long' });
  });
});

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
    ['part_unexpected', 'sent twice', 400, [files, categories, categories]],
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
