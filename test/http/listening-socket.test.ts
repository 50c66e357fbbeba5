import { describe, expect, test } from 'bun:test';
import { connect } from 'node:net';
import { ignoreNewConnections } from '../../src/http/listening-socket.ts';

function listen(hostname: string) {
  return Bun.serve({ hostname, port: 0, fetch: () => new Response('answer') });
}

/** Connects without a request. */
async function openedTo(port: number) {
  const socket = connect(port, '127.0.0.1');
  await new Promise<void>((resolve, reject) => socket.once('connect', resolve).once('error', reject));
  return socket;
}

function attempt(port: number): Promise<string> {
  return openedTo(port).then(
    (socket) => {
      socket.destroy();
      return 'connected';
    },
    (fault: NodeJS.ErrnoException) => fault.code ?? String(fault),
  );
}

describe.if(process.platform === 'linux')('a port whose new connections are ignored', () => {
  // `::` also listens for IPv4.
  test.each(['127.0.0.1', '::'])(
    'answers open connections, and refuses waiting ones once it is closed: %s',
    async (hostname) => {
      const server = listen(hostname);
      const port = server.port ?? 0;
      const open = await openedTo(port);
      expect(ignoreNewConnections(port)).toBe(true);

      let outcome: string | undefined;
      const waiting = attempt(port).then((found) => {
        outcome = found;
      });
      const answered = new Promise<string>((resolve) => open.once('data', (data) => resolve(String(data))));
      open.write('GET / HTTP/1.1\r\nHost: localhost\r\n\r\n');
      expect(await answered).toEndWith('answer');
      expect(outcome).toBeUndefined();

      await server.stop(true);
      await waiting;
      expect(outcome).toBe('ECONNREFUSED');
    },
  );
});

test('a port that this process does not listen on cannot be changed', async () => {
  const server = listen('127.0.0.1');
  const port = server.port ?? 0;
  await server.stop(true);
  expect(ignoreNewConnections(port)).toBe(false);
});
