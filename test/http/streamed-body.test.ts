import { describe, expect, test } from 'bun:test';
import { streamBody } from '../../src/http/answers.ts';
import { createResources } from '../../src/http/resources.ts';
import { plenty } from './plenty.ts';

/** A new lease with this patience. */
function leaseOf(signal?: AbortSignal, waitMs = 60_000) {
  const patience = { waitMs, msPerKibibyte: 1000 };
  const resources = createResources(plenty, { patience, hurriedPatience: patience });
  const request = new Request('http://localhost', signal ? { signal } : {});
  return resources.enter('pictureUploads', request);
}
const bytes = (text: string) => new TextEncoder().encode(text);

describe('a streamed body', () => {
  test('is what is written, in order', async () => {
    const { stream, ended } = streamBody(
      async (write) => {
        for (const text of ['a', 'bc', 'd']) await write(bytes(text));
      },
      { lease: leaseOf() },
    );
    expect(await new Response(stream).text()).toBe('abcd');
    expect(await ended).toBeUndefined();
  });

  test('may be empty', async () => {
    const { stream, ended } = streamBody(async () => {}, { lease: leaseOf() });
    expect(await new Response(stream).text()).toBe('');
    expect(await ended).toBeUndefined();
  });

  test('is made no faster than it is taken', async () => {
    let made = 0;
    const { stream } = streamBody(
      async (write) => {
        for (; made < 100; made += 1) await write(bytes('x'));
      },
      { lease: leaseOf() },
    );
    const reader = stream.getReader();
    await reader.read();
    await reader.read();
    await Bun.sleep(5);
    expect(made).toBe(2);
    await reader.cancel();
  });

  test('breaks off where making it fails', async () => {
    const fault = new Error('the disk broke');
    const { stream, ended } = streamBody(
      async (write) => {
        await write(bytes('x'));
        throw fault;
      },
      { lease: leaseOf() },
    );
    const reader = stream.getReader();
    await reader.read();
    expect(await reader.read().catch((reason: unknown) => reason)).toBe(fault);
    expect(await ended).toBe(fault);
  });

  test.each<[string, (stream: ReadableStream, leaving: AbortController) => Promise<void>]>([
    ['it is cancelled', (stream) => stream.cancel('no more')],
    ['its connection is lost', async (_, leaving) => leaving.abort(new Error('gone'))],
  ])('comes to its end where %s, though nobody ever read', async (_, leave) => {
    const leaving = new AbortController();
    let isCleanedUp = false;
    const lease = leaseOf(leaving.signal);
    const { stream, ended } = streamBody(
      async (write) => {
        try {
          await write(bytes('x'));
        } finally {
          isCleanedUp = true;
        }
      },
      { lease },
    );
    await leave(stream, leaving);
    expect(await ended).toBeInstanceOf(Error);
    expect({ isCleanedUp, wasTold: lease.signal.aborted }).toEqual({ isCleanedUp: true, wasTold: true });
  });

  test('gives a reader up that takes nothing', async () => {
    const { ended } = streamBody(async (write) => write(bytes('x')), { lease: leaseOf(undefined, 5) });
    expect(await ended).toMatchObject({ code: 'client_gone', message: expect.stringContaining('stopped') });
  });
});
