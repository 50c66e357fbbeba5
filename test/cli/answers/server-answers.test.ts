import { describe, expect, test } from 'bun:test';
import type { Question, TakenFile } from '../../../src/cli/answers/answers.ts';
import { createEngineAnswers } from '../../../src/cli/answers/engine-answers.ts';
import { createServerAnswers } from '../../../src/cli/answers/server-answers.ts';
import { createServerClient, type ServerPatience } from '../../../src/cli/answers/server-client.ts';
import type { FoundFile } from '../../../src/cli/files/find-files.ts';
import { start } from '../../http/harness.ts';
import { createFakeClassifier, pictureOf } from '../fake-classifier.ts';
import { type TemporaryFolder, temporaryFolder } from '../temporary-folder.ts';

const question: Question = {
  categories: { labels: ['cat', 'dog', 'a "b",\r\nc'] },
  templates: undefined,
  threshold: 0.5,
  topK: 2,
};
const { signal } = new AbortController();
const patience: Partial<ServerPatience> = { backOffMs: 1, busyPauseMs: 1, connections: 3 };

function answersOf(url: string, options: { readonly apiKey?: string; readonly question?: Question } = {}) {
  const notes: string[] = [];
  const post = createServerClient({
    url: new URL(url),
    apiKey: options.apiKey,
    signal,
    note: (sentence) => notes.push(sentence),
    patience,
  });
  const asked = options.question ?? question;
  const answers = createServerAnswers({ post, question: asked, maxImageBytes: 1000, signal });
  return Object.assign(answers, { notes });
}

function serve(environment: Record<string, string> = {}) {
  const { classifier } = createFakeClassifier();
  return { classifier, server: start({ environment, engine: { state: 'ready', classifier } }) };
}

async function filesOf(folder: TemporaryFolder, words: readonly string[]): Promise<FoundFile[]> {
  const names = words.map((word, index) => `${index} ${word.replaceAll(/\W/g, '_')} "ü\n".gif`);
  for (const [index, word] of words.entries()) {
    await folder.write({ [names[index] ?? '']: word === 'text' ? 'text' : pictureOf(word) });
  }
  return names.map((name) => ({ path: folder.at(name), isNamed: false }));
}

const words = ['cat', 'text', 'dog', 'broken', 'a "b",\r\nc', 'fish'];

describe('a server', () => {
  test('answers as the engine in this process does', async () => {
    const { classifier, server } = serve();
    await using _ = server;
    await using folder = await temporaryFolder();
    const files = await filesOf(folder, [...words, ...Array.from({ length: 70 }, () => 'cat')]);
    const there = answersOf(server.address('/'));
    const here = await createEngineAnswers(classifier, {
      question,
      maxImageBytes: 1000,
      signal,
      dispose: async () => undefined,
    });
    const answered = await Array.fromAsync(there.categorize(files));
    expect(answered).toEqual(await Array.fromAsync(here.categorize(files)));
    expect(answered.length).toBe(76);

    const told: [TakenFile[], TakenFile[]] = [[], []];
    const best = await there.best(files, (outcome) => told[0].push(outcome));
    expect(best).toEqual([...(await here.best(files, (outcome) => told[1].push(outcome)))]);
    expect(told[0]).toEqual(told[1]);
    expect(there.model).toMatchObject({ name: 'fake', precision: 'fp32' });
  });

  test('that goes on with another model is not gone on with', async () => {
    let state = createFakeClassifier().classifier;
    await using server = start({ engine: () => ({ state: 'ready', classifier: state }) });
    await using folder = await temporaryFolder();
    const { categorize } = answersOf(server.address('/'));
    const files = await filesOf(folder, ['cat']);
    await Array.fromAsync(categorize(files));
    state = { ...state, model: { ...state.model, name: 'newer', sha256: '1'.repeat(64) } };
    const answering = Array.fromAsync(categorize(files));
    expect(answering).rejects.toThrow('another model than before, newer instead of fake');
    await answering.catch(() => undefined);
  });

  test('is not needed for files that are no pictures', async () => {
    const { server } = serve();
    await using _ = server;
    await using folder = await temporaryFolder();
    await folder.write({ 'notes.txt': 'text' });
    const notes = [{ path: folder.at('notes.txt'), isNamed: false }];
    const { categorize, best } = answersOf(server.address('/'));
    expect(await Array.fromAsync(categorize(notes))).toMatchObject([{ kind: 'skipped' }]);
    expect(await Array.fromAsync(categorize(await filesOf(folder, ['text'])))).toMatchObject([
      { kind: 'broken', code: 'image_unsupported' },
    ]);
    expect(await best(notes, () => undefined)).toMatchObject([
      { file: null },
      { file: null },
      { file: null },
    ]);
  });

  test('may live below a path, and want a key', async () => {
    const { server } = serve({ API_KEY: 'a long secret' });
    await using _ = server;
    using proxy = Bun.serve({
      port: 0,
      fetch: (request) =>
        fetch(request.url.replace(/^http:\/\/[^/]+\/clip/, server.address('')), {
          method: request.method,
          headers: request.headers,
          body: request.body,
        }),
    });
    await using folder = await temporaryFolder();
    const files = await filesOf(folder, ['cat']);
    const url = `http://127.0.0.1:${proxy.port}/clip`;
    const allowed = answersOf(url, { apiKey: 'a long secret' });
    expect(await Array.fromAsync(allowed.categorize(files))).toMatchObject([{ category: 'cat' }]);
    const refused = Array.fromAsync(answersOf(url).categorize(files));
    expect(refused).rejects.toThrow(/^The server says: This service needs an API key.* Set API_KEY/);
  });

  test('says what is wrong with the question', async () => {
    const { server } = serve({ MAX_CATEGORIES: '2' });
    await using _ = server;
    await using folder = await temporaryFolder();
    const files = await filesOf(folder, ['cat']);
    const templates = ['no place'];
    const asked = answersOf(server.address('/'), { question: { ...question, templates } });
    expect(Array.fromAsync(asked.categorize(files))).rejects.toThrow(
      'The server says: Query options cannot be used',
    );
  });
});

