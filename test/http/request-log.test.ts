import { describe, expect, test } from 'bun:test';
import { form, start } from './harness.ts';

const upload = () => ({ method: 'POST', body: form([['a', 'cat']], 'cat,dog') });

describe('request ids and the log', () => {
  test('a harmless id is taken over, into the answer and the log', async () => {
    await using server = start();
    const response = await fetch(server.address('/categorize'), {
      ...upload(),
      headers: { 'x-request-id': 'order-66:a.b' },
    });
    expect(response.headers.get('x-request-id')).toBe('order-66:a.b');
    expect(server.lines).toEqual([
      {
        level: 'info',
        fields: {
          id: 'order-66:a.b',
          method: 'POST',
          path: '/categorize',
          status: 200,
          ms: expect.any(Number),
          files: 1,
          bytes: expect.any(Number),
          timing: expect.any(Object),
        },
      },
    ]);
  });

  test.each(['a'.repeat(65), 'two words', 'a"b', 'ä'])('another one is replaced: %s', async (id) => {
    await using server = start();
    const response = await fetch(server.address('/'), { headers: { 'x-request-id': id } });
    expect(response.headers.get('x-request-id')).toMatch(/^[0-9a-f-]{36}$/);
  });

  test('a probe that finds all well is told of to those who ask for details; one that does not, to all', async () => {
    await using ready = start();
    for (const path of ['/health', '/ready', '/metrics']) await fetch(ready.address(path));
    expect(ready.lines.map(({ level }) => level)).toEqual(['debug', 'debug', 'debug']);
    await using loading = start({
      engine: { state: 'loading', sentence: 'Soon.', progress: { stage: 'searching' } },
    });
    await fetch(loading.address('/ready'));
    expect(loading.lines.map(({ level, fields }) => [level, fields.status])).toEqual([['info', 503]]);
  });

  test('what went wrong stands in the log by its code', async () => {
    await using server = start();
    await fetch(server.address('/categorize?top_k=0'), upload());
    expect(server.lines.map(({ fields }) => [fields.status, fields.fault])).toEqual([
      [400, 'option_invalid'],
    ]);
    expect(server.lines[0]?.fields).not.toHaveProperty('timing');
  });

  test('whatever a client sends, a line stays short', async () => {
    await using server = start();
    await fetch(server.address(`/${'a'.repeat(15_000)}`));
    await fetch(server.address(`/${encodeURIComponent('é\n'.repeat(1500))}?${'q'.repeat(3000)}`), {
      method: 'M'.repeat(500),
      headers: { 'x-request-id': 'i'.repeat(5000), 'user-agent': 'u'.repeat(3000) },
    });
    expect(server.lines[0]?.fields.path).toBe(`/${'a'.repeat(199)}…`);
    for (const line of server.lines) expect(JSON.stringify(line).length).toBeLessThan(500);
  });

  test('no file name, label or key is logged', async () => {
    await using server = start({ environment: { API_KEY: 'a long enough key' } });
    await fetch(server.address('/categorize?template=secretive {}'), {
      method: 'POST',
      body: form([['private.jpg', 'broken:image_broken']], 'confidential'),
      headers: { 'x-api-key': 'a long enough key' },
    });
    expect(server.lines).toHaveLength(1);
    expect(JSON.stringify(server.lines)).not.toMatch(/private|confidential|secretive|enough/);
  });

  test('no answer is guessed at by its content', async () => {
    await using server = start();
    for (const path of ['/', '/nothing', '/swagger']) {
      expect((await fetch(server.address(path))).headers.get('x-content-type-options')).toBe('nosniff');
    }
  });
});
