import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { AvError } from '../../../native/av/av-error.ts';
import { type Container, type Demuxer, type MediaSource, openDemuxer } from '../../../native/av/demuxer.ts';
import type { VideoCodec, VideoTrack } from '../../../native/av/track.ts';
import { recogniseVideo, SNIFFED_BYTES } from '../sniff.ts';
import { type PacketIndex, readPacketIndex } from './packet-index.ts';
import {
  brokenVideo,
  emptyVideo,
  notAVideo,
  noVideoTrack,
  tooLong,
  tooManyPackets,
  tooManyPixels,
  unsupportedCodec,
} from './video-errors.ts';

/** A video file whose packets have been indexed. */
export interface VideoFile {
  readonly source: MediaSource;
  /** Its length. */
  readonly bytes: number;
  readonly codec: VideoCodec;
  readonly track: VideoTrack;
  readonly index: PacketIndex;
  /** Faults of the file, as sentences for a person. */
  readonly warnings: readonly string[];
}

/** HEVC's largest level: 8K. A frame of 10 bits needs 107 MB. */
export const MAX_PIXELS = 8192 * 4352;
/** Four hours at 240 frames a second. The index needs 30 bytes a packet. */
const MAX_PACKETS = 3_500_000;
/** A frame that repeats the one before has 5 to 13 bytes, and 4 more in the container's tables. */
const PACKETS_PER_BYTE = 1 / 2;
/** Allowed besides: damaged files of a few KB name empty packets. */
const FREE_PACKETS = 10_000;
/** An edit list may show frames several times. Hostile tables name the same bytes again and again. */
const MAX_READ = { times: 4, bytes: 16 * 1024 ** 2 };
/** A file that ends earlier than its container says, by more than this, has been cut short. */
const MISSING_SECONDS = 1;

/**
 * Recognises a file and reads the heads of all its packets.
 * @param maximumSeconds it may last
 * @param onIndexed called now and then with the seconds that have been indexed
 * @throws ServiceError video_unsupported, video_too_large, video_broken
 */
export async function lookIntoFile(
  path: string,
  maximumSeconds: number,
  onIndexed: (seconds: number) => Promise<void>,
): Promise<VideoFile> {
  const { container, bytes } = sniff(path);
  const source = { path, container, bytes, ignoreEdits: false };
  const file = await look(source, maximumSeconds, onIndexed);
  // An edit list of length 0 hides everything. Some muxers write one for a single frame.
  const allHidden = file.index.hidden.indexOf(0) < 0;
  return allHidden ? await look({ ...source, ignoreEdits: true }, maximumSeconds, onIndexed) : file;
}

function sniff(path: string): { container: Container; bytes: number } {
  const beginning = new Uint8Array(SNIFFED_BYTES);
  const descriptor = openSync(path, 'r');
  try {
    const count = readSync(descriptor, beginning);
    if (count === 0) throw emptyVideo();
    const sniffed = recogniseVideo(beginning.subarray(0, count));
    if ('other' in sniffed) throw notAVideo(sniffed.other);
    return { container: sniffed.container, bytes: fstatSync(descriptor).size };
  } finally {
    closeSync(descriptor);
  }
}

async function look(
  source: MediaSource & { readonly bytes: number },
  maximumSeconds: number,
  onIndexed: (seconds: number) => Promise<void>,
): Promise<VideoFile> {
  using demuxer = open(source);
  const { track } = demuxer;
  if (!track) throw noVideoTrack();
  if (!track.codec) throw unsupportedCodec(track.codecName);
  const { width, height } = track.codedSize;
  if (width * height > MAX_PIXELS) throw tooManyPixels(track.codedSize, MAX_PIXELS);

  const { bytes } = source;
  const packets = Math.min(MAX_PACKETS, Math.round(FREE_PACKETS + bytes * PACKETS_PER_BYTE));
  const limits = {
    seconds: maximumSeconds,
    packets,
    bytes: MAX_READ.bytes + MAX_READ.times * bytes,
  };
  const index = await readPacketIndex(demuxer, track.secondsPerTick, limits, onIndexed);
  if (index.end > maximumSeconds) throw tooLong(maximumSeconds);
  if (index.count > MAX_PACKETS) throw tooManyPackets(MAX_PACKETS);
  if (index.count > packets || index.bytes > limits.bytes) {
    throw brokenVideo('is damaged: it names more frames than its bytes can hold');
  }
  if (index.count === 0) throw brokenVideo('has no frames');
  return { source, bytes, codec: track.codec, track, index, warnings: endWarnings(index, demuxer) };
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

function endWarnings(index: PacketIndex, { declaredDuration }: Demuxer): string[] {
  if (!index.brokenOff && declaredDuration - index.end <= MISSING_SECONDS) return [];
  const declared = declaredDuration > index.end ? ` of ${declaredDuration.toFixed(1)}` : '';
  return [
    `The video's data end after ${index.end.toFixed(1)}${declared} seconds; what comes later is missing.`,
  ];
}
