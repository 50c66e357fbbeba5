import { describe, expect, test } from 'bun:test';
import * as v from 'valibot';
import { embeddingsAnswerSchema } from '../../src/contract/schemas.ts';
import { embeddingOf, pictureOf, tiledClassifier } from '../classify/tiled-classifier.ts';
import { boundary, categoriesPart, closing, filePart, part, postRaw, start } from './harness.ts';

const sha256 = 'f'.repeat(64);
const numbers = (word: string) => Array.from(embeddingOf(word), (value) => Number(value.toPrecision(9)));
const pictures = [
  filePart('wide.gif', pictureOf('red', 'green', 'blue')),
  filePart('square.gif', pictureOf('green')),
  filePart('wide.gif', pictureOf('blue', 'red')),
];
const categories = categoriesPart('red,green,blue');
const stored = (document: unknown) =>
  part(
    'form-data; name="embeddings"; filename="e"',
    typeof document === 'string' ? document : JSON.stringify(document),
  );

async function ask(path: string, parts: readonly Uint8Array[], accept = 'application/json') {
  await using server = start({ engine: { state: 'ready', classifier: tiledClassifier().classifier } });
  const response = await fetch(server.address(path), {
    method: 'POST',
    body: Buffer.concat([...parts, closing]),
    headers: { 'content-type': `multipart/form-data; boundary=${boundary}`, accept },
  });
  return { status: response.status, text: await response.text() };
}
const answerOf = async (...asked: Parameters<typeof ask>) => JSON.parse((await ask(...asked)).text);

const tiles = (file: string, ...words: string[]) =>
  words.map((word, index) => ({ file, tile: index + 1, tiles: words.length, embedding: numbers(word) }));

describe('/embeddings', () => {
  test('with fit=tiles: an entry for each tile, one after another', async () => {
    const answer = await answerOf('/embeddings?fit=tiles', [
      part('form-data; name="ids"', '["1","2","3"]'),
      ...pictures,
      part('form-data; name="texts"', 'red'),
    ]);
    expect(v.is(embeddingsAnswerSchema, answer)).toBeTrue();
    expect(answer).toMatchObject({ model: 'fake', fit: 'tiles' });
    expect(answer.embeddings).toEqual([
      ...tiles('wide.gif', 'red', 'green', 'blue').map((tile) => ({ ...tile, id: '1' })),
      ...tiles('square.gif', 'green').map((tile) => ({ ...tile, id: '2' })),
      ...tiles('wide.gif (2)', 'blue', 'red').map((tile) => ({ ...tile, id: '3' })),
      { text: 'red', embedding: numbers('red') },
    ]);
  });

  test('with fit=whole: one entry for each picture, and the fit', async () => {
    const answer = await answerOf('/embeddings?fit=whole', pictures);
    expect(answer.fit).toBe('whole');
    expect(answer.embeddings.map(({ file, tile }: { file: string; tile?: number }) => [file, tile])).toEqual([
      ['wide.gif', undefined],
      ['square.gif', undefined],
      ['wide.gif (2)', undefined],
    ]);
  });

  test('with fit=crop: the answer that it has by default', async () => {
    const answer = await answerOf('/embeddings?fit=crop', pictures);
    expect(answer).toEqual(await answerOf('/embeddings', pictures));
    expect(answer).not.toContainKey('fit');
    expect(answer.embeddings[0]).toEqual({ file: 'wide.gif', embedding: numbers('green') });
  });

  test('one by one: the tiles of a picture follow each other, and the first one has the thumbnail', async () => {
    const { text } = await ask('/embeddings?fit=tiles&thumbnails=true', pictures, 'application/x-ndjson');
    const events = text
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line));
    const found = events.filter(({ event }) => event === 'embedding').map(({ data }) => data);
    expect(found.every(({ fit }) => fit === 'tiles')).toBeTrue();
    const ofFirst = found.filter(({ index }) => index === 0);
    expect(
      ofFirst.map(({ file, tile, tiles: of, thumbnail }) => [file, tile, of, thumbnail !== undefined]),
    ).toEqual([
      ['wide.gif', 1, 3, true],
      ['wide.gif', 2, 3, false],
      ['wide.gif', 3, 3, false],
    ]);
    for (const [at, { tile }] of found.entries()) {
      if (tile > 1) expect(found[at - 1]).toMatchObject({ index: found[at].index, tile: tile - 1 });
    }
  });

  test('in a JSON body, tiles are refused: the answer has one embedding for each input', async () => {
    await using server = start({ engine: { state: 'ready', classifier: tiledClassifier().classifier } });
    const response = await postRaw(server, '/embeddings?fit=tiles', '{"input":"red"}', 'application/json');
    expect(response.status).toBe(400);
    expect(await response.json()).toMatchObject({
      code: 'option_invalid',
      error: expect.stringContaining('fit=tiles needs a form'),
    });
    const data = `data:image/gif;base64,${Buffer.from(pictureOf('red', 'red', 'green')).toString('base64')}`;
    const body = JSON.stringify({ input: data });
    const [whole, crop] = await Promise.all(
      ['?fit=whole', ''].map(async (query) => {
        const answer = await postRaw(server, `/embeddings${query}`, body, 'application/json');
        return ((await answer.json()) as { data: { embedding: number[] }[] }).data[0]?.embedding;
      }),
    );
    expect(crop).toEqual(numbers('red'));
    expect(whole?.[1]).toBeGreaterThan(0.3);
  });
});

