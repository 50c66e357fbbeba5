import { readFile } from 'node:fs/promises';

/** A client's end of a connection, as text. */
type Peer = string;

/** The system's number for a connection whose other side will send no more. */
const CLOSE_WAIT = '08';

/** @returns '' for a request whose connection has gone */
export function peerOf(
  address: { readonly address: string; readonly port: number } | null | undefined,
): Peer {
  return address ? `${expand(address.address)}:${address.port}` : '';
}

/**
 * The clients that have closed their end of a connection to this port, whether or not all that they sent has been
 * read. Linux tells; elsewhere there are none.
 */
export async function closedPeers(port: number): Promise<ReadonlySet<Peer>> {
  const tables = await Promise.all(
    ['/proc/net/tcp', '/proc/net/tcp6'].map((path) => readFile(path, 'latin1').catch(() => '')),
  );
  const local = port.toString(16).toUpperCase().padStart(4, '0');
  const line = new RegExp(`: [0-9A-F]+:${local} ([0-9A-F]+):([0-9A-F]{4}) ${CLOSE_WAIT} `, 'g');
  const peers = new Set<Peer>();
  for (const table of tables) {
    for (const [, address = '', remotePort = ''] of table.matchAll(line)) {
      peers.add(`${fromTable(address)}:${Number.parseInt(remotePort, 16)}`);
    }
  }
  return peers;
}

/** Words of 32 bits in hexadecimal, as this machine has them in memory: little-endian. */
function fromTable(address: string): string {
  const bytes = Buffer.from(address, 'hex');
  for (let at = 0; at < bytes.length; at += 4) bytes.subarray(at, at + 4).reverse();
  return bytes.toString('hex').replace(/^0{20}ffff/, '');
}

/** The bytes of an address in hexadecimal. IPv4 within IPv6 is IPv4. */
function expand(address: string): string {
  const [, v4] = /^(?:::ffff:)?(\d+\.\d+\.\d+\.\d+)$/i.exec(address) ?? [];
  if (v4 !== undefined) return Buffer.from(v4.split('.').map(Number)).toString('hex');
  const [head = '', tail] = (address.split('%')[0] ?? '').split('::');
  const groups = (text: string) =>
    (text === '' ? [] : text.split(':')).map((group) => group.padStart(4, '0'));
  const [before, after] = [groups(head), groups(tail ?? '')];
  return [...before, ...Array(8 - before.length - after.length).fill('0000'), ...after]
    .join('')
    .toLowerCase();
}
