import { describe, expect, test } from 'bun:test';
import * as v from 'valibot';
import { embeddingsAnswerSchema } from '../../src/contract/schemas.ts';
import { createFakeEngine, fakeModel } from './fake-engine.ts';
import {
  boundary,
  categoriesPart,
  closing,
  filePart,
  metricOf,
  part,
  postRaw,
  type StartOptions,
  start,
  type TestServer,
  untilIdle,
} from './harness.ts';

type Json = Readonly<Record<string, unknown>>;

const field = (name: string, text: string | Uint8Array, ...headers: string[]) =>
  part(`form-data; name="${name}"`, text, ...headers);
const file = (name: string, filename: string, text: string) =>
  part(`form-data; name="${name}"; filename="${filename}"`, text);

async function ask(
  path: string,
  body: readonly Uint8Array[] | object | string,
  options: StartOptions = {},
): Promise<{ status: number; body: Json; headers: Headers; server: TestServer }> {
  await using server = start(options);
  const response = Array.isArray(body)
    ? await postRaw(server, path, Buffer.concat([...body, closing]))
    : await postRaw(
        server,
        path,
        typeof body === 'string' ? body : JSON.stringify(body),
        'application/json; charset=utf-8',
      );
  const answer = (await response.json()) as Json;
  await untilIdle(server);
  return { status: response.status, body: answer, headers: response.headers, server };
}

interface Answer {
  readonly embeddings: readonly { file?: string; text?: string; id?: string; embedding: number[] }[];
  readonly errors: readonly Json[];
}
const answerOf = async (...given: Parameters<typeof ask>) =>
  (await ask(...given)).body as unknown as Answer & Json;

const { classifier } = createFakeEngine();
const live = { signal: new AbortController().signal };
const [cat, dog] = await classifier.embedTexts(['cat', 'dog'], {}, live);
const numbers = (embedding: Float32Array | undefined) =>
  Array.from(embedding ?? [], (value) => Number(value.toPrecision(9)));
const base64 = (embedding: Float32Array | undefined) =>
  Buffer.from((embedding as Float32Array).buffer).toString('base64');
const origin = { model: 'fake', sha256: fakeModel.sha256, precision: 'fp32', dimension: 2, logit_scale: 100 };

