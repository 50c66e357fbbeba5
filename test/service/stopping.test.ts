import { describe, expect, test } from 'bun:test';
import { temporaryFolder } from '../robustness/target.ts';
import { type Service, startService } from './service.ts';

const messages = ({ log }: Service) => log.map(({ msg }) => msg);
const milestones = (service: Service) =>
  messages(service).filter((message) => message === 'ready' || message === 'listening');
const demo = (cache: string) => ({ CLIP_MODEL: 'demo', CLIP_CACHE: cache });

describe('a service that is told to stop', () => {
  test('SIGTERM: not ready at once, but still there; then gone, with 0; and a new start opens its port when ready', async () => {
    await using cache = await temporaryFolder();
    const first = await startService(demo(cache.path));
    await first.ready();
    // The model had to be compiled, and whoever asked was told so.
    expect(milestones(first)).toEqual(['listening', 'ready']);

    const signalledAt = performance.now();
    const stopped = first.stop('SIGTERM');
    let ready = await fetch(`${first.url}/ready`);
    while (ready.status === 200) ready = await fetch(`${first.url}/ready`);
    expect(await ready.json()).toMatchObject({ code: 'shutting_down' });
    expect((await fetch(`${first.url}/health`)).status).toBe(200);
    expect(await stopped).toBe(0);
    // Not a bound on speed: it must have waited.
    expect(performance.now() - signalledAt).toBeGreaterThan(4000);
    expect(messages(first).at(-1)).toBe('stopped');

    await using second = await startService(demo(cache.path));
    await second.ready();
    expect(milestones(second)).toEqual(['ready', 'listening']);
  });

  test('a second signal ends it at once', async () => {
    await using cache = await temporaryFolder();
    const service = await startService(demo(cache.path));
    await service.ready();
    const stopped = service.stop('SIGTERM');
    while (!messages(service).some((message) => String(message).startsWith('shutting down')))
      await Bun.sleep(5);
    process.kill(service.pid, 'SIGTERM');
    expect(await stopped).toBe(143);
    expect(messages(service)).not.toContain('stopped');
  });

  test('SIGINT: nobody is waited for', async () => {
    await using cache = await temporaryFolder();
    const service = await startService(demo(cache.path));
    await service.ready();
    expect(await service.stop('SIGINT')).toBe(0);
    expect(service.log.find(({ signal }) => signal === 'SIGINT')).toMatchObject({ lingerMs: 0 });
  });
});
