import { dlopen, ptr } from 'bun:ffi';
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';

// Linux on amd64 and arm64.
const SOL_SOCKET = 1;
const SO_ATTACH_FILTER = 26;
/** TCP_LISTEN in the kernel's tables. */
const LISTENING = '0A';

/** A program of the kernel's packet filter. It sees TCP segments from their header on. */
const dropOpeningSegments = [
  [0x30, 0, 0, 13], // load the byte of the flags
  [0x45, 0, 1, 0x02], // is SYN among them?
  [0x06, 0, 0, 0], // yes: drop the segment
  [0x06, 0, 0, 0xffff_ffff], // no: keep all of it
] as const;
/** As the kernel reads it: two bytes of code, two jumps of a byte each, and a number. */
const instructions = new DataView(new ArrayBuffer(8 * dropOpeningSegments.length));
for (const [index, [code, ifTrue, ifFalse, k]] of dropOpeningSegments.entries()) {
  instructions.setUint16(8 * index, code, true);
  instructions.setUint8(8 * index + 2, ifTrue);
  instructions.setUint8(8 * index + 3, ifFalse);
  instructions.setUint32(8 * index + 4, k, true);
}

/**
 * Makes the kernel ignore attempts to connect to a port that this process listens on. Open connections stay as they
 * are, and the server still gets those that the kernel has accepted for it. Clients try again after a second. If the
 * port is closed by then, they learn it before they have sent a request, so proxies try another replica.
 * @returns whether it does; `false` on other systems
 */
export function ignoreNewConnections(port: number): boolean {
  if (process.platform !== 'linux') return false;
  try {
    const sockets = listeningSockets(port);
    return sockets.length > 0 && sockets.every(attachFilter);
  } catch {
    // A sandbox may forbid it. Then a connection that opens at the wrong moment is lost.
    return false;
  }
}

/** File descriptors of this process. */
function listeningSockets(port: number): readonly number[] {
  const localPort = port.toString(16).toUpperCase().padStart(4, '0');
  const line = new RegExp(`: [0-9A-F]+:${localPort} [0-9A-F:]+ ${LISTENING} (?:\\S+ +){5}(\\d+) `, 'g');
  const inodes = ['/proc/net/tcp', '/proc/net/tcp6'].flatMap((path) =>
    [...tableOf(path).matchAll(line)].map(([, inode]) => inode),
  );
  const links = new Set(inodes.map((inode) => `socket:[${inode}]`));
  return readdirSync('/proc/self/fd')
    .filter((fd) => links.has(linkOf(fd)))
    .map(Number);
}

/** Without IPv6 there is no table for it. */
function tableOf(path: string): string {
  try {
    return readFileSync(path, 'latin1');
  } catch {
    return '';
  }
}

/** Empty for a file that was closed since the folder was listed. */
function linkOf(fd: string): string {
  try {
    return readlinkSync(`/proc/self/fd/${fd}`);
  } catch {
    return '';
  }
}

function attachFilter(socket: number): boolean {
  const program = new DataView(new ArrayBuffer(16));
  program.setUint16(0, dropOpeningSegments.length, true);
  program.setBigUint64(8, BigInt(ptr(instructions)), true);
  const c = dlopen('libc.so.6', {
    setsockopt: { args: ['i32', 'i32', 'i32', 'ptr', 'u32'], returns: 'i32' },
  });
  try {
    const { byteLength } = program;
    return c.symbols.setsockopt(socket, SOL_SOCKET, SO_ATTACH_FILTER, ptr(program), byteLength) === 0;
  } finally {
    c.close();
  }
}