describe('/embeddings answers a form', () => {
  test('with the embeddings of its pictures, then of its texts, and what made them', async () => {
    const { status, body } = await ask('/embeddings', [
      field('texts', 'dog'),
      filePart('a.jpg', 'cat'),
      filePart('a.jpg', 'dog'),
    ]);
    expect(status).toBe(200);
    expect(body).toEqual({
      ...origin,
      embeddings: [
        { file: 'a.jpg', embedding: numbers(cat) },
        { file: 'a.jpg (2)', embedding: numbers(dog) },
        { text: 'dog', embedding: numbers(dog) },
      ],
      errors: [],
    });
  });

  test('with numbers that restore every float32', async () => {
    const { embeddings } = await answerOf('/embeddings', [filePart('a.jpg', 'cat')]);
    expect([...Float32Array.from(embeddings[0]?.embedding ?? [])]).toEqual([...(cat ?? [])]);
    const encoded = await ask('/embeddings?encoding_format=base64', [filePart('a.jpg', 'cat')]);
    expect(encoded.body.embeddings).toEqual([{ file: 'a.jpg', embedding: base64(cat) }]);
  });

  test.each([
    [
      'fields, exactly as written',
      [field('texts', 'a cat, a dog'), field('texts', ' cat ')],
      ['a cat, a dog', ' cat '],
    ],
    ['equal fields', [field('texts', 'cat'), field('texts', 'cat')], ['cat', 'cat']],
    ['a file', [file('texts', 't.csv', 'cat,dog')], ['cat', 'dog']],
    ['a field of CSV', [field('texts', 'cat,dog', 'Content-Type: text/csv')], ['cat', 'dog']],
    [
      'several documents',
      [file('texts', 'a', 'cat,dog'), file('texts', 'b', 'fish')],
      ['cat', 'dog', 'fish'],
    ],
    ['an empty field beside others', [field('texts', ''), field('texts', 'cat')], ['cat']],
  ])('texts in %s', async (_, parts, texts) => {
    const { embeddings } = await answerOf('/embeddings', parts);
    expect(embeddings.map(({ text }) => text)).toEqual(texts);
  });

  test('ids, in any place', async () => {
    const list = await answerOf('/embeddings', [
      filePart('a', 'cat'),
      field('ids', '["17", "x"]'),
      filePart('b', 'dog'),
    ]);
    expect(list.embeddings.map(({ id }) => id)).toEqual(['17', 'x']);
    const single = await answerOf('/embeddings', [field('ids', '17'), filePart('a', 'cat')]);
    expect(single.embeddings.map(({ id }) => id)).toEqual(['17']);
  });

  describe('thumbnails of pictures that browsers do not show', () => {
    const pictures = [filePart('a.heic', 'unshown:4'), filePart('b.jpg', 'cat')];

    test('beside the embeddings, if they are wanted', async () => {
      const wanted = await ask('/embeddings?thumbnails=true', pictures);
      expect(wanted.body.thumbnails).toEqual([{ file: 'a.heic', image: 'AAAAAA==' }]);
      expect(v.is(embeddingsAnswerSchema, wanted.body)).toBeTrue();
      for (const query of ['', '?thumbnails=false']) {
        const { body } = await ask(`/embeddings${query}`, pictures);
        expect(body).not.toContainKey('thumbnails');
      }
      const none = await ask('/embeddings?thumbnails=true', pictures.slice(1));
      expect(none.body).not.toContainKey('thumbnails');
    });

    test('in the event of the picture', async () => {
      await using server = start({});
      const response = await fetch(server.address('/embeddings?thumbnails=true'), {
        method: 'POST',
        body: Buffer.concat([...pictures, closing]),
        headers: {
          'content-type': `multipart/form-data; boundary=${boundary}`,
          accept: 'application/x-ndjson',
        },
      });
      const events = (await response.text()).trim().split('\n');
      const thumbnails = events
        .map((line) => JSON.parse(line))
        .filter(({ event }) => event === 'embedding')
        .map(({ data }) => data.thumbnail);
      expect(thumbnails).toEqual(['AAAAAA==', undefined]);
    });

    test('in a JSON body are refused: the answer has no place for them', async () => {
      const { status, body } = await ask('/embeddings?thumbnails=true', { input: 'cat' });
      expect(status).toBe(400);
      expect(body).toMatchObject({ code: 'option_invalid', error: expect.stringContaining('needs a form') });
    });
  });

  test('a broken picture fails it, or is listed', async () => {
    const form = [field('ids', '["1","2"]'), filePart('a', 'cat'), filePart('b', 'broken:image_broken')];
    const failed = await ask('/embeddings', form);
    expect(failed.status).toBe(422);
    const fault = { file: 'b', id: '2', code: 'image_broken', error: 'It is broken.' };
    expect(failed.body).toMatchObject({ code: 'files_broken', errors: [fault] });
    const skipped = await ask('/embeddings?on_error=skip', form);
    expect(skipped.status).toBe(200);
    expect(skipped.body.errors).toEqual([fault]);
    expect(skipped.headers.get('x-broken-files')).toBe('1');
  });

  test.each<[string, string, readonly Uint8Array[], string]>([
    ['nothing', '/embeddings', [], 'files_missing'],
    ['categories', '/embeddings', [categoriesPart('cat')], 'part_unexpected'],
    ['another encoding', '/embeddings?encoding_format=int8', [], 'option_invalid'],
    ['details', '/embeddings?details=true', [], 'option_invalid'],
    ['a long text', '/embeddings', [field('texts', 'x'.repeat(301))], 'label_too_long'],
    ['no UTF-8', '/embeddings', [field('texts', Uint8Array.of(0xff))], 'categories_malformed'],
    [
      'too few ids',
      '/embeddings',
      [field('ids', '1'), filePart('a', 'x'), filePart('b', 'x')],
      'ids_invalid',
    ],
    ['too many ids', '/embeddings', [field('ids', '["1","2"]'), filePart('a', 'x')], 'ids_invalid'],
    ['ids of numbers', '/embeddings', [field('ids', '[1]'), filePart('a', 'x')], 'ids_invalid'],
    ['a long id', '/embeddings', [field('ids', 'x'.repeat(1025)), filePart('a', 'x')], 'ids_invalid'],
  ])('refuses %s', async (_, path, parts, code) => {
    const { status, body } = await ask(path, parts);
    expect([status, body.code]).toEqual([400, code]);
  });

  test('refuses more texts than are encoded at once', async () => {
    const texts = [1, 2].map((part) => file('texts', `${part}`, `${part},`.repeat(5001)));
    expect((await ask('/embeddings', texts)).body).toMatchObject({
      code: 'categories_too_many',
      limit: 10_000,
    });
    const few = file('texts', 't', 'x,'.repeat(101));
    const templates = Array.from({ length: 100 }, () => 'template={}').join('&');
    expect((await ask(`/embeddings?${templates}`, [few])).body.limit).toBe(100);
  });

  test('of any number: the answer is generated while it is sent', async () => {
    const texts = file('texts', 't', Array.from({ length: 9000 }, (_, index) => `text ${index}`).join());
    const { embeddings } = await answerOf('/embeddings', [texts]);
    expect(embeddings).toHaveLength(9000);
    expect(embeddings[8999]?.text).toBe('text 8999');
  });
});

