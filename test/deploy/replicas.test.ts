import { describe, expect, test } from 'bun:test';
import { type LoadResult, startLoad } from './load.ts';
import { type Nginx, nginxProgram, startNginx } from './nginx.ts';
import { freePort, startReplicas } from './replicas.ts';

if (nginxProgram === null) console.log('replicas behind nginx: skipped, there is no nginx');

const CLIENTS = 6;

/** For the message of a failure: what nginx says of requests that were not answered rightly. */
async function refusals(nginx: Nginx): Promise<string> {
  const lines = await nginx.accessLog();
  return JSON.stringify(lines.filter(({ status }) => status !== 200 && status !== 404));
}

describe.if(nginxProgram !== null)('three replicas behind a real nginx', () => {
  test('load spreads, a kill costs what was in flight there, a restart costs nothing', async () => {
    await using replicas = await startReplicas(3);
    await using nginx = await startNginx(freePort(), replicas.ports);
    /**
     * On a machine that is so busy that a start takes ten seconds, a replica opens its port to say why. nginx cannot
     * give its uploads to another one then.
     */
    const lostOf = (results: readonly LoadResult[]) => {
      const isEarly = replicas.ports.some((_, index) => replicas.openedEarly(index));
      return results.filter(({ isRight, code }) => !isRight && !(isEarly && code === 'model_loading'));
    };
    const load = await startLoad(nginx.url, CLIENTS);
    await load.more(40);
    while (Math.min(...(await replicas.answered())) <= 3) await load.more(5);

    await replicas.kill(0);
    const deadAt = performance.now();
    await load.more(30);
    await replicas.start(0);
    const lost = lostOf(load.results);
    const lines = await refusals(nginx);
    expect(
      lost.filter(({ begunAt }) => begunAt > deadAt),
      lines,
    ).toEqual([]);
    expect(lost.length, lines).toBeLessThanOrEqual(CLIENTS);

    expect(await replicas.stop(1)).toBe(0);
    await load.more(10);
    await replicas.start(1);
    // nginx has forgotten that they were away when both answer again.
    while (Math.min(...(await replicas.answered())) === 0) await load.more(5);
    const results = await load.stop();
    expect(lostOf(results), await refusals(nginx)).toEqual(lost);
  });

  test('its own metrics stay inside; a request id and a refusal come through as they are', async () => {
    await using replicas = await startReplicas(1);
    await using nginx = await startNginx(freePort(), replicas.ports);
    expect((await fetch(`${nginx.url}/metrics`)).status).toBe(404);
    const headers = { 'x-request-id': 'order-66' };
    const refused = await fetch(`${nginx.url}/categorize?top_k=0`, { method: 'POST', headers });
    expect([refused.status, refused.headers.get('x-request-id')]).toEqual([400, 'order-66']);
    expect(await refused.json()).toMatchObject({ code: 'option_invalid' });
    const ready = await fetch(`${nginx.url}/ready`);
    expect([ready.status, ready.headers.get('x-request-id')]).toEqual([
      200,
      expect.stringMatching(/^[0-9a-f]{32}$/),
    ]);
    expect((await nginx.accessLog()).map(({ id, status }) => [id, status])).toContainEqual(['order-66', 400]);
  });
});
