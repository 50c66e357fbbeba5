import {
  AV_FRAME_FLAG_CORRUPT,
  AV_NOPTS_VALUE,
  AV_PKT_FLAG_CORRUPT,
  AVCOL_RANGE_JPEG,
  AVCOL_RANGE_MPEG,
  AVCOL_RANGE_UNSPECIFIED,
  AVCOL_SPC_BT470BG,
  AVCOL_SPC_BT709,
  AVCOL_SPC_BT2020_NCL,
  AVCOL_SPC_FCC,
  AVCOL_SPC_RGB,
  AVCOL_SPC_SMPTE170M,
  AVCOL_SPC_SMPTE240M,
  AVCOL_SPC_UNSPECIFIED,
  AVCOL_TRC_UNSPECIFIED,
  type AVColorSpace,
  AVERROR_ENOMEM,
  type AVPixelFormat,
  FF_DECODER_H264,
  FF_DECODER_HEVC,
  FF_DECODER_LIBDAV1D,
  FF_DECODER_MJPEG,
  FF_DECODER_MPEG4,
  FF_DECODER_VP8,
  FF_DECODER_VP9,
  FF_THREAD_SLICE,
  type FFVideoDecoder,
} from 'node-av/constants';
import { avGetPixFmtName, Codec, CodecContext, type CodecParameters, Frame } from 'node-av/lib';
import type { Rectangle, Size } from '../geometry.ts';
import { AvError, check, isNothing } from './av-error.ts';
import type { Demuxer, VideoCodec, VideoTrack } from './demuxer.ts';

/** A decoded picture in libav's memory, valid until the decoder's next one. Its size is that of the part that is shown. */
export interface DecodedFrame extends Size {
  /** Presentation time in the track's ticks; undefined where unknown. */
  readonly pts: number | undefined;
  /** Parts were damaged; libav has filled them in. */
  readonly damaged: boolean;
  /** The part of `native` that is shown; undefined: all of it. */
  readonly part: Rectangle | undefined;
  /** For the filters in this folder. */
  readonly native: Frame;
}

/** A decoded picture that stays valid: it keeps one of the decoder's buffers from being reused. */
export interface HeldFrame extends DecodedFrame, Disposable {}

export function holdFrame(frame: DecodedFrame): HeldFrame {
  const native = frame.native.clone();
  if (!native) throw new AvError('hold a frame', AVERROR_ENOMEM);
  return { ...frame, native, [Symbol.dispose]: () => native.free() };
}

/** Frames that a decoder leaves out: none, those without dependents, or all but keyframes. */
type Skip = 'nothing' | 'nonreference' | 'nonkey';

export interface DecoderOptions {
  readonly skip: Skip;
  /**
   * Each packet is decoded alone, out of context. Otherwise HEVC's keyframes are returned in a wrong order, because their
   * order depends on frames that were left out.
   */
  readonly alone?: boolean;
  /** Each thread holds a few more frames; they speed up a single packet only if its encoder planned it. */
  readonly threads: number;
  /** A larger frame anywhere in the stream is not decoded, and no memory is allocated for it. */
  readonly maximumPixels: number;
}

export interface Decoder extends Disposable {
  /** Packets and frames so far that could not be decoded. */
  readonly failures: number;
  /**
   * Pixels so far. Every packet counts as a frame of the stream's current size, whether it yields a frame or not. The
   * stream's size may differ from the container's.
   */
  readonly pixels: number;
  /**
   * Decodes a demuxer's current packet.
   * @returns frames that are ready now, each valid until the next one is requested
   * @throws AvError out of memory; damaged data only count as failures
   */
  decode(demuxer: Demuxer): Generator<DecodedFrame>;
  /** The frames still in the decoder, after the last packet. */
  flush(): Generator<DecodedFrame>;
  /** Forgets all frames. The next packet must be a keyframe, from anywhere in the file. */
  reset(): void;
}

/** The most failures for one packet. A decoder that keeps failing would never end. */
const MAX_FAULTS = 100;

/**
 * Decodes the file's first packet with a new decoder. Encoders write their names there, and decoders work around the
 * faults of some versions: without it, H.264 in 4:4:4 of old x264 versions is decoded to garbage.
 * @param demuxer at its beginning; that packet is its current one afterwards
 */
export function introduceEncoder(demuxer: Demuxer, decoder: Decoder): void {
  if (!demuxer.next()) return;
  for (const _ of decoder.decode(demuxer));
  decoder.reset();
}

/** By name: an id alone may choose a hardware decoder. */
const decoderNames: Readonly<Record<VideoCodec, FFVideoDecoder>> = {
  h264: FF_DECODER_H264,
  hevc: FF_DECODER_HEVC,
  av1: FF_DECODER_LIBDAV1D,
  vp9: FF_DECODER_VP9,
  vp8: FF_DECODER_VP8,
  mpeg4: FF_DECODER_MPEG4,
  mjpeg: FF_DECODER_MJPEG,
};

const skipOptions: Readonly<Record<Skip, string>> = {
  nothing: 'default',
  nonreference: 'noref',
  nonkey: 'nokey',
};

/**
 * A decoder for a demuxer's track.
 *
 * Options are set one by one, because node-av frees a dictionary of them twice.
 * @throws AvError
 */