describe('/embeddings answers the body of OpenAI’s API', () => {
  const url = (text: string) => `data:image/jpeg;base64,${btoa(text)}`;

  test.each(['/embeddings', '/v1/embeddings'])(
    'at %s, texts and pictures in the order sent',
    async (path) => {
      const { status, body } = await ask(path, {
        model: 'any',
        input: ['cat', url('dog'), 'dog', url('cat')],
      });
      expect(status).toBe(200);
      const data = [cat, dog, dog, cat].map((embedding, index) => ({
        object: 'embedding',
        index,
        embedding: numbers(embedding),
      }));
      expect(body).toEqual({
        object: 'list',
        data,
        model: 'fake',
        usage: { prompt_tokens: 6, total_tokens: 6 },
        logit_scale: 100,
      });
    },
  );

  test('one string, in base64, with what clients add', async () => {
    const { body } = await ask('/embeddings', {
      input: 'cat',
      encoding_format: 'base64',
      dimensions: 2,
      user: 'me',
      model: null,
    });
    expect(body.data).toEqual([{ object: 'embedding', index: 0, embedding: base64(cat) }]);
  });

  test('a picture that cannot be used is named by its place', async () => {
    const input = ['cat', url('broken:image_broken')];
    const { status, body } = await ask('/embeddings', { input });
    expect(status).toBe(422);
    expect(body.errors).toEqual([{ file: 'input[1]', code: 'image_broken', error: 'It is broken.' }]);
    const large = await ask(
      '/embeddings',
      { input: [url('x'.repeat(100)), 'cat'] },
      {
        environment: { MAX_IMAGE_BYTES: '50' },
      },
    );
    expect(large.status).toBe(422);
    expect(large.body.errors).toMatchObject([{ file: 'input[0]', code: 'image_too_large' }]);
  });

  test.each<[string, object | string, string, string]>([
    ['tokens', { input: [[1, 2]] }, 'json_invalid', 'something else as input[0] than a string'],
    ['no input', { model: 'x' }, 'json_invalid', 'has no input'],
    ['an empty list', { input: [] }, 'json_invalid', 'has no input'],
    ['an empty text', { input: [''] }, 'json_invalid', 'an empty text as input[0]'],
    ['an endless text', { input: 'x'.repeat(70_000) }, 'json_invalid', 'more than 65536 characters as input'],
    ['a long text', { input: 'x'.repeat(301) }, 'label_too_long', 'Too long'],
    [
      'another encoding',
      { input: 'a', encoding_format: 'int8' },
      'json_invalid',
      'neither "float" nor "base64"',
    ],
    ['another dimension', { input: 'a', dimensions: 7 }, 'json_invalid', 'other dimensions than 2'],
    ['no base64', { input: 'data:image/png,x' }, 'json_invalid', 'a data URL as input that is not in base64'],
    ['wrong base64', { input: 'data:;base64,%%%%' }, 'json_invalid', 'no valid base64 as input: "%"'],
    ['half a body', '{"input":"a"', 'json_invalid', 'it ends at byte 12, too early'],
    ['two bodies', '{"input":"a"}{}', 'json_invalid', 'byte 13 is "{"'],
    ['a list', '["a"]', 'json_invalid', 'byte 0 is "["'],
    ['nothing', '', 'json_invalid', 'it ends at byte 0'],
  ])('refuses %s', async (_, body, code, words) => {
    const { status, body: answer } = await ask('/embeddings', body);
    expect([status, answer.code]).toEqual([400, code]);
    expect(answer.error).toContain(words);
  });

  test('refuses an encoded body, and on_error=skip', async () => {
    await using server = start();
    const headers = { 'content-type': 'application/json', 'content-encoding': 'gzip' };
    const init = { method: 'POST', body: '{"input":"a"}', headers };
    expect((await fetch(server.address('/embeddings'), init)).status).toBe(415);
    expect((await ask('/embeddings?on_error=skip', { input: 'a' })).body.code).toBe('option_invalid');
  });
});