describe('what passes by itself is waited for', () => {
  /** A server that answers the first requests in its own way, then as a real one does. */
  async function afterFirst(answers: readonly (() => Response)[]) {
    const { server } = serve();
    let asked = 0;
    const before = Bun.serve({
      port: 0,
      async fetch(request) {
        const first = answers[asked];
        asked += 1;
        if (first) return first();
        const { pathname, search } = new URL(request.url);
        return await fetch(server.address(pathname + search), {
          method: request.method,
          headers: request.headers,
          body: request.body,
        });
      },
    });
    return {
      url: `http://127.0.0.1:${before.port}`,
      async [Symbol.asyncDispose]() {
        await before.stop(true);
        await server[Symbol.asyncDispose]();
      },
    };
  }
  const busy = () =>
    Response.json({ error: 'Too much.', code: 'overloaded', retry_after_seconds: 0.001 }, { status: 503 });

  test('a server with too much to do, and a proxy without one', async () => {
    await using server = await afterFirst([
      busy,
      busy,
      () => new Response('<h1>Bad Gateway</h1>', { status: 502 }),
    ]);
    await using folder = await temporaryFolder();
    const files = await filesOf(folder, ['cat']);
    const { categorize, notes } = answersOf(server.url);
    expect(await Array.fromAsync(categorize(files))).toMatchObject([{ category: 'cat' }]);
    // Twice too much, which is told once.
    expect(notes.length).toBe(2);
    expect(notes[0]).toBe('The server says: Too much. Next try in 1 s.');
    expect(notes[1]).toContain('answered 502, and not as this service does: "<h1>Bad Gateway</h1>"');
  });

  test('a proxy that says when to come again', async () => {
    const headers = { 'retry-after': '1.1' };
    await using server = await afterFirst([
      () => new Response('limiting requests', { status: 429, headers }),
      () => new Response('no upstream', { status: 503 }),
    ]);
    await using folder = await temporaryFolder();
    const { categorize, notes } = answersOf(server.url);
    expect(await Array.fromAsync(categorize(await filesOf(folder, ['dog'])))).toMatchObject([
      { category: 'dog' },
    ]);
    expect(notes).toEqual([
      expect.stringMatching(/answered 429,.* Next try in 2 s\.$/),
      expect.stringMatching(/answered 503,.* Next try in 1 s\.$/),
    ]);
  });

  test('and nothing is told twice', async () => {
    await using server = await afterFirst([busy]);
    await using folder = await temporaryFolder();
    const files = await filesOf(folder, words);
    const told: string[] = [];
    await answersOf(server.url).best(files, ({ kind }) => told.push(kind));
    expect(told).toEqual(['taken', 'broken', 'taken', 'taken', 'taken', 'taken', 'broken']);
  });

  test('but not a server that is not there', async () => {
    const closed = Bun.serve({ port: 0, fetch: () => new Response() });
    const url = `http://127.0.0.1:${closed.port}`;
    await closed.stop(true);
    await using folder = await temporaryFolder();
    const { categorize, notes } = answersOf(url);
    const answering = Array.fromAsync(categorize(await filesOf(folder, ['cat'])));
    expect(answering).rejects.toThrow(`The server ${url} cannot be reached`);
    await answering.catch(() => undefined);
    expect(notes.length).toBe(1);
  });

  test('nor something that is no such server', async () => {
    using other = Bun.serve({ port: 0, fetch: () => Response.json({ hello: 'world' }) });
    await using folder = await temporaryFolder();
    const answering = Array.fromAsync(
      answersOf(`http://127.0.0.1:${other.port}`).categorize(await filesOf(folder, ['cat'])),
    );
    expect(answering).rejects.toThrow('The server answered something else than this command expects');
  });
});

