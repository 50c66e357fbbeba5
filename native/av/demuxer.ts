import {
  AV_CODEC_ID_AV1,
  AV_CODEC_ID_H264,
  AV_CODEC_ID_HEVC,
  AV_CODEC_ID_MJPEG,
  AV_CODEC_ID_MPEG4,
  AV_CODEC_ID_NONE,
  AV_CODEC_ID_VP8,
  AV_CODEC_ID_VP9,
  AV_DISPOSITION_ATTACHED_PIC,
  AV_DISPOSITION_DEFAULT,
  AV_DISPOSITION_STILL_IMAGE,
  AV_DISPOSITION_TIMED_THUMBNAILS,
  AV_LOG_QUIET,
  AV_NOPTS_VALUE,
  AV_PKT_DATA_DISPLAYMATRIX,
  AV_PKT_DATA_ENCRYPTION_INFO,
  AV_PKT_DATA_FRAME_CROPPING,
  AV_PKT_FLAG_DISCARD,
  type AVCodecID,
  AVDISCARD_ALL,
  AVDISCARD_DEFAULT,
  AVDISCARD_NONKEY,
  AVERROR_EOF,
  AVMEDIA_TYPE_AUDIO,
  AVMEDIA_TYPE_DATA,
  AVMEDIA_TYPE_VIDEO,
  type AVPixelFormat,
  AVSEEK_FLAG_BACKWARD,
} from 'node-av/constants';
import {
  avGetCodecName,
  avImageGetBufferSize,
  BitStreamFilter,
  BitStreamFilterContext,
  type CodecParameters,
  Dictionary,
  FormatContext,
  InputFormat,
  Log,
  Packet,
  type Stream,
} from 'node-av/lib';
import type { Rectangle, Size } from '../geometry.ts';
import { AvError, check, isNothing } from './av-error.ts';
import { type Orientation, orientationOf, upright } from './orientation.ts';

let quiet = false;

/** Silences libav, which writes warnings about a file to standard error. Its calls return errors anyway. */
function quietLibrary(): void {
  if (quiet) return;
  Log.setLevel(AV_LOG_QUIET);
  quiet = true;
}

/** The containers whose demuxers may read untrusted bytes, by libav's names. */
export type Container = 'mov' | 'matroska' | 'avi' | 'mpegts';

/** The codecs whose decoders may read untrusted bytes. */
export type VideoCodec = 'h264' | 'hevc' | 'av1' | 'vp9' | 'vp8' | 'mpeg4' | 'mjpeg';

/** A video track as its container describes it. */
export interface VideoTrack {
  /** Undefined: another codec. */
  readonly codec: VideoCodec | undefined;
  /** libav's name of the codec, or the container's four letters for it; undefined if neither is known. */
  readonly codecName: string | undefined;
  /** Pixels as coded. */
  readonly codedSize: Size;
  /** How many frames the decoder holds back to put them in the order in which they are shown. */
  readonly heldBack: number;
  /** Memory of a decoded frame. */
  readonly frameBytes: number;
  /** The part of a coded frame that is shown. */
  readonly shownPart: Rectangle;
  /** Pixels as shown: square, upright. */
  readonly shownSize: Size;
  /** Width of a pixel over its height. */
  readonly pixelAspect: number;
  readonly orientation: Orientation;
  /** Seconds a tick of the track's timestamps takes. */
  readonly secondsPerTick: number;
  /** Frames a second on average; undefined if the container does not say. */
  readonly frameRate: number | undefined;
}

/** A packet of the video track, without its data. Times are in the track's ticks. */
export interface PacketHead {
  /** Presentation time; the decoding time if the container has no presentation time. */
  pts: number;
  /** Decoding time; the presentation time if the container has no decoding time. */
  dts: number;
  /** 0 if the container does not say. */
  duration: number;
  /** Bytes. */
  size: number;
  /** Can be decoded without any other packet, as the container says and its data do not contradict. */
  key: boolean;
  /** An edit list keeps it from being shown. */
  hidden: boolean;
  /** MPEG-4 only: shown before the frame that is decoded before it. */
  bidirectional: boolean;
}

