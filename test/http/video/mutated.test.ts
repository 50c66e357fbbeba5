import { expect, test } from 'bun:test';
import fc from 'fast-check';
import { boundary, categoriesPart, closing, postRaw } from '../harness.ts';
import { film, startVideos, videoPart } from './video-server.ts';

const whole = Buffer.concat([videoPart(`${film} ${'x@9 '.repeat(200)}`), categoriesPart('cat,dog'), closing]);

const mutation = fc.record({
  at: fc.nat(whole.length - 1),
  remove: fc.nat(40),
  insert: fc.constantFrom(
    '',
    '\r\n',
    '--',
    '"',
    '\0',
    ';',
    '%',
    'é',
    'cat@2',
    `\r\n--${boundary}`,
    `\r\n--${boundary}--`,
    `\r\n--${boundary}\r\nContent-Disposition: form-data; name="video"; filename="b.mp4"\r\n\r\n`,
    `\r\n--${boundary}\r\nContent-Disposition: form-data; name="categories"\r\n\r\n`,
  ),
});

test('mutated bodies are answered or refused, and never leave a file behind', async () => {
  await using server = await startVideos(
    {},
    { tuning: { videoAdmission: { waiting: 1, waitingAtMost: 1, waitMs: 60_000 } } },
  );
  const statuses = new Set<number>();
  await fc.assert(
    fc.asyncProperty(
      fc.array(mutation, { minLength: 1, maxLength: 4 }),
      fc.constantFrom('', '?images=false', '?details=true', '?threshold=0.5'),
      async (mutations, query) => {
        let body = whole;
        for (const { at, remove, insert } of mutations) {
          body = Buffer.concat([body.subarray(0, at), Buffer.from(insert), body.subarray(at + remove)]);
        }
        const response = await postRaw(server, `/video${query}`, body);
        const answer: unknown = await response.json();
        statuses.add(response.status);
        expect(response.status).toBeLessThan(500);
        if (response.status !== 200) expect(answer).toMatchObject({ code: expect.any(String) });
        expect(await server.left()).toEqual([]);
      },
    ),
    { numRuns: 500, seed: 20_210_303 },
  );
  expect(statuses).toContain(200);
  expect(statuses).toContain(400);
  expect(server.lines.filter(({ level }) => level === 'error')).toEqual([]);
});
