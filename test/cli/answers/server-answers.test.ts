import { describe, expect, test } from 'bun:test';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { TakenFile } from '../../../src/cli/answers/answers.ts';
import { createEngineAnswers } from '../../../src/cli/answers/engine-answers.ts';
import { createServerClient } from '../../../src/cli/answers/server-client.ts';
import { start } from '../../http/harness.ts';
import { createFakeClassifier } from '../fake-classifier.ts';
import { temporaryFolder } from '../temporary-folder.ts';
import { answersOf, filesOf, question, serve, signal, words } from './served.ts';

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
    // A server says only at the end which of the pictures are broken.
    expect(told[0].filter(({ kind }) => kind === 'broken')).toEqual(
      told[1].filter(({ kind }) => kind === 'broken'),
    );
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
    const template = ['no place'];
    const asked = answersOf(server.address('/'), { question: { ...question, template } });
    expect(Array.fromAsync(asked.categorize(files))).rejects.toThrow(
      'The server says: Query options cannot be used',
    );
  });
});

describe('a server of a later version', () => {
  test('may refuse a request with a new code', async () => {
    using server = Bun.serve({
      port: 0,
      async fetch(request) {
        await request.text();
        return Response.json({ error: 'It is something new.', code: 'something_new' }, { status: 409 });
      },
    });
    await using folder = await temporaryFolder();
    const answered = Array.fromAsync(answersOf(server.url.href).categorize(await filesOf(folder, ['cat'])));
    await expect(answered).rejects.toThrow('The server says: It is something new.');
  });

  test('may find a fault with a new code in a file', async () => {
    const { server } = serve();
    await using _ = server;
    using later = Bun.serve({
      port: 0,
      async fetch(request) {
        const { pathname, search } = new URL(request.url);
        const { method, headers, body } = request;
        const answer = await fetch(server.address(pathname + search), { method, headers, body });
        return new Response((await answer.text()).replace('image_broken', 'image_new'));
      },
    });
    await using folder = await temporaryFolder();
    const { categorize } = answersOf(later.url.href);
    expect(await Array.fromAsync(categorize(await filesOf(folder, ['cat', 'broken'])))).toMatchObject([
      { kind: 'answered', category: 'cat' },
      { kind: 'broken', code: 'image_new', error: 'It is broken.' },
    ]);
  });
});