/** The packets of a file's best video track, one after another. */
export interface Demuxer extends Disposable {
  /** Undefined: the file has no video track. */
  readonly track: VideoTrack | undefined;
  /** The time that identifies a packet, however the demuxer reached it. */
  readonly identity: 'pts' | 'dts';
  /** AVI counts the frames instead, in the order of decoding. */
  readonly hasPresentationTimes: boolean;
  /** The earliest start of all tracks, in seconds on the tracks' own clock. Players begin to count there. */
  readonly startTime: number;
  /** How long the container says the track lasts, in seconds; 0 where it does not say. */
  readonly declaredDuration: number;
  /** The current packet's head; before the first one its times are NaN. */
  readonly head: Readonly<PacketHead>;
  /** The current packet, or the whole track, cannot be decoded without a key. */
  readonly isEncrypted: boolean;
  /**
   * Moves to the track's next packet.
   * @returns false after the last packet
   * @throws AvError
   */
  next(): boolean;
  /**
   * Seeks to a keyframe's packet. The following `next` moves to it, or to a packet before it.
   * @returns false: the container finds no keyframe there
   */
  seek(keyframe: Pick<PacketHead, 'pts' | 'dts'>): boolean;
  /**
   * Lets `next` skip everything but keyframes, if possible without reading it from disk. Presentation times are then
   * wrong, because the mov demuxer does not count the offsets that it skips.
   */
  keyframesOnly(): void;
  /** Corrects the current packet's presentation time, in ticks. */
  setPts(pts: number): void;
  /** For the decoder in this folder: libav's packet and track. */
  readonly native: { readonly packet: Packet; readonly stream: Stream };
}

/** Allows only these components of libav. Nothing that a file refers to outside itself is opened. */
const options = {
  format_whitelist: 'mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts',
  codec_whitelist: 'h264,hevc,libdav1d,vp9,vp8,mpeg4,mjpeg',
  protocol_whitelist: 'file',
};
/** To read a file only up to some byte. */
const partOptions = { protocol_whitelist: 'subfile,file' };
const movOptions = { enable_drefs: '0', use_absolute_path: '0' };

/** A local file, and how to read it. */
export interface MediaSource {
  readonly path: string;
  readonly container: Container;
  /** Bytes from here on are not read; left out: all are. */
  readonly end?: number | undefined;
  /** Show also the frames that the container's edit lists hide. */
  readonly ignoreEdits: boolean;
}

/** @throws AvError */
export function openDemuxer({ path, container, end, ignoreEdits }: MediaSource): Demuxer {
  quietLibrary();
  const context = new FormatContext();
  const packet = new Packet();
  const unpacker = new BitStreamFilterContext();
  const free = () => {
    unpacker.free();
    packet.free();
    context.closeInputSync();
  };
  try {
    packet.alloc();
    using dictionary = Dictionary.fromObject({
      ...options,
      ...(end === undefined ? {} : partOptions),
      ...(container === 'mov' ? { ...movOptions, ignore_editlist: ignoreEdits ? '1' : '0' } : {}),
    });
    // The scheme keeps a colon in the path from being read as a protocol.
    const file = `file:${path}`;
    const url = end === undefined ? file : `subfile,,start,0,end,${end},,:${file}`;
    check(context.openInputSync(url, InputFormat.findInputFormat(container), dictionary), 'open');
    const streams = context.streams;
    // Sound stays until here: where it begins before the picture, the file's time begins with it.
    for (const stream of streams) {
      if (!isVideo(stream) && !mayBeSound(stream, container)) stream.discard = AVDISCARD_ALL;
    }
    check(context.findStreamInfoSync(), 'read the streams');
    const video = bestVideo(context.streams);
    for (const stream of context.streams) {
      stream.discard = stream.index === video?.index ? AVDISCARD_DEFAULT : AVDISCARD_ALL;
    }
    const isPacked = video?.codecpar.codecId === AV_CODEC_ID_MPEG4;
    if (isPacked) prepare(unpacker, video);
    return createDemuxer({
      context,
      packet,
      stream: video,
      container,
      unpacker: isPacked ? unpacker : undefined,
      free,
    });
  } catch (fault) {
    free();
    throw fault;
  }
}

/** Some encoders pack a frame and the bidirectional one before it into one packet, and follow it by an empty one. */
function prepare(unpacker: BitStreamFilterContext, { codecpar, timeBase }: Stream): void {
  const filter = BitStreamFilter.getByName('mpeg4_unpack_bframes');
  if (!filter) throw new Error('libav was built without mpeg4_unpack_bframes');
  check(unpacker.alloc(filter), 'make a filter');
  if (unpacker.inputCodecParameters)
    check(codecpar.copy(unpacker.inputCodecParameters), 'take the parameters');
  unpacker.inputTimeBase = timeBase;
  check(unpacker.init(), 'begin to unpack');
}

