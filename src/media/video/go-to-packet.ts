import type { Demuxer, PacketHead } from '../../../native/av/demuxer.ts';
import type { PacketIndex } from './packet-index.ts';

/** Reading over so many packets costs less than looking for a place in a file that has no table of them. */
const READ_ON = 300;

/**
 * Brings a demuxer to a packet, wherever it stands: the packet is the demuxer's current one then.
 * @returns false: the packet is not there any more
 */
export function goToPacket(demuxer: Demuxer, index: PacketIndex, position: number): boolean {
  const target = { pts: index.pts[position]!, dts: index.dts[position]! };
  const behind = target.dts - demuxer.head.dts;
  if (behind >= 0 && behind <= READ_ON * typicalTicks(index)) {
    if (isAt(demuxer, target) || readOnTo(demuxer, target, READ_ON)) return true;
  }
  demuxer.seek(target);
  if (readOnTo(demuxer, target, index.count)) return true;
  // The file's table led astray: from its beginning.
  demuxer.seek({ pts: index.pts[0]!, dts: index.dts[0]! });
  return readOnTo(demuxer, target, index.count);
}

/**
 * Reads on to a keyframe's packet.
 * @returns false: it does not come
 */
export function readOnTo(demuxer: Demuxer, target: Ticks, packets = Number.POSITIVE_INFINITY): boolean {
  const { head, identity } = demuxer;
  for (let read = 0; read < packets && demuxer.next(); read++) {
    if (isAt(demuxer, target)) return true;
    // Keyframes are shown in the order in which they are decoded.
    if (head.key && head[identity] > target[identity]) return false;
  }
  return false;
}

type Ticks = Pick<PacketHead, 'pts' | 'dts'>;

function isAt({ head, identity }: Demuxer, target: Ticks): boolean {
  return head.key && head[identity] === target[identity];
}

function typicalTicks({ dts, count }: PacketIndex): number {
  return count > 1 ? (dts[count - 1]! - dts[0]!) / (count - 1) : 0;
}
