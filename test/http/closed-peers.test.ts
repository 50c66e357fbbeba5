import { describe, expect, test } from 'bun:test';
import { connect, createServer, type Socket } from 'node:net';
import { closedPeers, peerOf } from '../../src/http/resources.ts';

describe('peers', () => {
  test.each([
    ['127.0.0.1', '7f000001:80'],
    ['::ffff:10.0.0.1', '0a000001:80'],
    ['::1', '00000000000000000000000000000001:80'],
    ['fe80::1234:5%eth0', 'fe800000000000000000000012340005:80'],
    ['2001:DB8:0:1:2:3:4:5', '20010db8000000010002000300040005:80'],
  ])('%s', (address, expected) => {
    expect(peerOf({ address, port: 80 })).toBe(expected);
  });

  test('a connection that has gone is nobody', () => {
    expect(peerOf(null)).toBe('');
  });
});

describe.if(process.platform === 'linux')('clients that have closed their end', () => {
  test.each(['127.0.0.1', '::1'])('are found though nothing is read, others are not: %s', async (host) => {
    const accepted: Socket[] = [];
    const server = createServer({ allowHalfOpen: true, pauseOnConnect: true }, (socket) => {
      socket.on('error', () => undefined);
      accepted.push(socket);
    });
    const listening = Promise.withResolvers<boolean>();
    server.once('error', () => listening.resolve(false));
    server.listen(0, host, () => listening.resolve(true));
    // Not every machine has IPv6.
    if (!(await listening.promise)) return;
    const { port } = server.address() as { port: number };
    const open = async () => {
      const socket = connect({ port, host, allowHalfOpen: true });
      await new Promise((resolve) => socket.once('connect', resolve));
      return socket;
    };
    const [leaving, staying] = [await open(), await open()];
    const keyOf = ({ localAddress = '', localPort = 0 }: Socket) =>
      peerOf({ address: localAddress, port: localPort });
    const [left, stayed] = [keyOf(leaving), keyOf(staying)];
    leaving.end('x');
    while (!(await closedPeers(port)).has(left)) await Bun.sleep(5);
    expect((await closedPeers(port)).has(stayed)).toBe(false);
    for (const socket of [leaving, staying, ...accepted]) socket.destroy();
    server.close();
  });
});