interface OpenFile {
  readonly context: FormatContext;
  readonly packet: Packet;
  /** The video track, if the file has one. */
  readonly stream: Stream | undefined;
  readonly container: Container;
  /** MPEG-4 only: makes each packet one frame. */
  readonly unpacker: BitStreamFilterContext | undefined;
  readonly free: () => void;
}

function createDemuxer({ context, packet, stream, container, unpacker, free }: OpenFile): Demuxer {
  const track = stream && describeTrack(stream);
  const head: PacketHead = {
    pts: Number.NaN,
    dts: Number.NaN,
    duration: 0,
    size: 0,
    key: false,
    hidden: false,
    bidirectional: false,
  };
  const readHead = () => {
    const { pts, dts } = packet;
    head.pts = Number(pts === AV_NOPTS_VALUE ? (dts === AV_NOPTS_VALUE ? 0n : dts) : pts);
    head.dts = Number(dts === AV_NOPTS_VALUE ? BigInt(head.pts) : dts);
    head.duration = Number(packet.duration);
    head.size = packet.size;
    head.key = packet.isKeyframe;
    head.hidden = (packet.flags & AV_PKT_FLAG_DISCARD) !== 0;
    if (track?.codec === 'hevc' && head.key) head.key = !isDependent(packet, nalSizeBytes);
    if (track?.codec !== 'mpeg4') return;
    const type = frameTypeOf(packet);
    head.bidirectional = type === BIDIRECTIONAL;
    head.key &&= type === INTRA || type === undefined;
    // Otherwise the decoder invents a time.
    if (pts === AV_NOPTS_VALUE) packet.pts = dts;
  };
  /** @returns false: the packet's frame comes with the next packet */
  const unpack = (): boolean => {
    if (!unpacker) return true;
    if (stream?.discard === AVDISCARD_NONKEY) unpacker.flush();
    check(unpacker.sendPacketSync(packet), 'unpack a packet');
    const code = unpacker.receivePacketSync(packet);
    if (!isNothing(code)) check(code, 'unpack a packet');
    return code >= 0;
  };
  const encryptedTrack = stream !== undefined && isEncrypted(stream);
  const nalSizeBytes = nalSizeBytesOf(stream?.codecpar.extradata);
  const startTime = context.startTime;
  return {
    track,
    // Matroska files have no decoding times: libav derives them from earlier packets.
    identity: container === 'matroska' ? 'pts' : 'dts',
    hasPresentationTimes: container !== 'avi',
    startTime: startTime === AV_NOPTS_VALUE ? 0 : Number(startTime) / 1e6,
    declaredDuration: declaredDuration(stream, container),
    head,
    get isEncrypted() {
      return encryptedTrack || packet.getSideData(AV_PKT_DATA_ENCRYPTION_INFO) !== null;
    },
    next() {
      if (!stream) return false;
      for (;;) {
        packet.unref();
        const code = context.readFrameSync(packet);
        if (code === AVERROR_EOF) return false;
        if (code < 0) throw new AvError('read a packet', code);
        if (packet.streamIndex !== stream.index || !unpack()) continue;
        readHead();
        return true;
      }
    },
    seek({ pts, dts }) {
      unpacker?.flush();
      // The mov demuxer searches decoding times, the matroska demuxer presentation times.
      return [Math.min(pts, dts), Math.max(pts, dts)].some(
        (ticks) => stream && context.seekFrameSync(stream.index, BigInt(ticks), AVSEEK_FLAG_BACKWARD) >= 0,
      );
    },
    keyframesOnly() {
      if (stream) stream.discard = AVDISCARD_NONKEY;
    },
    setPts(pts) {
      packet.pts = BigInt(pts);
      head.pts = pts;
    },
    get native() {
      if (!stream) throw new Error('This is a bug: a file without a video track has no packets.');
      return { packet, stream };
    },
    [Symbol.dispose]: free,
  };
}

/** Where an MPEG-4 frame begins, and its types, in the first two bits after that. */
const FRAME_START = Buffer.from([0, 0, 1, 0xb6]);
const INTRA = 0;
const BIDIRECTIONAL = 2;
/** Headers before a frame are shorter. */
const HEADER_BYTES = 1024;