export function createDecoder(demuxer: Demuxer, codec: VideoCodec, options: DecoderOptions): Decoder {
  const { stream } = demuxer.native;
  const track = demuxer.track!;
  const declared = declaredColours(stream.codecpar);
  const implementation = Codec.findDecoderByName(decoderNames[codec]);
  if (!implementation) throw new Error(`libav was built without ${decoderNames[codec]}`);
  const context = new CodecContext();
  const frame = new Frame();
  let failures = 0;
  let pixels = 0;
  /** Decoding times of packets without presentation times, ascending. Frames come out in the order they are shown in. */
  let stamps: bigint[] = [];
  try {
    context.allocContext3(implementation);
    check(context.parametersToContext(stream.codecpar), 'take the parameters');
    context.pktTimebase = stream.timeBase;
    context.threadCount = options.threads;
    if (options.alone) context.threadType = FF_THREAD_SLICE;
    check(context.setOption('skip_frame', skipOptions[options.skip]), 'skip frames');
    check(context.setOption('max_pixels', String(options.maximumPixels)), 'limit the pixels');
    check(context.open2Sync(implementation), `open the ${codec} decoder`);
    frame.alloc();
  } catch (fault) {
    frame.free();
    context.freeContext();
    throw fault;
  }

  /** Counts damage; throws any other error. */
  const fail = (code: number): void => {
    const fault = new AvError('decode', code);
    if (fault.isOutOfMemory) throw fault;
    failures++;
  };

  function* receive(): Generator<DecodedFrame> {
    for (let faults = 0; faults < MAX_FAULTS; ) {
      const code = context.receiveFrameSync(frame);
      if (isNothing(code)) return;
      if (code >= 0) {
        settleColours(frame, declared);
        if (frame.pts === AV_NOPTS_VALUE) frame.pts = stamps.shift() ?? AV_NOPTS_VALUE;
        yield describeFrame(frame, track);
      } else {
        fail(code);
        faults++;
      }
    }
  }

  return {
    get failures() {
      return failures;
    },
    get pixels() {
      return pixels;
    },
    *decode({ native: { packet } }) {
      // Other decoders notice what is missing. This one leaves it green.
      if (codec === 'mjpeg' && (packet.flags & AV_PKT_FLAG_CORRUPT) !== 0) {
        failures++;
        return;
      }
      if (packet.pts === AV_NOPTS_VALUE && packet.dts !== AV_NOPTS_VALUE) stamps.push(packet.dts);
      let code = context.sendPacketSync(packet);
      if (isNothing(code)) {
        // The decoder is full: read its frames first.
        yield* receive();
        code = context.sendPacketSync(packet);
      }
      if (code < 0) fail(code);
      if (options.alone) context.sendPacketSync(null);
      pixels += context.width * context.height;
      yield* receive();
      if (options.alone) context.flushBuffers();
    },
    *flush() {
      context.sendPacketSync(null);
      yield* receive();
    },
    reset() {
      context.flushBuffers();
      stamps = [];
    },
    [Symbol.dispose]() {
      frame.free();
      context.freeContext();
    },
  };
}

/** The matrices that the scaler knows. Any other matrix is replaced as if it were unspecified. */
export const knownMatrices: ReadonlySet<AVColorSpace> = new Set([
  AVCOL_SPC_BT709,
  AVCOL_SPC_FCC,
  AVCOL_SPC_BT470BG,
  AVCOL_SPC_SMPTE170M,
  AVCOL_SPC_SMPTE240M,
  AVCOL_SPC_BT2020_NCL,
]);

/** Players guess in the same way: standard definition has up to 576 lines of up to 1279 pixels. */
const HIGH_DEFINITION = { width: 1280, height: 577 };

function describeFrame(frame: Frame, { codedSize, shownPart }: VideoTrack): DecodedFrame {
  // A stream may change its size; the container describes the first one.
  const isWhole =
    frame.width !== codedSize.width ||
    frame.height !== codedSize.height ||
    (shownPart.width === frame.width && shownPart.height === frame.height);
  const part = isWhole ? undefined : shownPart;
  // libav's best effort is a guess between presentation and decoding times, and wrong if packets were left out.
  const pts = frame.pts === AV_NOPTS_VALUE ? frame.bestEffortTimestamp : frame.pts;
  return {
    pts: pts === AV_NOPTS_VALUE ? undefined : Number(pts),
    width: part?.width ?? frame.width,
    height: part?.height ?? frame.height,
    part,
    damaged: frame.decodeErrorFlags !== 0 || frame.hasFlags(AV_FRAME_FLAG_CORRUPT),
    native: frame,
  };
}

type Colours = Pick<CodecParameters, 'colorSpace' | 'colorRange' | 'colorTrc'>;

/** Reads all fields at once: a track's memory is freed with its file. */
function declaredColours({ colorSpace, colorRange, colorTrc }: Colours): Colours {
  return { colorSpace, colorRange, colorTrc };
}

/** Sets the colours that the stream leaves unspecified: as the container declares them, else as players guess. */
function settleColours(frame: Frame, declared: Colours): void {
  const format = avGetPixFmtName(frame.format as AVPixelFormat) ?? '';
  if (format.startsWith('gbr') || format.startsWith('rgb')) {
    frame.colorSpace = AVCOL_SPC_RGB;
    frame.colorRange = AVCOL_RANGE_JPEG;
    return;
  }
  if (frame.colorTrc === AVCOL_TRC_UNSPECIFIED) frame.colorTrc = declared.colorTrc;
  if (frame.colorRange === AVCOL_RANGE_UNSPECIFIED) frame.colorRange = declared.colorRange;
  if (frame.colorSpace === AVCOL_SPC_UNSPECIFIED) frame.colorSpace = declared.colorSpace;
  if (!knownMatrices.has(frame.colorSpace)) {
    const high = frame.width >= HIGH_DEFINITION.width || frame.height >= HIGH_DEFINITION.height;
    frame.colorSpace = high ? AVCOL_SPC_BT709 : AVCOL_SPC_SMPTE170M;
  }
  if (frame.colorRange === AVCOL_RANGE_UNSPECIFIED) {
    frame.colorRange = format.startsWith('yuvj') ? AVCOL_RANGE_JPEG : AVCOL_RANGE_MPEG;
  }
}
