import { expect, test } from 'bun:test';
import { join } from 'node:path';

const root = join(import.meta.dir, '../..');

/** Runs CI's question for vulnerabilities at a registry that gives this answer for one of our packages. */
async function audit(answer: (name: string) => Response) {
  await using registry = Bun.serve({
    port: 0,
    hostname: '127.0.0.1',
    fetch: (request) => (request.method === 'POST' ? answer('elysia') : new Response(null, { status: 404 })),
  });
  const address = `http://127.0.0.1:${registry.port}/`;
  const child = Bun.spawn(['.ci/audit', process.execPath], {
    cwd: root,
    env: { PATH: process.env.PATH, BUN_CONFIG_REGISTRY: address, NPM_CONFIG_REGISTRY: address },
    stdout: 'pipe',
    stderr: 'pipe',
  });
  const [output, errors] = await Promise.all([child.stdout.text(), child.stderr.text()]);
  return { code: await child.exited, text: `${output}${errors}` };
}

const advisory = (severity: string) => (name: string) =>
  Response.json({
    [name]: [
      ...[
        { id: 1, url: 'https://advisories.example/1', title: 'A fault', severity, vulnerable_versions: '*' },
      ],
    ],
  });

test.each(['high', 'critical'])('an advisory that is %s fails CI', async (severity) => {
  const { code, text } = await audit(advisory(severity));
  expect(code).toBe(1);
  expect(text).toContain('https://advisories.example/1');
});

test('an advisory that does not concern the service passes, and only that one', async () => {
  const about = (id: string) => () =>
    Response.json({
      ip: [
        ...[{ id: 2, title: 'A fault', severity: 'high', vulnerable_versions: '*' }].map((it) => ({
          ...it,
          url: `https://github.com/advisories/${id}`,
        })),
      ],
    });
  expect((await audit(about('GHSA-2p57-rm9w-gvfp'))).code).toBe(0);
  expect((await audit(about('GHSA-0000-0000-0000'))).code).toBe(1);
});

test('no advisory, or a lesser one, passes', async () => {
  for (const answer of [() => Response.json({}), advisory('moderate')]) {
    const { code, text } = await audit(answer);
    expect([code, text.includes('NOT CHECKED')]).toEqual([0, false]);
  }
});

test('a registry that does not answer is said to have answered nothing', async () => {
  const { code, text } = await audit(() => new Response('no', { status: 405 }));
  expect([code, text.startsWith('!!! NOT CHECKED')]).toEqual([0, true]);
});