describe('embeddings are questions, too', () => {
  const form = [filePart('a.jpg', 'cat'), filePart('b.jpg', 'dog')];
  const categories = categoriesPart('dog,cat');
  const stored = (content: string) => file('embeddings', 'stored', content);
  const entry = (name: string, embedding: Float32Array | undefined) => ({
    file: name,
    embedding: numbers(embedding),
  });
  const { sha256 } = fakeModel;
  const lines = [entry('a.jpg', cat), entry('b.jpg', dog)];

  test.each(['/categorize', '/image', '/categorize?details=true', '/image?details=true'])(
    '%s answers them as it answers the pictures',
    async (path) => {
      const pictures = (await ask(path, [...form, categories])).body;
      const answer = JSON.stringify(await answerOf('/embeddings', form));
      const encoded = JSON.stringify(await answerOf('/embeddings?encoding_format=base64', form));
      const events = await (async () => {
        await using server = start();
        const headers = {
          'content-type': 'multipart/form-data; boundary=test-boundary',
          accept: 'application/x-ndjson',
        };
        const init = { method: 'POST', body: Buffer.concat([...form, closing]), headers };
        return await (await fetch(server.address('/embeddings'), init)).text();
      })();
      for (const document of [
        answer,
        encoded,
        events,
        JSON.stringify({ embeddings: lines, sha256: sha256.toUpperCase() }),
        JSON.stringify(lines.map((line) => ({ ...line, sha256, precision: 'fp32' }))),
        lines.map((line) => JSON.stringify({ sha256, ...line })).join('\r\n'),
      ]) {
        expect((await ask(path, [categories, stored(document)])).body).toEqual(pictures);
      }
      const mixed = [
        stored(JSON.stringify({ sha256, embeddings: lines.slice(0, 1) })),
        form[1] as Uint8Array,
      ];
      expect((await ask(path, [...mixed, categories])).body).toEqual(pictures);
    },
  );

  test('with their ids', async () => {
    const document = JSON.stringify({
      sha256,
      embeddings: lines.map((line, at) => ({ ...line, id: `${at}` })),
    });
    const { body } = await ask('/categorize?details=true', [stored(document), categories]);
    expect((body.results as Json[]).map(({ id }) => id)).toEqual(['0', '1']);
  });

  test.each<[string, object | string, number, string, string]>([
    [
      'another model',
      { sha256: 'ab', embeddings: lines },
      409,
      'embeddings_mismatch',
      'entry 1) is of another model',
    ],
    [
      'another precision',
      { sha256, precision: 'int8', embeddings: lines },
      409,
      'embeddings_mismatch',
      'in "int8"',
    ],
    [
      'another model, said at the end',
      { embeddings: lines, sha256: 'ab' },
      409,
      'embeddings_mismatch',
      'entry 2)',
    ],
    ['no model', { embeddings: lines }, 400, 'embeddings_invalid', 'does not say of which model'],
    ['no model of a list', lines, 400, 'embeddings_invalid', 'does not say of which model'],
    [
      'a dimension',
      { sha256, embeddings: [{ file: 'x', embedding: [1] }] },
      400,
      'embeddings_invalid',
      '"x"',
    ],
    [
      'a word',
      { sha256, embeddings: [{ file: 'x', embedding: [1, 'a'] }] },
      400,
      'embeddings_invalid',
      'at 1',
    ],
    [
      'no numbers',
      { sha256, embeddings: [{ file: 'x' }] },
      400,
      'embeddings_invalid',
      '"x" (entry 1) is missing',
    ],
    [
      'half a base64',
      { sha256, embeddings: [{ file: 'x', embedding: 'AAA' }] },
      400,
      'embeddings_invalid',
      'base64',
    ],
    [
      'no file',
      { sha256, embeddings: [{ text: 'x', embedding: [1, 0] }] },
      400,
      'embeddings_invalid',
      'Entry 1',
    ],
    [
      'an empty name',
      { sha256, embeddings: [{ file: '', embedding: [1, 0] }] },
      400,
      'file_name_invalid',
      '',
    ],
    ['a broken line', '{"file":"a"}\n{"file', 400, 'embeddings_invalid', ''],
    ['half a stream', '{"event":"error","data":{}}', 400, 'embeddings_invalid', 'incomplete'],
    ['a number', '7', 400, 'embeddings_invalid', 'byte 0 is "7"'],
  ])('refuses %s', async (_, document, status, code, words) => {
    const text = typeof document === 'string' ? document : JSON.stringify(document);
    const { status: answered, body } = await ask('/categorize', [stored(text), categories]);
    expect([answered, body.code]).toEqual([status, code]);
    expect(body.error).toContain(words);
  });

  test('without any, a picture is missing', async () => {
    const { body } = await ask('/image', [stored(JSON.stringify({ sha256, embeddings: [] })), categories]);
    expect(body.code).toBe('files_missing');
  });

  test('count as files', async () => {
    const options = { environment: { MAX_FILES: '1' } };
    const document = stored(JSON.stringify({ sha256, embeddings: lines }));
    expect((await ask('/image', [document, categories], options)).body.code).toBe('files_too_many');
  });
});