/** @returns undefined: no frame begins where it should */
function frameTypeOf({ data }: Packet): number | undefined {
  const beginning = data?.subarray(0, HEADER_BYTES);
  const at = beginning?.indexOf(FRAME_START) ?? -1;
  const byte = at < 0 ? undefined : beginning?.[at + FRAME_START.length];
  return byte === undefined ? undefined : byte >> 6;
}

/** HEVC's units of lower types belong to pictures. */
const PICTURE_TYPES_END = 32;
/** Those of pictures that can be decoded alone. */
const ALONE_TYPES = { first: 16, end: 24 };
/** An `hvcC` box; its 22nd byte says how many bytes the size of a unit has. */
const HVCC_SIZE_AT = 21;

/** @returns undefined: the packets' units have no sizes */
function nalSizeBytesOf(extradata: Uint8Array | null | undefined): number | undefined {
  return extradata?.[0] === 1 && extradata.length > HVCC_SIZE_AT
    ? (extradata[HVCC_SIZE_AT]! & 3) + 1
    : undefined;
}

/** Some muxers mark every HEVC packet as a keyframe. libav corrects them in the other codecs. */
function isDependent({ data }: Packet, sizeBytes: number | undefined): boolean {
  if (!data || sizeBytes === undefined) return false;
  for (let at = 0; at + sizeBytes < data.length; ) {
    const type = (data[at + sizeBytes]! >> 1) & 0x3f;
    if (type < PICTURE_TYPES_END) return type < ALONE_TYPES.first || type >= ALONE_TYPES.end;
    at += sizeBytes + data.readUIntBE(at, sizeBytes);
  }
  return false;
}

function declaredDuration(stream: Stream | undefined, container: Container): number {
  if (!stream || stream.duration === AV_NOPTS_VALUE) return 0;
  const { num, den } = stream.timeBase;
  // The avi demuxer shortens the duration to the data; a tick is a frame.
  const ticks = container === 'avi' ? stream.nbFrames : stream.duration;
  return (Number(ticks) * num) / den;
}

/** In MPEG-TS, only its data may tell what a track is. */
function mayBeSound({ codecpar }: Stream, container: Container): boolean {
  const type = codecpar.codecType;
  return type === AVMEDIA_TYPE_AUDIO || (container === 'mpegts' && type === AVMEDIA_TYPE_DATA);
}

function isVideo(stream: Stream): boolean {
  // Cover pictures are video streams of one picture.
  return (
    stream.codecpar.codecType === AVMEDIA_TYPE_VIDEO && !stream.hasDisposition(AV_DISPOSITION_ATTACHED_PIC)
  );
}

/** Sample entries of encrypted tracks: Common Encryption, and iTunes. */
const encryptedTags: ReadonlySet<string> = new Set(['encv', 'drmi']);

function isEncrypted({ codecpar, metadata }: Stream): boolean {
  // The matroska demuxer stores the id of the key there.
  return encryptedTags.has(fourLetters(codecpar.codecTag)) || metadata?.get('enc_key_id') != null;
}

/** What a player would show comes first, each number only where those before it are equal. */
function preference(stream: Stream): readonly number[] {
  const { width, height } = stream.codecpar;
  return [
    codecIds.has(stream.codecpar.codecId) ? 1 : 0,
    // The mov demuxer sets it for enabled tracks.
    stream.hasDisposition(AV_DISPOSITION_DEFAULT) ? 1 : 0,
    isStill(stream) ? 0 : 1,
    width * height,
  ];
}

/** Photos with motion keep the photo in a track of its own, preview pictures likewise. */
function isStill(stream: Stream): boolean {
  return (
    stream.nbFrames === 1n ||
    stream.hasDisposition(AV_DISPOSITION_STILL_IMAGE) ||
    stream.hasDisposition(AV_DISPOSITION_TIMED_THUMBNAILS)
  );
}

function bestVideo(streams: readonly Stream[]): Stream | undefined {
  const candidates = streams.filter(isVideo).map((stream) => ({ stream, values: preference(stream) }));
  const compare = (a: readonly number[], b: readonly number[]) => {
    const at = a.findIndex((value, order) => value !== b[order]);
    return at < 0 ? 0 : b[at]! - a[at]!;
  };
  return candidates.sort((a, b) => compare(a.values, b.values))[0]?.stream;
}

