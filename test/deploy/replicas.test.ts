import { describe, expect, test } from 'bun:test';
import { startLoad } from './load.ts';
import { nginxProgram, startNginx } from './nginx.ts';
import { freePort, startReplicas } from './replicas.ts';

if (nginxProgram === null) console.log('replicas behind nginx: skipped, there is no nginx');

describe.if(nginxProgram !== null)('three replicas behind a real nginx', () => {
  test('load spreads, a kill costs what was in flight there, a restart costs nothing', async () => {
    await using replicas = await startReplicas(3);
    await using nginx = await startNginx(freePort(), replicas.ports);
    const load = await startLoad(nginx.url, 6);
    await load.more(40);
    while (Math.min(...(await replicas.answered())) <= 3) await load.more(5);

    await replicas.kill(0);
    const deadAt = performance.now();
    await load.more(30);
    await replicas.start(0);
    const lost = load.results.filter(({ isRight }) => !isRight);
    expect(lost.filter(({ begunAt }) => begunAt > deadAt)).toEqual([]);
    expect(lost.length).toBeLessThanOrEqual(6);

    expect(await replicas.stop(1)).toBe(0);
    await load.more(10);
    await replicas.start(1);
    // nginx has forgotten that they were away when both answer again.
    while (Math.min(...(await replicas.answered())) === 0) await load.more(5);
    const results = await load.stop();
    expect(results.filter(({ isRight }) => !isRight)).toEqual(lost);
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
