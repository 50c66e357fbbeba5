import { readSync } from 'node:fs';
import type { Container } from '../../../native/av/demuxer.ts';

/**
 * Where the part of a file ends in which a container's packets are. Recorders reserve more than they fill, and libav reads
 * all of what follows in search of another packet: up to 50 ns a byte, each time that it reads the video to its end.
 */

/** What follows the last sign of a packet is left out if it has more bytes: libav needs 2 s for as many. */
const MOST_UNREADABLE: Readonly<Record<Exclude<Container, 'mov'>, number>> = {
  mpegts: 32 * 1024 ** 2,
  avi: 64 * 1024 ** 2,
  matroska: 512 * 1024 ** 2,
};
/** Searched at once, from the file's end backwards. */
const WINDOW_BYTES = 8 * 1024 ** 2;
/** The beginning of the next window that belongs to a window's last sign. */
const OVERLAP_BYTES = 4096;

/**
 * @param descriptor of the open file
 * @param bytes its length
 * @param onTurn called regularly
 * @returns the length of its readable part
 */
export async function readableEnd(
  descriptor: number,
  bytes: number,
  container: Container,
  onTurn: () => Promise<void>,
): Promise<number> {
  // Its tables say where packets are.
  if (container === 'mov') return bytes;
  const most = MOST_UNREADABLE[container];
  if (bytes <= most) return bytes;
  const window = Buffer.alloc(WINDOW_BYTES + OVERLAP_BYTES);
  for (let end = bytes; end > 0; end -= WINDOW_BYTES) {
    const start = Math.max(0, end - WINDOW_BYTES);
    const count = readSync(descriptor, window, 0, Math.min(window.length, bytes - start), start);
    if (hasPacket[container](window.subarray(0, count))) return bytes - end > most ? end : bytes;
    await onTurn();
  }
  return bytes;
}

/** Whether a part of a file shows a sign of packets that arbitrary bytes do not show. */
const hasPacket: Readonly<Record<Exclude<Container, 'mov'>, (bytes: Buffer) => boolean>> = {
  mpegts: hasTransportPackets,
  avi: hasChunks,
  matroska: hasClusters,
};

const SYNC_BYTE = 0x47;
/** Bytes from one packet to the next: plain, of a Blu-ray disc or camcorder, with error correction. */
const STRIDES = [188, 192, 204];
const PACKETS_IN_A_ROW = 8;
/** From one attempt to find a packet to the next. */
const ATTEMPT_BYTES = 64 * 1024;

function hasTransportPackets(bytes: Buffer): boolean {
  for (let from = 0; from < bytes.length; from += ATTEMPT_BYTES) {
    for (const stride of STRIDES) {
      for (let at = from; at < from + stride; at++) {
        let packets = 0;
        while (packets < PACKETS_IN_A_ROW && bytes[at + packets * stride] === SYNC_BYTE) packets++;
        if (packets === PACKETS_IN_A_ROW) return true;
      }
    }
  }
  return false;
}

/** Picture and sound, in the first tracks. */
const CHUNKS = ['00dc', '00db', '00wb', '01dc', '01db', '01wb'].map((id) => Buffer.from(id));
const ANY_CHUNK = /^(?:\d\d(?:d[bc]|wb|pc|tx)|ix\d\d|idx1|LIST|RIFF|JUNK|rec )$/;
const INDEX_ENTRY_BYTES = 16;

function hasChunks(bytes: Buffer): boolean {
  return CHUNKS.some((id) => hasSign(bytes, id, (at) => isFollowed(bytes, at)));
}

/** Whether another chunk, or another entry of an index of chunks, follows. */
function isFollowed(bytes: Buffer, at: number): boolean {
  if (at + 8 > bytes.length) return false;
  const size = bytes.readUInt32LE(at + 4);
  return [at + 8 + size + (size % 2), at + INDEX_ENTRY_BYTES].some((next) =>
    ANY_CHUNK.test(bytes.toString('latin1', next, next + 4)),
  );
}

const CLUSTER = Buffer.from([0x1f, 0x43, 0xb6, 0x75]);
/** What a cluster begins with: its time, its position, the size of the one before, a checksum, or nothing. */
const FIRST_OF_CLUSTER = [0xe7, 0xa7, 0xab, 0xbf, 0xec];

function hasClusters(bytes: Buffer): boolean {
  return hasSign(bytes, CLUSTER, (at) => {
    const size = at + CLUSTER.length;
    const first = size + Math.clz32(bytes[size] ?? 0) - 24 + 1;
    return FIRST_OF_CLUSTER.includes(bytes[first] ?? 0);
  });
}

function hasSign(bytes: Buffer, sign: Buffer, isReal: (at: number) => boolean): boolean {
  for (let at = bytes.indexOf(sign); at >= 0; at = bytes.indexOf(sign, at + 1)) if (isReal(at)) return true;
  return false;
}

const SEGMENT = 0x18538067;

/**
 * Where a Matroska file should end. No packet is missing for libav where the file was cut off between two of them.
 * @param beginning of the file, with the head of its segment
 * @returns undefined: it does not say, as files of live recordings
 */
export function declaredEnd(beginning: Uint8Array): number | undefined {
  const header = readElement(beginning, 0);
  const segment = header.end === undefined ? undefined : readElement(beginning, header.end);
  return segment?.id === SEGMENT ? segment.end : undefined;
}

/** Reads the id of an EBML element, and where it ends; undefined: its size is unknown. */
function readElement(
  bytes: Uint8Array,
  at: number,
): { readonly id: number; readonly end: number | undefined } {
  const idBytes = lengthOf(bytes[at]);
  const sizeAt = at + idBytes;
  const sizeBytes = lengthOf(bytes[sizeAt]);
  const start = sizeAt + sizeBytes;
  // Without the bit that says how long the number is. All other bits are set where the size is unknown.
  const size = numberAt(bytes, sizeAt, sizeBytes, 0xff >> sizeBytes);
  const isUnknown = size >= 2 ** (7 * sizeBytes) - 1;
  return { id: numberAt(bytes, at, idBytes), end: isUnknown ? undefined : start + size };
}

/** The zeros before a number's first bit say how many bytes follow. */
function lengthOf(first = 0): number {
  return Math.clz32(first) - 24 + 1;
}

/** @param mask of the first byte */
function numberAt(bytes: Uint8Array, at: number, length: number, mask = 0xff): number {
  let value = (bytes[at] ?? 0) & mask;
  for (let index = at + 1; index < at + length; index++) value = value * 256 + (bytes[index] ?? 0);
  return value;
}
