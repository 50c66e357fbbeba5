import { describe, expect, test } from 'bun:test';
import { createEmbeddingAnswers } from '../../../src/cli/answers/embedding-answers.ts';
import { createEngineAnswers } from '../../../src/cli/answers/engine-answers.ts';
import { createServerClient } from '../../../src/cli/answers/server-client.ts';
import { openServerEmbedder } from '../../../src/cli/answers/server-embedder.ts';
import { openIndex } from '../../../src/cli/index/photo-index.ts';
import { temporaryFolder } from '../temporary-folder.ts';
import { filesOf, question, serve, signal, words } from './served.ts';

const postTo = (url: string) =>
  createServerClient({
    url: new URL(url),
    apiKey: undefined,
    signal,
    note: () => undefined,
    patience: { backOffSeconds: 0.001, busyPauseSeconds: 0.001, attempts: 3 },
  });

describe('a server that gives embeddings', () => {
  test('answers as the engine does, and is sent each picture once', async () => {
    const { classifier, added, server } = serve();
    await using _ = server;
    await using folder = await temporaryFolder();
    const files = await filesOf(folder, [...words, ...Array.from({ length: 70 }, (_, at) => `cat ${at}`)]);
    const post = postTo(server.address('/'));
    const options = { question, maxImageBytes: 1000, signal };
    const dispose = async () => undefined;
    const here = await createEngineAnswers(classifier, { ...options, dispose });
    const expected = await Array.fromAsync(here.categorize(files));
    const best = await here.best(files, () => undefined);
    const encodedHere = added.length;

    const notes: string[] = [];
    for (const sent of [75, 1, 1]) {
      using index = await openIndex({
        path: folder.at('index'),
        isNamed: true,
        note: (note) => notes.push(note),
      });
      const embedder = await openServerEmbedder({ question: { fit: 'crop' }, post, signal });
      if (!embedder) throw new Error('no embeddings');
      const there = await createEmbeddingAnswers(embedder, { ...options, index });
      const before = added.length;
      expect(await Array.fromAsync(there.categorize(files))).toEqual(expected);
      // The broken picture is tried again each time.
      expect(added.length - before).toBe(sent);
      expect(await there.best(files, () => undefined)).toEqual(best);
      expect(there.model).toEqual(here.model);
    }
    expect([encodedHere, notes]).toEqual([150, []]);
  });

  test('is known by its answer: an earlier version has none', async () => {
    using earlier = Bun.serve({
      port: 0,
      fetch: () => Response.json({ error: 'There is no such path.', code: 'not_found' }, { status: 404 }),
    });
    const post = postTo(earlier.url.href);
    expect(await openServerEmbedder({ question: { fit: 'crop' }, post, signal })).toBeUndefined();
  });

  test('finds the one picture that it fails at', async () => {
    const { server } = serve();
    await using _ = server;
    await using folder = await temporaryFolder();
    const files = await filesOf(folder, ['cat', 'dog', 'poison', 'fish']);
    // A proxy that breaks off at one of the pictures.
    using proxy = Bun.serve({
      port: 0,
      async fetch(request) {
        const body = await request.bytes();
        if (Buffer.from(body).includes('poison')) return new Response('bad gateway', { status: 502 });
        const { pathname, search } = new URL(request.url);
        return await fetch(server.address(pathname + search), {
          method: 'POST',
          headers: request.headers,
          body,
        });
      },
    });
    const embedder = await openServerEmbedder({
      question: { fit: 'crop' },
      post: postTo(proxy.url.href),
      signal,
    });
    if (!embedder) throw new Error('no embeddings');
    const answers = await createEmbeddingAnswers(embedder, { question, maxImageBytes: 1000, signal });
    const outcomes = await Array.fromAsync(answers.categorize(files));
    expect(outcomes.map(({ kind }) => kind)).toEqual(['answered', 'answered', 'broken', 'answered']);
  });
});
