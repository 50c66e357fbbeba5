import { describe, expect, test } from 'bun:test';
import { streamBody } from '../../src/http/streamed-body.ts';

const stay = new AbortController().signal;
const bytes = (text: string) => new TextEncoder().encode(text);

describe('a streamed body', () => {
  test('is what is written, in order', async () => {
    const { stream, ended } = streamBody(
      async (write) => {
        for (const text of ['a', 'bc', 'd']) await write(bytes(text));
      },
      { signal: stay, waitMs: 60_000 },
    );
    expect(await new Response(stream).text()).toBe('abcd');
    expect(await ended).toBeUndefined();
  });

  test('may be empty', async () => {
    const { stream, ended } = streamBody(async () => {}, { signal: stay, waitMs: 60_000 });
    expect(await new Response(stream).text()).toBe('');
    expect(await ended).toBeUndefined();
  });

  test('is made no faster than it is taken', async () => {
    let made = 0;
    const { stream } = streamBody(
      async (write) => {
        for (; made < 100; made += 1) await write(bytes('x'));
      },
      { signal: stay, waitMs: 60_000 },
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
      { signal: stay, waitMs: 60_000 },
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
    let wasTold = false;
    const { stream, ended } = streamBody(
      async (write, gone) => {
        gone.addEventListener('abort', () => {
          wasTold = true;
        });
        try {
          await write(bytes('x'));
        } finally {
          isCleanedUp = true;
        }
      },
      { signal: leaving.signal, waitMs: 60_000 },
    );
    await leave(stream, leaving);
    expect(await ended).toBeInstanceOf(Error);
    expect({ isCleanedUp, wasTold }).toEqual({ isCleanedUp: true, wasTold: true });
  });

  test('gives a reader up that takes nothing', async () => {
    const { ended } = streamBody(async (write) => write(bytes('x')), { signal: stay, waitMs: 5 });
    expect(await ended).toMatchObject({ code: 'client_gone', message: expect.stringContaining('stopped') });
  });
});
