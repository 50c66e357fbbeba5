import { readFile } from 'node:fs/promises';

/** The client's address and port, as text. */
type Peer = string;

/** Linux's number for a connection whose other side has closed. */
const CLOSE_WAIT = '08';

/** @returns '' for a request whose connection is gone */
export function peerOf(
  address: { readonly address: string; readonly port: number } | null | undefined,
): Peer {
  return address ? `${expand(address.address)}:${address.port}` : '';
}

/**
 * Finds the clients that have closed their side of a connection to this port, even if not all their bytes were read.
 * Linux lists them; on other systems the result is empty.
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

/** Converts the table's address: words of 32 bits in hexadecimal, in little-endian order. */
function fromTable(address: string): string {
  const bytes = Buffer.from(address, 'hex');
  for (let at = 0; at < bytes.length; at += 4) bytes.subarray(at, at + 4).reverse();
  return bytes.toString('hex').replace(/^0{20}ffff/, '');
}

/** The bytes of an address in hexadecimal. IPv4 addresses in IPv6 become IPv4. */
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