describe('a video', () => {
  test('is sent, and its progress told', async () => {
    const ended: unknown = {
      model: { name: 'fake', sha256: '', precision: 'fp32', embedding_dimension: 2, image_resolution: 2 },
      video: {
        duration: 10,
        width: 4,
        height: 2,
        frameRate: 25,
        codec: 'h264',
        framesConsidered: 3,
        scenes: 1,
      },
      results: [
        {
          category: 'cat',
          file: 'video-1.500.jpg',
          timestamp: 1.5,
          score: 0.9,
          similarity: 0.3,
          image: btoa('one'),
          scores: [],
        },
        {
          category: 'dog',
          file: null,
          timestamp: null,
          score: 0.2,
          similarity: 0.1,
          image: null,
          scores: [],
        },
        {
          category: 'cow',
          file: 'video-1.500.jpg',
          timestamp: 1.5,
          score: 0.7,
          similarity: 0.2,
          image: btoa('one'),
          scores: [],
        },
      ],
      warnings: ['One frame is damaged.'],
    };
    const events = [
      { event: 'progress', data: { stage: 'uploading', bytes_done: 1 } },
      { event: 'progress', data: { stage: 'searching', seconds_done: 4, seconds_total: 10, frames: 1 } },
      { event: 'result', data: ended },
    ];
    const received: string[] = [];
    using server = Bun.serve({
      port: 0,
      async fetch(request) {
        const form = await request.formData();
        const video = form.get('video');
        received.push(new URL(request.url).search, String(form.get('categories')));
        received.push(video instanceof File ? await video.text() : '');
        const lines = events.map((event) => `${JSON.stringify(event)}\n`).join('');
        return new Response(lines, { headers: { 'content-type': 'application/x-ndjson' } });
      },
    });
    await using folder = await temporaryFolder();
    await folder.write({ 'film.mp4': 'a film' });
    const taken: unknown[] = [];
    const progress: unknown[] = [];
    const { video } = answersOf(`http://127.0.0.1:${server.port}`);
    const answer = await video({
      path: folder.at('film.mp4'),
      onProgress: (done, total) => progress.push([done, total]),
      takeJpeg: async (timestamp, categories, jpeg) => {
        taken.push([timestamp, categories, new TextDecoder().decode(jpeg)]);
      },
    });
    expect(received).toEqual([
      '?details=true&top_k=2&threshold=0.5&images=true',
      JSON.stringify(question.categories.labels),
      'a film',
    ]);
    expect(progress).toEqual([[4, 10]]);
    expect(taken).toEqual([[1.5, ['cat', 'cow'], 'one']]);
    expect(answer.warnings).toEqual(['One frame is damaged.']);
    expect(answer.frames.map(({ timestamp }) => timestamp)).toEqual([1.5, null, 1.5]);
  });

  test('that is refused halfway through is told as the server tells it', async () => {
    const error = { error: 'The video is damaged.', code: 'video_broken' };
    using server = Bun.serve({
      port: 0,
      fetch: () => new Response(`${JSON.stringify({ event: 'error', data: error })}\n`),
    });
    await using folder = await temporaryFolder();
    await folder.write({ 'film.mp4': 'a film' });
    const { video } = answersOf(`http://127.0.0.1:${server.port}`);
    const searching = video({ path: folder.at('film.mp4'), onProgress: () => undefined });
    expect(searching).rejects.toMatchObject({
      code: 'video_broken',
      message: 'The server says: The video is damaged.',
    });
  });
});
