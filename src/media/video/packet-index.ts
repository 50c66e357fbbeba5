import type { Demuxer } from '../../../native/av/demuxer.ts';

/** A video track's packets in decoding order, known before any frame is decoded. */
export interface PacketIndex {
  readonly count: number;
  /** Presentation times in seconds; the file begins at 0. */
  readonly timestamps: Float64Array;
  /** Both times in the track's ticks, to find a packet in the file again. */
  readonly pts: Float64Array;
  readonly dts: Float64Array;
  /** Sizes in bytes, and their sum. */
  readonly sizes: Uint32Array;
  readonly bytes: number;
  /** 1: the packet is a keyframe, which can be decoded alone. */
  readonly keys: Uint8Array;
  /** 1: an edit list keeps the frame from being shown. */
  readonly hidden: Uint8Array;
  /** When the first frame appears and when the last one disappears, in seconds. */
  readonly start: number;
  readonly end: number;
  /** Reading ended with an error. */
  readonly brokenOff: boolean;
}

export interface IndexLimits {
  /** Reading stops when a frame is shown later than this. */
  readonly seconds: number;
  /** Reading stops after this number of packets. */
  readonly packets: number;
  /** Reading stops after packets of this size in all. */
  readonly bytes: number;
}

/** Packets between two turns of the event loop: some 20 ms. */
const PACKETS_PER_TURN = 2000;
/** The columns of more packets, with the arrays they outgrew, need tens of megabytes. */
const MANY_PACKETS = 500_000;
/** Bytes between two turns: libav reads all of a packet. */
const BYTES_PER_TURN = 16 * 1024 ** 2;

/**
 * Reads the heads of all packets: 12 µs each where the file is in memory.
 * @param onTurn called now and then with the time reached; it may throw to stop the reading
 * @returns the packets read. If a limit stopped the reading, `end` or `count` is beyond the limit.
 */
export async function readPacketIndex(
  demuxer: Demuxer,
  secondsPerTick: number,
  limits: IndexLimits,
  onTurn: (timestamp: number) => Promise<void>,
): Promise<PacketIndex> {
  const pts = new Column(Float64Array);
  const dts = new Column(Float64Array);
  const sizes = new Column(Uint32Array);
  const keys = new Column(Uint8Array);
  const hidden = new Column(Uint8Array);
  const { head, startTime } = demuxer;
  let start = Number.POSITIVE_INFINITY;
  let end = 0;
  let brokenOff = false;
  let count = 0;
  let bytes = 0;
  let bytesAtTurn = 0;

  while (end <= limits.seconds && count <= limits.packets && bytes <= limits.bytes) {
    try {
      if (!demuxer.next()) break;
    } catch {
      brokenOff = true;
      break;
    }
    pts.push(head.pts);
    dts.push(head.dts);
    sizes.push(head.size);
    keys.push(head.key ? 1 : 0);
    hidden.push(head.hidden ? 1 : 0);
    const timestamp = toSeconds(head.pts, secondsPerTick, startTime);
    if (!head.hidden) {
      start = Math.min(start, timestamp);
      end = Math.max(end, toSeconds(head.pts + head.duration, secondsPerTick, startTime));
    }
    bytes += head.size;
    if (++count % PACKETS_PER_TURN === 0 || bytes - bytesAtTurn > BYTES_PER_TURN) {
      bytesAtTurn = bytes;
      await onTurn(timestamp);
    }
  }
  // Otherwise the outgrown arrays stay until the runtime collects them.
  if (count > MANY_PACKETS) Bun.gc(true);
  return {
    count,
    timestamps: pts.values().map((ticks) => toSeconds(ticks, secondsPerTick, startTime)),
    pts: pts.values(),
    dts: dts.values(),
    sizes: sizes.values(),
    bytes,
    keys: keys.values(),
    hidden: hidden.values(),
    start: Number.isFinite(start) ? start : 0,
    end,
    brokenOff,
  };
}

/** A time on the file's own clock, to the microsecond: `startTime` has no higher precision. */
export function toSeconds(ticks: number, secondsPerTick: number, startTime: number): number {
  return Math.round((ticks * secondsPerTick - startTime) * 1e6) / 1e6;
}

/** A typed array that grows. */
class Column<Values extends Float64Array | Uint32Array | Uint8Array> {
  #array: Values;
  #length = 0;
  readonly #type: new (
    length: number,
  ) => Values;

  constructor(type: new (length: number) => Values) {
    this.#type = type;
    this.#array = new type(4096);
  }

  push(value: number): void {
    if (this.#length === this.#array.length) {
      const larger = new this.#type(this.#length * 2);
      larger.set(this.#array);
      this.#array = larger;
    }
    this.#array[this.#length++] = value;
  }

  values(): Values {
    return this.#array.subarray(0, this.#length) as Values;
  }
}

/** Positions of the keyframes, ascending. */
export function keyframePositions({ keys }: Pick<PacketIndex, 'keys'>): number[] {
  const positions: number[] = [];
  for (let at = keys.indexOf(1); at >= 0; at = keys.indexOf(1, at + 1)) positions.push(at);
  return positions;
}