describe('a server that is busy is asked again', () => {
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

  test('for so long, from its first such answer on, whatever the upload took before it', async () => {
    let asked = 0;
    let isBusy = (_: number) => true;
    using server = Bun.serve({
      port: 0,
      async fetch() {
        asked += 1;
        if (asked === 1) await Bun.sleep(60);
        return isBusy(asked) ? busy() : Response.json({ asked });
      },
    });
    const patience = { busySeconds: 0.05, backOffSeconds: 0.001 };
    const note = () => undefined;
    const post = createServerClient({ url: server.url, apiKey: undefined, signal, note, patience });
    const form = { path: 'categorize', query: new URLSearchParams(), parts: async function* () {} } as const;
    expect(post(form)).rejects.toThrow('The server says: Too much.');
    asked = 0;
    isBusy = (time) => time === 1;
    expect(await post(form)).toEqual({ asked: 2 });
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

describe('one file that a server fails at', () => {
  type Refusal = Response | 'cut' | undefined;

  /** Passes on what a real server answers, but to forms that are refused; the connection of some is cut. */
  async function guarded(refuse: (form: string) => Refusal) {
    const { server } = serve();
    /** Pictures in each form. */
    const asked: number[] = [];
    const guard = createServer(async (request, response) => {
      const body = Buffer.concat(await Array.fromAsync(request));
      const form = body.toString('latin1');
      asked.push(form.split('name="files"').length - 1);
      const refusal = refuse(form);
      if (refusal === 'cut') {
        request.socket.destroy();
        return;
      }
      const headers = { 'content-type': request.headers['content-type'] ?? '' };
      const answer =
        refusal ?? (await fetch(server.address(request.url ?? '/'), { method: 'POST', headers, body }));
      response.writeHead(answer.status, { 'content-type': answer.headers.get('content-type') ?? '' });
      response.end(await answer.text());
    });
    guard.listen(0, '127.0.0.1');
    await once(guard, 'listening');
    return {
      url: `http://127.0.0.1:${(guard.address() as AddressInfo).port}`,
      asked,
      async [Symbol.asyncDispose]() {
        guard.closeAllConnections();
        guard.close();
        await server[Symbol.asyncDispose]();
      },
    };
  }
  const toEvil = (refuse: () => Refusal) => (form: string) =>
    form.includes('GIF89a evil') ? refuse() : undefined;
  const internal = (): Response =>
    Response.json({ error: 'Something went wrong here.', code: 'internal' }, { status: 500 });
  const crowd = [
    ...Array.from({ length: 40 }, () => 'cat'),
    'evil',
    ...Array.from({ length: 30 }, () => 'dog'),
  ];

  test.each([
    ['with a bug', internal, 'internal', 'The server says: Something went wrong here.'],
    [
      'whose proxy does not let it pass',
      () => new Response('Forbidden', { status: 403 }),
      'internal',
      'answered 403, and not as this service does: "Forbidden"',
    ],
    ['whose connection breaks', (): Refusal => 'cut', 'internal', 'cannot be reached: '],
    ['whose proxy finds it dead', () => new Response('Bad', { status: 502 }), 'internal', 'answered 502, '],
    [
      'that takes no such picture',
      () => Response.json({ error: 'It is broken.', code: 'files_broken' }, { status: 422 }),
      'files_broken',
      'The server says: It is broken.',
    ],
  ] as const)('%s is named, and the others are answered', async (_, refuse, code, sentence) => {
    await using server = await guarded(toEvil(refuse));
    await using folder = await temporaryFolder();
    const files = await filesOf(folder, crowd);
    const { categorize, best } = answersOf(server.url);
    const outcomes = await Array.fromAsync(categorize(files));
    expect(outcomes.length).toBe(71);
    const others = outcomes.filter(({ file }) => file !== files[40]?.path);
    expect(others.map((one) => one.kind === 'answered' && one.category)).toEqual(
      crowd.filter((word) => word !== 'evil'),
    );
    expect(outcomes[40]).toMatchObject({ kind: 'broken', file: files[40]?.path ?? '', code });
    expect(outcomes[40]).toMatchObject({ error: expect.stringContaining(sentence) });

    const told: TakenFile[] = [];
    const answer = await best(files, (outcome) => told.push(outcome));
    expect(answer.map(({ file }) => file)).toEqual([files[0]?.path ?? '', files[41]?.path ?? '', null]);
    const faults = told.filter(({ kind }) => kind !== 'taken');
    expect(faults).toEqual([expect.objectContaining({ kind: 'broken', file: files[40]?.path })]);
    expect(new Set(told.map(({ file }) => file)).size).toBe(71);
  });

  test('is found by halves', async () => {
    await using server = await guarded(toEvil(internal));
    await using folder = await temporaryFolder();
    await Array.fromAsync(answersOf(server.url).categorize(await filesOf(folder, crowd)));
    // Two requests beside it, its own of 32, and two of each size below that, one of which fails and is followed by
    // the proof that the server answers at all.
    expect(server.asked.filter((count) => count > 0).length).toBe(13);
    expect(server.asked.filter((count) => count === 0).length).toBe(6);
  });

  test('is one of many: where it fails at all, the run ends', async () => {
    await using server = await guarded(toEvil(internal));
    await using folder = await temporaryFolder();
    const { categorize } = answersOf(server.url);
    const files = await filesOf(
      folder,
      Array.from({ length: 100 }, () => 'evil'),
    );
    const answering = Array.fromAsync(categorize(files));
    expect(answering).rejects.toThrow('20 files in a row could not be answered');
    await answering.catch(() => undefined);
  });

  test('is not looked for where too much comes in one request, however small it is', async () => {
    await using server = await guarded((form) =>
      form.length > 3000 ? new Response('Too large', { status: 413 }) : undefined,
    );
    await using folder = await temporaryFolder();
    const files = await filesOf(
      folder,
      Array.from({ length: 40 }, () => 'cat'),
    );
    const { categorize, best } = answersOf(server.url);
    const outcomes = await Array.fromAsync(categorize(files));
    expect(outcomes.map((one) => one.kind === 'answered' && one.category)).toEqual(files.map(() => 'cat'));
    expect(best(files, () => undefined)).rejects.toThrow('answered 413');
  });
});
