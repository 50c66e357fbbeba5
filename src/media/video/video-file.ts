import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { AvError } from '../../../native/av/av-error.ts';
import {
  type Demuxer,
  type MediaSource,
  openDemuxer,
  type VideoCodec,
  type VideoTrack,
} from '../../../native/av/demuxer.ts';
import { recogniseVideo, SNIFFED_BYTES } from '../sniff.ts';
import { declaredEnd, readableEnd } from './readable-end.ts';
import {
  brokenVideo,
  emptyVideo,
  encryptedVideo,
  framesTooLarge,
  notAVideo,
  noVideoTrack,
  tooManyFrames,
  unsupportedCodec,
  videoTooLong,
} from './video-errors.ts';

/** A video track's packets in decoding order, known before any frame is decoded. */
export interface PacketIndex {
  readonly count: number;
  /** Presentation times in seconds; the file begins at 0. */
  readonly timestamps: Float64Array;
  /** Both times in the track's ticks, to find a packet in the file again. */
  readonly pts: Float64Array;
  readonly dts: Float64Array;
  /** The ticks at which frames are shown, by their `pts`, where the file says something else. */
  readonly restamped: ReadonlyMap<number, number>;
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

/** A video file whose packets have been indexed. */
export interface VideoFile {
  readonly source: MediaSource;
  /** Length of its readable part. */
  readonly bytes: number;
  readonly codec: VideoCodec;
  readonly track: VideoTrack;
  readonly index: PacketIndex;
  /** Faults of the file, as sentences for a person. */
  readonly warnings: readonly string[];
}

/** HEVC's largest level: 8K. A frame of 10 bits needs 107 MB. */
export const MAX_PIXELS = 8192 * 4352;
/** Four hours at 240 frames a second. The index needs 31 bytes a packet. */
const MAX_PACKETS = 3_500_000;
/** A frame that repeats the one before has 5 to 13 bytes, and 4 more in the container's tables. */
const PACKETS_PER_BYTE = 1 / 2;
/** Allowed in addition: damaged files of a few KB name empty packets. */
const FREE_PACKETS = 10_000;
/** An edit list may show frames several times. Hostile tables name the same bytes very often. */
const MAX_READ = { times: 4, bytes: 16 * 1024 ** 2 };
/** A file that ends earlier than its container says, by more than this, has been cut short. */
const MISSING_SECONDS = 1;

/**
 * Recognises a file and reads the heads of all its packets.
 * @param maximumSeconds it may last
 * @param onIndexed called regularly with the seconds that have been indexed
 * @throws ServiceError video_unsupported, video_too_large, video_broken
 */
export async function lookIntoFile(
  path: string,
  maximumSeconds: number,
  onIndexed: (seconds: number) => Promise<void>,
): Promise<VideoFile> {
  const source = { path, ...(await sniff(path, () => onIndexed(0))), ignoreEdits: false };
  const file = await look(source, maximumSeconds, onIndexed);
  // An edit list of length 0 hides everything. Some muxers write one for a single frame.
  const allHidden = file.index.hidden.indexOf(0) < 0;
  return allHidden ? await look({ ...source, ignoreEdits: true }, maximumSeconds, onIndexed) : file;
}

interface SniffedFile extends Pick<MediaSource, 'container' | 'end'> {
  /** Its end is missing, as its beginning tells. */
  readonly isCut: boolean;
  /** Length of its readable part. */
  readonly bytes: number;
}

async function sniff(path: string, onTurn: () => Promise<void>): Promise<SniffedFile> {
  const beginning = new Uint8Array(SNIFFED_BYTES);
  const descriptor = openSync(path, 'r');
  try {
    const count = readSync(descriptor, beginning);
    if (count === 0) throw emptyVideo();
    const sniffed = recogniseVideo(beginning.subarray(0, count));
    if ('other' in sniffed) throw notAVideo(sniffed.other);
    const { container } = sniffed;
    const { size } = fstatSync(descriptor);
    const bytes = await readableEnd(descriptor, size, container, onTurn);
    const isCut = container === 'matroska' && (declaredEnd(beginning) ?? 0) > size;
    return { container, bytes, isCut, end: bytes < size ? bytes : undefined };
  } finally {
    closeSync(descriptor);
  }
}

async function look(
  source: MediaSource & Pick<SniffedFile, 'bytes' | 'isCut'>,
  maximumSeconds: number,
  onIndexed: (seconds: number) => Promise<void>,
): Promise<VideoFile> {
  using demuxer = open(source);
  const { track } = demuxer;
  if (!track) throw noVideoTrack();
  if (demuxer.isEncrypted) throw encryptedVideo();
  if (!track.codec) throw unsupportedCodec(track.codecName);
  const { width, height } = track.codedSize;
  if (width * height > MAX_PIXELS) throw framesTooLarge(track.codedSize, MAX_PIXELS);

  const { bytes } = source;
  const packets = Math.min(MAX_PACKETS, Math.round(FREE_PACKETS + bytes * PACKETS_PER_BYTE));
  const limits = {
    seconds: maximumSeconds,
    packets,
    bytes: MAX_READ.bytes + MAX_READ.times * bytes,
  };
  const index = await readPacketIndex(demuxer, track.secondsPerTick, limits, onIndexed);
  if (index.end > maximumSeconds) throw videoTooLong(maximumSeconds);
  if (index.count > MAX_PACKETS) throw tooManyFrames(MAX_PACKETS);
  if (index.count > packets || index.bytes > limits.bytes) {
    throw brokenVideo('is damaged: it names more frames than its bytes can hold');
  }
  if (index.count === 0) throw brokenVideo('has no frames');
  return {
    source,
    bytes,
    codec: track.codec,
    track,
    index,
    warnings: endWarnings(index, demuxer, source.isCut),
  };
}

function open(source: MediaSource): Demuxer {
  try {
    return openDemuxer(source);
  } catch (fault) {
    if (!(fault instanceof AvError) || fault.isOutOfMemory) throw fault;
    const part =
      source.container === 'mov' ? 'the index of its frames (the moov box)' : 'the description of its tracks';
    throw brokenVideo(`is cut short or damaged: ${part} is missing or cannot be read`, fault);
  }
}

function endWarnings(index: PacketIndex, { declaredDuration }: Demuxer, isCut: boolean): string[] {
  if (!isCut && !index.brokenOff && declaredDuration - index.end <= MISSING_SECONDS) return [];
  const declared = declaredDuration > index.end ? ` of ${declaredDuration.toFixed(1)}` : '';
  return [`The video's data end after ${index.end.toFixed(1)}${declared} seconds; the rest is missing.`];
}

interface IndexLimits {
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
 * @param onTurn called regularly with the time reached; it may throw to stop the reading
 * @returns the packets read. If a limit stopped the reading, `end` or `count` is beyond the limit.
 */
async function readPacketIndex(
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
  const bidirectional = new Column(Uint8Array);
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
    if (demuxer.isEncrypted) throw encryptedVideo();
    pts.push(head.pts);
    dts.push(head.dts);
    sizes.push(head.size);
    keys.push(head.key ? 1 : 0);
    hidden.push(head.hidden ? 1 : 0);
    bidirectional.push(head.bidirectional ? 1 : 0);
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
  const seconds = (ticks: number) => toSeconds(ticks, secondsPerTick, startTime);
  const { hasPresentationTimes, track } = demuxer;
  const restamped =
    hasPresentationTimes || track?.codec === 'mpeg4'
      ? restamp(pts.values(), bidirectional.values(), {
          firstIsLate: !hasPresentationTimes,
          lastDuration: head.duration,
        })
      : delay(pts.values(), track?.heldBack ?? 0, head.duration);
  const timestamps = pts.values().map((ticks) => seconds(restamped.get(ticks) ?? ticks));
  return {
    count,
    timestamps,
    pts: pts.values(),
    dts: dts.values(),
    restamped,
    sizes: sizes.values(),
    bytes,
    keys: keys.values(),
    hidden: hidden.values(),
    start: Number.isFinite(start) ? start : 0,
    end,
    brokenOff,
  };
}

/**
 * Some muxers stamp MPEG-4 frames in the order in which they are decoded. Players show a frame that is not bidirectional
 * when the next one is decoded. The first is shown at once if the container says when it is shown.
 * @returns the ticks at which such frames are shown, by their stamps; empty where the stamps are right
 */
function restamp(
  pts: Float64Array,
  bidirectional: Uint8Array,
  { firstIsLate, lastDuration }: { readonly firstIsLate: boolean; readonly lastDuration: number },
): ReadonlyMap<number, number> {
  const shown = new Map<number, number>();
  const first = bidirectional.indexOf(1);
  // With right stamps it is shown before the frame that is decoded before it.
  if (first < 1 || pts[first]! <= pts[first - 1]!) return shown;
  let waiting = 0;
  for (let at = 1; at < pts.length; at++) {
    if (bidirectional[at]) continue;
    if (waiting > 0 || firstIsLate) shown.set(pts[waiting]!, pts[at]!);
    waiting = at;
  }
  return shown.set(pts[waiting]!, pts.at(-1)! + lastDuration);
}

/**
 * Where packets are only counted, frames are stamped in the order in which they are shown, from the first packet's count
 * on. Each is shown when the decoder returns it.
 * @param heldBack frames that the decoder holds back
 * @returns the ticks at which frames are shown, by their stamps
 */
function delay(stamps: Float64Array, heldBack: number, duration: number): ReadonlyMap<number, number> {
  const shown = new Map<number, number>();
  if (heldBack === 0) return shown;
  const last = stamps.length - 1;
  for (const [at, stamp] of stamps.entries()) {
    const later = at + heldBack;
    shown.set(stamp, stamps[Math.min(later, last)]! + Math.max(0, later - last) * duration);
  }
  return shown;
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
