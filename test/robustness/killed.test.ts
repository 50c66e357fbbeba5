import { describe, expect, test } from 'bun:test';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { unpackGoldenCheckpoint } from '../fixtures/golden.ts';
import { type Service, startService } from '../service/service.ts';
import { openConnection, requestHead } from './exchange.ts';
import { CONTENT_TYPE, joinForm } from './form.ts';
import { goodAnswer, startTarget, temporaryFolder } from './target.ts';

async function untilLogged({ log }: Service, message: string): Promise<void> {
  while (!log.some(({ msg }) => msg === message)) await Bun.sleep(1);
}

async function kill(service: Service): Promise<void> {
  process.kill(service.pid, 'SIGKILL');
  await service.stop();
}

/** Processes whose command line has this in it. */
function processesWith(text: string): readonly string[] {
  return readdirSync('/proc').filter((pid) => {
    if (!/^\d+$/.test(pid)) return false;
    try {
      return readFileSync(`/proc/${pid}/cmdline`, 'latin1').includes(text);
    } catch {
      return false; // it has just ended
    }
  });
}

describe.if(process.platform === 'linux')('a killed service', () => {
  test.concurrent('while it compiles: its child ends, and the next start compiles and answers', async () => {
    await using folder = await temporaryFolder();
    const environment = { CLIP_MODEL: 'demo', CLIP_CACHE: folder.path };
    const first = await startService(environment);
    await untilLogged(first, 'compiling the model, which is done once');
    await kill(first);
    await using second = await startService(environment);
    await second.ready();
    await goodAnswer(second.url);
    while (processesWith(folder.path).length > 0) await Bun.sleep(20);
  });

  test.concurrent('while it downloads: the next start downloads, compiles and answers', async () => {
    await using folder = await temporaryFolder();
    const checkpoint = await Bun.file(await unpackGoldenCheckpoint('clip-tiny.pt', folder.path)).bytes();
    let requests = 0;
    let isSlow = true;
    await using server = Bun.serve({
      hostname: '127.0.0.1',
      port: 0,
      fetch() {
        requests += 1;
        if (!isSlow) return new Response(checkpoint);
        return new Response(drip(checkpoint), { headers: { 'content-length': String(checkpoint.length) } });
      },
    });
    const environment = {
      CLIP_CACHE: join(folder.path, 'cache'),
      CLIP_MODEL_URL: `http://127.0.0.1:${server.port}/model.pt`,
      // A proxy of the machine's own has nothing to do with 127.0.0.1.
      NO_PROXY: '127.0.0.1',
    };
    const first = await startService(environment);
    while (requests === 0) await Bun.sleep(5);
    await Bun.sleep(100);
    await kill(first);
    isSlow = false;
    await using second = await startService(environment);
    await second.ready();
    const answer = await fetch(`${second.url}/ready`);
    expect(await answer.json()).toMatchObject({ ready: true });
    expect(requests).toBe(2);
  });
});

async function* drip(content: Uint8Array): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < content.length; at += 1000) {
    yield content.slice(at, at + 1000);
    await Bun.sleep(10);
  }
}

describe('a service that is told to stop', () => {
  test('while it works for clients that have left ends with 0', async () => {
    const target = await startTarget();
    const { service, sentinels } = target;
    const body = joinForm(
      Array.from({ length: 40 }, (_, index) => ({
        head: [`Content-Disposition: form-data; name="files"; filename="${index}"`],
        content: sentinels[index % sentinels.length]?.bytes ?? new Uint8Array(),
      })),
    );
    const head = requestHead('/categorize', { 'Content-Type': CONTENT_TYPE, 'Content-Length': body.length });
    const connections = await Promise.all(Array.from({ length: 8 }, () => openConnection(service.url)));
    for (const connection of connections) {
      await connection.write(head);
      await connection.write(body.subarray(0, body.length - 10));
    }
    for (const connection of connections) connection.reset();
    expect(await service.stop()).toBe(0);
    await target[Symbol.asyncDispose]();
  });
});
