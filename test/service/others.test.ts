import { beforeAll, describe, expect, test } from 'bun:test';
import { join } from 'node:path';
import * as v from 'valibot';
import { softmax } from '../../src/classify/decide.ts';
import { backgroundPhrases } from '../../src/contract/background.ts';
import { namedTemplates } from '../../src/contract/options.ts';
import {
  categorizeDetailsSchema,
  embeddingsAnswerSchema,
  imageDetailsSchema,
} from '../../src/contract/schemas.ts';
import { startCommand } from '../cli/command.ts';
import { colourPicture } from '../fixtures/colour-pictures.ts';
import { useDemoService } from './demo-service.ts';

const demo = useDemoService();
let files: readonly File[];

beforeAll(async () => {
  files = [
    new File([await colourPicture([245, 215, 40], 'png')], 'yellow.png'),
    new File([await colourPicture([35, 70, 200], 'png')], 'blue.png'),
  ];
  for (const file of files) await Bun.write(join(demo.folder, 'p', file.name), file);
});

async function post(path: string, fields: Readonly<Record<string, readonly (string | File)[]>>) {
  const form = new FormData();
  for (const [name, values] of Object.entries(fields)) for (const value of values) form.append(name, value);
  const response = await fetch(`${demo.service.url}${path}`, { method: 'POST', body: form });
  expect(response.status).toBe(200);
  return await response.text();
}

const dot = (a: readonly number[], b: readonly number[]) =>
  a.reduce((sum, value, index) => sum + value * b[index]!, 0);

/** The embeddings of pictures and texts, as a client computes with them. */
async function embeddings(texts: readonly string[], query = '') {
  const answer = await post(`/embeddings${query}`, { files, texts });
  const { embeddings: found, logit_scale } = v.parse(embeddingsAnswerSchema, JSON.parse(answer));
  const of = new Map(found.map(({ file, text, embedding }) => [file ?? text, embedding as number[]]));
  return { logitScale: logit_scale, of: (name: string) => of.get(name) ?? [] };
}

describe('one category alone', () => {
  test('is answered only where it fits better than the background', async () => {
    const ask = (query: string, category: string) =>
      post(`/categorize${query}`, { files, categories: [category] });
    expect(await ask('', 'yellow')).toBe('{"yellow.png":"yellow","blue.png":"yellow"}');
    expect(await ask('?others=true', 'yellow')).toBe('{"yellow.png":"yellow","blue.png":null}');
    // To this model, a cat is as neutral as an object.
    expect(await ask('?others=true', 'a cat')).toBe('{"yellow.png":null,"blue.png":null}');
    const both = '["something yellow","yellow","blue"]';
    expect(await ask('?several=true', both)).toBe(
      '{"yellow.png":["something yellow","yellow"],"blue.png":["blue"]}',
    );
  });
});

describe.each(['', 'template=ensemble&'])('scores against the background, with %p', (template) => {
  const categories = ['{"categories":{"warm":["yellow","orange"],"cold":"blue"}}'];

  test('are those that a client computes from embeddings', async () => {
    const words = ['yellow', 'orange', 'blue', ...backgroundPhrases];
    const { of, logitScale } = await embeddings(words, `?${template}`);
    const mean = of('yellow').map((value, index) => value + of('orange')[index]!);
    const norm = Math.hypot(...mean);
    const warm = mean.map((value) => value / norm);
    const query = `${template}details=true&several=true`;
    const answer = v.parse(
      categorizeDetailsSchema,
      JSON.parse(await post(`/categorize?${query}`, { files, categories })),
    );
    expect(answer.results.map(({ categories: all }) => all)).toEqual([['warm'], ['cold']]);
    for (const { file, background, scores } of answer.results) {
      const phrases = backgroundPhrases.map((phrase) => dot(of(file), of(phrase)));
      expect(background?.similarity).toBeCloseTo(Math.max(...phrases), 6);
      for (const { category, score, similarity } of scores) {
        const own = dot(of(file), category === 'warm' ? warm : of('blue'));
        expect(similarity).toBeCloseTo(own, 6);
        const [exact] = softmax(logitScale)(Float64Array.of(own, Math.max(...phrases)));
        expect(score).toBeCloseTo(exact!, 5);
      }
    }
    const image = v.parse(
      imageDetailsSchema,
      JSON.parse(await post(`/image?${template}details=true&others=true`, { files, categories })),
    );
    for (const { category, scores } of image.results) {
      for (const { file, score, background } of scores) {
        const result = answer.results.find((one) => one.file === file);
        expect(score).toBeCloseTo(result?.scores.find((one) => one.category === category)?.score ?? -1, 9);
        expect(background).toEqual(result!.background!);
      }
    }
  });

  test('are the same for embeddings that were stored', async () => {
    const query = `${template}details=true&several=true`;
    const stored = new File([await post('/embeddings', { files })], 'stored.json');
    const again = await post(`/categorize?${query}`, { embeddings: [stored], categories });
    expect(again).toBe(await post(`/categorize?${query}`, { files, categories }));
  });
});

test('a named template is its sentences', async () => {
  const sentences = new URLSearchParams(
    namedTemplates.ensemble.map((one): [string, string] => ['template', one]),
  );
  const named = await post('/categorize?details=true&template=ensemble', { files, categories: ['red,blue'] });
  const written = await post(`/categorize?details=true&${sentences}`, { files, categories: ['red,blue'] });
  expect(named).toBe(written);
});

test('the command answers the same as a server, and names categories that mean the same', async () => {
  await Bun.write(
    join(demo.folder, 'categories.json'),
    '{"categories":{"warm":["yellow","orange"],"sunny":["orange","yellow"],"cold":"blue"}}',
  );
  const question = [
    join(demo.folder, 'p'),
    '--several',
    '--template',
    'photo',
    '--json',
    '--categories',
    join(demo.folder, 'categories.json'),
  ];
  const own = await startCommand(join(demo.folder, 'cache'), [...question, '--no-index']).result;
  expect(own.code).toBe(0);
  const lines = own.stdout
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line));
  expect(lines.map(({ categories }) => categories)).toEqual([['cold'], ['warm', 'sunny']]);
  expect(lines[0].background).toMatchObject({ phrase: expect.any(String) });
  const sentence = '"warm" and "sunny" mean almost the same to the model (cosine 1.000)';
  expect(own.stderr.split(sentence)).toHaveLength(2);
  for (const more of [['--index', join(demo.folder, 'index')], ['--no-index']]) {
    const served = await startCommand(join(demo.folder, 'cache'), [
      ...question,
      '--server',
      demo.service.url,
      ...more,
    ]).result;
    expect(served.code).toBe(0);
    expect(served.stderr.split(sentence)).toHaveLength(2);
    for (const [index, line] of served.stdout.trim().split('\n').entries()) {
      const { score, file, categories } = JSON.parse(line);
      expect([file, categories]).toEqual([lines[index].file, lines[index].categories]);
      expect(score).toBeCloseTo(lines[index].score, 3);
    }
  }
  const best = await startCommand(join(demo.folder, 'cache'), [
    join(demo.folder, 'p'),
    ...['--others', '--best', '--json', '--no-index', '--category', 'red', '--category', 'blue'],
  ]).result;
  const found = best.stdout
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line));
  expect(found.map(({ category, file }) => [category, file])).toEqual([
    ['red', null],
    ['blue', join(demo.folder, 'p/blue.png')],
  ]);
});