describe('/categorize answers the body of zero-shot image classification', () => {
  const parameters = { candidate_labels: ['dog', 'cat'] };
  const scores = [
    { label: 'cat', score: 0.8 },
    { label: 'dog', score: 0.2 },
  ];
  const picture = btoa('cat');

  test.each<[string, object, unknown]>([
    ['base64', { inputs: picture, parameters }, scores],
    ['a data URL', { inputs: `data:image/png;base64,${picture}`, parameters }, scores],
    ['an object, after the parameters', { parameters, inputs: { image: picture } }, scores],
    ['a list of one', { inputs: [picture], parameters }, [scores]],
    ['a list', { inputs: [picture, { image: picture }], parameters, options: {} }, [scores, scores]],
    [
      'a template',
      { inputs: picture, parameters: { ...parameters, hypothesis_template: 'a {}', x: [1] } },
      scores,
    ],
  ])('in %s', async (_, body, answer) => {
    const { status, body: given } = await ask('/categorize', body);
    expect(status).toBe(200);
    expect(given as unknown).toEqual(answer);
  });

  test('a picture that cannot be used is named by its place', async () => {
    const inputs = [picture, { image: btoa('broken:image_broken') }];
    const { status, body } = await ask('/categorize', { inputs, parameters });
    expect(status).toBe(422);
    expect(body.errors).toMatchObject([{ file: 'inputs[1].image', code: 'image_broken' }]);
  });

  test.each<[string, string, object, string, string]>([
    ['no labels', '/categorize', { inputs: picture }, 'json_invalid', 'has no labels'],
    ['no picture', '/categorize', { parameters }, 'json_invalid', 'has no picture'],
    ['a number', '/categorize', { inputs: 1, parameters }, 'json_invalid', 'something else as inputs'],
    ['an address', '/categorize', { inputs: 'https://a.b/c.jpg', parameters }, 'json_invalid', '":"'],
    [
      'labels in a string',
      '/categorize',
      { inputs: picture, parameters: { candidate_labels: 'cat' } },
      'json_invalid',
      'not a list of strings',
    ],
    [
      'a label that is none',
      '/categorize',
      { inputs: picture, parameters: { candidate_labels: ['a', 1] } },
      'json_invalid',
      'parameters.candidate_labels[1]',
    ],
    [
      'a template without a place',
      '/categorize',
      { inputs: picture, parameters: { ...parameters, hypothesis_template: 'a' } },
      'json_invalid',
      'must hold {} exactly once',
    ],
    ['options', '/categorize?top_k=2', { inputs: picture, parameters }, 'option_invalid', 'the query'],
    ['another endpoint', '/image', { inputs: picture, parameters }, 'content_type_unsupported', 'form'],
  ])('refuses %s', async (_, path, body, code, words) => {
    const { body: answer } = await ask(path, body);
    expect(answer.code).toBe(code);
    expect(answer.error).toContain(words);
  });
});

test('the key guards /embeddings, and its requests are counted', async () => {
  await using server = start({ environment: { API_KEY: 'long enough' } });
  const post = (headers: Record<string, string>) =>
    fetch(server.address('/v1/embeddings'), {
      method: 'POST',
      body: '{"input":"cat"}',
      headers: { 'content-type': 'application/json', ...headers },
    });
  expect((await post({})).status).toBe(401);
  const response = await post({ authorization: 'Bearer long enough' });
  expect(response.status).toBe(200);
  expect(response.headers.get('server-timing')).toContain('total;dur=');
  await response.arrayBuffer();
  const series = (status: number) =>
    `classify_images_http_requests_total{endpoint="/v1/embeddings",status="${status}"}`;
  expect([await metricOf(server, series(200)), await metricOf(server, series(401))]).toEqual([1, 1]);
  expect(server.lines.at(-1)?.fields).toMatchObject({ path: '/v1/embeddings', status: 200, files: 0 });
});