const codecIds: ReadonlyMap<AVCodecID, VideoCodec> = new Map([
  [AV_CODEC_ID_H264, 'h264'],
  [AV_CODEC_ID_HEVC, 'hevc'],
  [AV_CODEC_ID_AV1, 'av1'],
  [AV_CODEC_ID_VP9, 'vp9'],
  [AV_CODEC_ID_VP8, 'vp8'],
  [AV_CODEC_ID_MPEG4, 'mpeg4'],
  [AV_CODEC_ID_MJPEG, 'mjpeg'],
]);

/** Players ignore a larger aspect ratio of a pixel. */
const MAX_PIXEL_ASPECT = 10;

/** Reads all fields at once: a stream's memory is freed with its file. */
function describeTrack(stream: Stream): VideoTrack {
  const { codecpar } = stream;
  const codedSize = { width: codecpar.width, height: codecpar.height };
  const shownPart = uncropped(codedSize, codecpar.getCodedSideData(AV_PKT_DATA_FRAME_CROPPING));
  const matrix = codecpar.getCodedSideData(AV_PKT_DATA_DISPLAYMATRIX);
  const orientation = matrix ? orientationOf(matrix) : upright;
  const aspects = [stream.sampleAspectRatio, codecpar.sampleAspectRatio].map(({ num, den }) => num / den);
  const pixelAspect =
    aspects.find((aspect) => aspect >= 1 / MAX_PIXEL_ASPECT && aspect <= MAX_PIXEL_ASPECT) ?? 1;
  const frameRates = [stream.avgFrameRate, stream.rFrameRate].map(({ num, den }) => num / den);
  return {
    codec: codecIds.get(codecpar.codecId),
    codecName: codecName(codecpar),
    codedSize,
    heldBack: codecpar.videoDelay,
    frameBytes: frameBytes(codecpar),
    shownPart,
    shownSize: shownSize(shownPart, pixelAspect, orientation),
    pixelAspect,
    orientation,
    secondsPerTick: stream.timeBase.num / stream.timeBase.den,
    frameRate: frameRates.find((rate) => rate > 0 && rate < 100_000),
  };
}

/** Colours at full size, with 16 bits. */
const MAX_BYTES_PER_PIXEL = 6;
/** Rows of pixels begin at multiples of it. */
const ROW_ALIGNMENT = 64;

function frameBytes({ format, width, height }: CodecParameters): number {
  const bytes = avImageGetBufferSize(format as AVPixelFormat, width, height, ROW_ALIGNMENT);
  return bytes > 0 ? bytes : MAX_BYTES_PER_PIXEL * width * height;
}

function codecName({ codecId, codecTag }: CodecParameters): string | undefined {
  if (codecId !== AV_CODEC_ID_NONE) return avGetCodecName(codecId) ?? undefined;
  const letters = fourLetters(codecTag);
  return /^[\x20-\x7e]{4}$/.test(letters) ? letters.trimEnd() : undefined;
}

function fourLetters(tag: number): string {
  return String.fromCharCode(...[0, 8, 16, 24].map((bits) => (tag >>> bits) & 0xff));
}

/** @param cropping pixels that are cut off at the top, bottom, left and right, as little-endian 32-bit numbers */
function uncropped({ width, height }: Size, cropping: Uint8Array | null): Rectangle {
  const whole = { left: 0, top: 0, width, height };
  if (!cropping || cropping.byteLength < 16) return whole;
  const view = new DataView(cropping.buffer, cropping.byteOffset);
  const [top, bottom, left, right] = [0, 4, 8, 12].map((at) => view.getUint32(at, true)) as Edges;
  if (left + right >= width || top + bottom >= height) return whole;
  return { left, top, width: width - left - right, height: height - top - bottom };
}

type Edges = [top: number, bottom: number, left: number, right: number];

/** The size with square pixels. The shorter side is stretched, so no detail is lost. */
export function squareSize({ width, height }: Size, pixelAspect: number): Size {
  return pixelAspect >= 1
    ? { width: Math.round(width * pixelAspect), height }
    : { width, height: Math.round(height / pixelAspect) };
}

function shownSize(part: Size, pixelAspect: number, { turns }: Orientation): Size {
  const { width, height } = squareSize(part, pixelAspect);
  return turns % 2 === 0 ? { width, height } : { width: height, height: width };
}