describe.each(['/categorize', '/image'])('%s', (path) => {
  const query = `${path}?details=true&fit=`;

  test.each(['whole', 'tiles'])('answers embeddings of fit=%s as it answers the pictures', async (fit) => {
    const expected = await answerOf(`${query}${fit}`, [...pictures, categories]);
    expect(expected.results).toBeArray();
    const made = await ask(`/embeddings?fit=${fit}`, pictures);
    const lines = await ask(`/embeddings?fit=${fit}`, pictures, 'application/x-ndjson');
    const { embeddings, ...head } = JSON.parse(made.text);
    for (const document of [made.text, { embeddings, ...head }]) {
      expect(await answerOf(`${query}${fit}`, [stored(document), categories])).toEqual(expected);
    }
    const ofLines = await answerOf(`${query}${fit}`, [stored(lines.text), categories]);
    expect(ofLines.results).toHaveLength(expected.results.length);
  });

  test('counts the best tile', async () => {
    const form = [filePart('a.gif', pictureOf('red', 'none', 'none')), categoriesPart('red')];
    const [crop, whole, tiled] = await Promise.all(
      ['crop', 'whole', 'tiles'].map(
        async (fit) => (await answerOf(`${query}${fit}`, form)).results[0].similarity,
      ),
    );
    expect(crop).toBeLessThan(0.7);
    expect(whole).toBeGreaterThan(crop + 0.1);
    expect(tiled).toBeCloseTo(1, 5);
  });

  const made = { sha256, fit: 'tiles', embeddings: tiles('a.gif', 'red', 'green') };
  test.each([
    ['crop', made, 'was made with fit=tiles, and this request has fit=crop. Ask with fit=tiles, or make'],
    ['whole', made, 'was made with fit=tiles, and this request has fit=whole'],
    ['whole', { ...made, fit: undefined }, 'was made with fit=tiles'],
    ['tiles', { sha256, fit: 'whole', embeddings: [{ file: 'a', embedding: numbers('red') }] }, 'fit=whole'],
    [
      'tiles',
      { sha256, embeddings: [{ file: 'a', embedding: numbers('red') }] },
      'Embeddings that state no "fit"',
    ],
    ['whole', [{ sha256, file: 'a', embedding: numbers('red') }], 'was made with fit=crop'],
    ['crop', { embeddings: [{ file: 'a', embedding: numbers('red') }], fit: 'whole', sha256 }, 'fit=whole'],
  ])('with fit=%s: an embedding of another fit is a 409', async (fit, document, sentence) => {
    const { status, text } = await ask(`${query}${fit}`, [stored(document), categories]);
    expect(status).toBe(409);
    expect(JSON.parse(text)).toMatchObject({
      code: 'embeddings_mismatch',
      error: expect.stringContaining(sentence),
    });
  });

  const [one, two] = tiles('a.gif', 'red', 'green');
  test.each([
    [
      'the second is missing at the end',
      [one],
      '"a.gif" (entry 1) is tile 1 of 2, and tile 2 does not follow',
    ],
    [
      'the second is missing before another picture',
      [one, ...tiles('b.gif', 'red')],
      'tile 2 does not follow',
    ],
    ['the first is missing', [two], 'is tile 2 of 2, and tile 1 is not before it'],
    ['they are of two files', [one, { ...two, file: 'b.gif' }], 'tile 2 does not follow'],
    [
      'they have two ids',
      [
        { ...one, id: '1' },
        { ...two, id: '2' },
      ],
      '(entry 2) has the id "2", and the tile before it has "1"',
    ],
    ['they count differently', [one, { ...two, tiles: 3 }], 'tile 2 does not follow'],
    ['one comes twice', [one, one], 'tile 2 does not follow'],
    ['there are too many', [{ ...one, tiles: 9 }], 'than numbers from 1 to 8'],
    ['they are not numbers', [{ ...one, tile: '1' }], 'than numbers from 1 to 8'],
    ['their number is missing', [{ ...one, tiles: undefined }], 'than numbers from 1 to 8'],
    ['their places are missing', [{ file: 'a', embedding: numbers('red') }], 'but has no "tile" and "tiles"'],
    ['one has too few numbers', [one, { ...two, embedding: [1, 0] }], 'has 2 numbers'],
  ])('tiles are refused if %s', async (_, embeddings, sentence) => {
    const { status, text } = await ask(`${query}tiles`, [
      stored({ sha256, fit: 'tiles', embeddings }),
      categories,
    ]);
    expect(status).toBe(400);
    expect(JSON.parse(text)).toMatchObject({
      code: 'embeddings_invalid',
      error: expect.stringContaining(sentence),
    });
  });

  test.each([
    [
      'the fit comes after an entry without places',
      'tiles',
      { embeddings: [{ file: 'a', embedding: numbers('red') }], fit: 'tiles', sha256 },
      'but has no "tile" and "tiles"',
    ],
    [
      'entries with places state another fit',
      'crop',
      { sha256, fit: 'crop', embeddings: tiles('a.gif', 'red', 'green') },
      'which only the fit "tiles" makes',
    ],
  ])('tiles and their fit must agree: %s', async (_, fit, document, sentence) => {
    const { status, text } = await ask(`${query}${fit}`, [stored(document), categories]);
    expect(status).toBe(400);
    expect(JSON.parse(text)).toMatchObject({
      code: 'embeddings_invalid',
      error: expect.stringContaining(sentence),
    });
  });

  test('takes a document whose fit comes after its embeddings', async () => {
    const embeddings = [{ file: 'a', embedding: numbers('red') }];
    const { status } = await ask(`${query}whole`, [stored({ embeddings, fit: 'whole', sha256 }), categories]);
    expect(status).toBe(200);
  });

  test('refuses another fit by naming those that there are', async () => {
    const { status, text } = await ask(`${query}squeeze`, [...pictures, categories]);
    expect(status).toBe(400);
    expect(text).toContain('must be crop, whole or tiles');
  });
});
