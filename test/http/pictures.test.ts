import { describe, expect, test } from 'bun:test';
import { createFakeEngine } from './fake-engine.ts';
import { categoriesPart, closing, filePart, form, part } from './harness.ts';
import { post, twoPictures } from './post-pictures.ts';

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

  test.each(['/categorize', '/image'])('%s: warns of pictures that are cut off', async (path) => {
    const { text } = await post(
      `${path}?details=true`,
      form(
        [
          ['a.jpg', 'cut'],
          ['b.jpg', 'cat'],
        ],
        'cut,cat',
      ),
    );
    expect(JSON.parse(text)).toMatchObject({
      errors: [],
      warnings: [{ file: 'a.jpg', warning: 'The picture is cut off.' }],
    });
    const plain = await post(
      path,
      form(
        [
          ['a.jpg', 'cut'],
          ['b.jpg', 'cat'],
        ],
        'cut,cat',
      ),
    );
    expect(Object.keys(JSON.parse(plain.text))).toHaveLength(2);
  });

  describe('thumbnails', () => {
    const pictures = form(
      [
        ['a.heic', 'unshown:4'],
        ['b.jpg', 'dog'],
        ['a.heic', 'unshown:7'],
      ],
      'cat,dog',
    );

    test.each(['/categorize', '/image'])(
      '%s: adds those of pictures that browsers do not show',
      async (path) => {
        const { text } = await post(`${path}?details=true&thumbnails=true`, pictures);
        expect(JSON.parse(text).thumbnails).toEqual([
          { file: 'a.heic', image: 'AAAAAA==' },
          { file: 'a.heic (2)', image: 'AAAAAAAAAA==' },
        ]);
      },
    );

    test.each(['details=true', 'thumbnails=true', 'details=true&thumbnails=false'])(
      '%s: adds none',
      async (query) => {
        const { text } = await post(`/categorize?${query}`, pictures);
        expect(JSON.parse(text)).not.toContainKey('thumbnails');
      },
    );

    test('that are more than an answer may have end the request early, with advice', async () => {
      const { classifier, added } = createFakeEngine();
      const large = Array.from({ length: 20 }, (_, index) => [`${index}.heic`, 'unshown:6000000'] as const);
      const { status, text } = await post('/categorize?details=true&thumbnails=true', form(large, 'cat'), {
        engine: { state: 'ready', classifier },
      });
      expect(status).toBe(400);
      expect(JSON.parse(text)).toMatchObject({
        code: 'option_invalid',
        error: expect.stringContaining('leave out the option thumbnails'),
      });
      // 33,554,432 bytes are 4 of 8,000,000, and a part of the fifth.
      expect(added).toHaveLength(5);
    });
  });

  test('a background that is not a colour is a 400', async () => {
    const { status, text } = await post('/categorize?background=whitish', twoPictures);
    expect(status).toBe(400);
    expect(JSON.parse(text)).toMatchObject({
      code: 'option_invalid',
      error: expect.stringContaining('background="whitish" must be a colour'),
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

describe('answers that may be none or several', () => {
  const parts = form(
    [
      ['a', 'cat'],
      ['10', 'fish'],
      ['b', 'broken:image_broken'],
    ],
    'dog,cat,bird',
  );

  test('with others, below one half is none', async () => {
    const { status, text } = await post('/categorize?others=true&on_error=skip', parts);
    expect([status, text]).toEqual([200, '{"a":"cat","10":null,"b":null}']);
    const image = await post('/image?others=true', twoPictures);
    expect(image.text).toBe('{"dog":"b.jpg","cat":"a.jpg","bird":null}');
  });

  test('several are lists; a broken file has none', async () => {
    const { text } = await post('/categorize?several=true&on_error=skip', parts);
    expect(text).toBe('{"a":["cat"],"10":[],"b":null}');
    const lower = await post('/categorize?several=true&threshold=0.1&on_error=skip', parts);
    expect(lower.text).toBe('{"a":["cat","dog","bird"],"10":["dog","cat","bird"],"b":null}');
  });

  test('details have the list, and what each score competed with', async () => {
    const query = 'details=true&several=true&threshold=0.05&top_k=1';
    const { results } = JSON.parse((await post(`/categorize?${query}`, parts)).text);
    const background = { phrase: 'object', similarity: 0.1 };
    expect(results[0]).toEqual({
      file: 'a',
      category: 'cat',
      categories: ['cat', 'dog', 'bird'],
      score: 0.8,
      similarity: 0.2,
      background,
      scores: [{ category: 'cat', score: 0.8, similarity: 0.2 }],
    });
    expect(Object.keys(results[0])).toEqual([
      'file',
      'category',
      'categories',
      'score',
      'similarity',
      'background',
      'scores',
    ]);
    const none = JSON.parse((await post('/categorize?details=true&several=true', parts)).text);
    expect(none.results[1]).toMatchObject({ category: null, categories: [] });
    const image = JSON.parse((await post('/image?details=true&others=true&top_k=2', twoPictures)).text);
    expect(image.results[0]).toMatchObject({ file: 'b.jpg', background });
    for (const { scores } of image.results) {
      for (const one of scores) expect(one.background).toEqual(background);
    }
  });

  test('without these options, neither is there', async () => {
    const { text } = await post('/categorize?details=true&threshold=0.5', parts);
    expect(text).not.toContain('background');
    expect(text).not.toContain('"categories"');
  });

  test('several is refused elsewhere, and too many answers are', async () => {
    const refused = await post('/image?several=true', twoPictures);
    expect([refused.status, JSON.parse(refused.text).code]).toEqual([400, 'option_invalid']);
    const many = form(
      Array.from({ length: 600 }, (_, index): [string, string] => [`${index}`, 'x']),
      Array.from({ length: 500 }, (_, index) => `label ${index}`).join(),
    );
    const large = await post('/categorize?several=true&threshold=0', many);
    expect([large.status, large.text]).toEqual([400, expect.stringContaining('more than 250000 categories')]);
    expect((await post('/categorize?others=true&threshold=0', many)).status).toBe(200);
  });
});
