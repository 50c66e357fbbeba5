import {
  AV_PIX_FMT_GBRP,
  AV_PIX_FMT_GBRP10LE,
  AV_PIX_FMT_GBRP12LE,
  AV_PIX_FMT_YUV444P,
  AV_PIX_FMT_YUV444P10LE,
  AV_PIX_FMT_YUV444P12LE,
  AV_PIX_FMT_YUVJ444P,
  AVCOL_RANGE_JPEG,
  AVCOL_RANGE_MPEG,
  AVCOL_RANGE_UNSPECIFIED,
  AVCOL_SPC_RGB,
  AVCOL_SPC_SMPTE170M,
  AVCOL_SPC_UNSPECIFIED,
  type AVColorPrimaries,
  type AVColorSpace,
  type AVColorTransferCharacteristic,
  AVERROR_INVALIDDATA,
  type AVPixelFormat,
  FF_DECODER_HEVC,
} from 'node-av/constants';
import { avGetPixFmtName, Codec, CodecContext, Frame, Packet } from 'node-av/lib';
import type { Size } from '../geometry.ts';
import { AvError, check } from './av-error.ts';
import { type DecodedFrame, type HeldFrame, holdFrame, knownMatrices } from './decoder.ts';
import { createFrameFilter, SCALE_FLAGS, toneMapFilters } from './frame-filter.ts';

/** Colours as a still picture's file declares them, in the numbers of ISO/IEC 23091-2, which are libav's. */
export interface StillColours {
  readonly primaries: number;
  readonly transfer: number;
  readonly matrix: number;
  readonly fullRange: boolean;
}

export interface StillDecoderOptions {
  /** The size of every picture. The decoder may pad its sides. */
  readonly size: Size;
  /** They replace the stream's own; undefined: the file declares none. */
  readonly colours: StillColours | undefined;
}

/** Decodes still pictures that are coded as HEVC. */
interface StillDecoder extends Disposable {
  /**
   * @param configuration the contents of an hvcC box
   * @param data one picture: NAL units after their lengths
   * @throws AvError for damaged data too
   */
  decode(configuration: Uint8Array, data: Uint8Array): HeldFrame;
}

/** Encoders pad sides to multiples of their largest blocks, 64. */
const MAX_PADDING = 64;

export function createStillDecoder({ size, colours }: StillDecoderOptions): StillDecoder {
  const maximumPixels = (size.width + MAX_PADDING) * (size.height + MAX_PADDING);
  const packet = new Packet();
  const frame = new Frame();
  packet.alloc();
  frame.alloc();
  let context: CodecContext | undefined;
  let opened: Buffer | undefined;

  const contextFor = (configuration: Uint8Array): CodecContext => {
    if (context && opened?.equals(configuration)) return context;
    context?.freeContext();
    context = undefined;
    opened = Buffer.from(configuration);
    context = openContext(opened, maximumPixels);
    return context;
  };

  return {
    decode(configuration, data) {
      const current = contextFor(configuration);
      frame.unref();
      packet.unref();
      packet.data = Buffer.from(data.buffer, data.byteOffset, data.length);
      try {
        check(current.sendPacketSync(packet), 'decode a picture');
        // The end of the stream makes the decoder return its picture now.
        check(current.sendPacketSync(null), 'end a picture');
        check(current.receiveFrameSync(frame), 'receive a picture');
      } finally {
        current.flushBuffers();
      }
      settleColours(frame, colours);
      return holdFrame(describe(frame, size));
    },
    [Symbol.dispose]() {
      context?.freeContext();
      packet.free();
      frame.free();
    },
  };
}

function openContext(configuration: Buffer, maximumPixels: number): CodecContext {
  const implementation = Codec.findDecoderByName(FF_DECODER_HEVC);
  if (!implementation) throw new Error('libav was built without an HEVC decoder');
  const context = new CodecContext();
  try {
    context.allocContext3(implementation);
    context.extraData = configuration;
    context.threadCount = 1;
    check(context.setOption('max_pixels', String(maximumPixels)), 'limit the pixels');
    // Otherwise damaged parts are left as the memory was.
    check(context.setOption('err_detect', 'explode'), 'refuse damage');
    check(context.open2Sync(implementation), 'open the HEVC decoder');
    return context;
  } catch (fault) {
    context.freeContext();
    throw fault;
  }
}

/** @throws AvError if the frame is smaller than declared */
function describe(frame: Frame, { width, height }: Size): DecodedFrame {
  if (frame.width < width || frame.height < height)
    throw new AvError('fill the picture', AVERROR_INVALIDDATA);
  const isPadded = frame.width > width || frame.height > height;
  return {
    pts: undefined,
    damaged: false,
    width,
    height,
    part: isPadded ? { left: 0, top: 0, width, height } : undefined,
    native: frame,
  };
}

/** Planes in the same order, as libav calls them with a matrix and without one. */
const planes: readonly (readonly [withMatrix: AVPixelFormat, without: AVPixelFormat])[] = [
  [AV_PIX_FMT_YUV444P, AV_PIX_FMT_GBRP],
  [AV_PIX_FMT_YUVJ444P, AV_PIX_FMT_GBRP],
  [AV_PIX_FMT_YUV444P10LE, AV_PIX_FMT_GBRP10LE],
  [AV_PIX_FMT_YUV444P12LE, AV_PIX_FMT_GBRP12LE],
];

/**
 * The file's colours replace the stream's, except that full range counts wherever it is declared: some cameras declare
 * it in the stream only. What neither declares is BT.601, as in a JPEG.
 */
function settleColours(frame: Frame, declared: StillColours | undefined): void {
  if (declared) {
    frame.colorPrimaries = declared.primaries as AVColorPrimaries;
    frame.colorTrc = declared.transfer as AVColorTransferCharacteristic;
    if (declared.matrix !== AVCOL_SPC_UNSPECIFIED) setMatrix(frame, declared.matrix as AVColorSpace);
    if (declared.fullRange) frame.colorRange = AVCOL_RANGE_JPEG;
  }
  const format = avGetPixFmtName(frame.format as AVPixelFormat) ?? '';
  if (format.startsWith('gbr')) {
    frame.colorSpace = AVCOL_SPC_RGB;
    frame.colorRange = AVCOL_RANGE_JPEG;
    return;
  }
  if (!knownMatrices.has(frame.colorSpace)) frame.colorSpace = AVCOL_SPC_SMPTE170M;
  if (frame.colorRange === AVCOL_RANGE_UNSPECIFIED) {
    frame.colorRange = format.startsWith('yuvj') ? AVCOL_RANGE_JPEG : AVCOL_RANGE_MPEG;
  }
}

/** libav gives frames whose stream declares no matrix formats of their own. */
function setMatrix(frame: Frame, matrix: AVColorSpace): void {
  const isRgb = matrix === AVCOL_SPC_RGB;
  const pair = planes.find(([yuv, gbr]) => frame.format === (isRgb ? yuv : gbr));
  if (pair) frame.format = isRgb ? pair[1] : pair[0];
  frame.colorSpace = matrix;
}

/** Rows that are converted at a time: even, because colours may have half of the rows. */
const BAND_ROWS = 64;

/** Reads frames as rows of pixels. */
interface RowReader extends Disposable {
  /**
   * Converts a frame from top to bottom, some rows at a time: a whole one of 48 megapixels would take 200 MB twice.
   * @returns [rows, width, 4] u8 RGBA, row-major, full range, one after another
   * @throws AvError
   */
  read(frame: DecodedFrame): Generator<Uint8Array>;
}

/** Frames of one size, in any colours. HDR is converted as in videos. */
export function createRowReader({ width, height }: Size): RowReader {
  const rows = Math.min(BAND_ROWS, height);
  const bands = Math.ceil(height / rows);
  const makeFilter = () =>
    createFrameFilter((form) => [
      // `n` counts the frames that went in: each goes in once for each band. The last band overlaps the one before.
      `crop=${width}:${rows}:0:min(mod(n\\,${bands})*${rows}\\,${height - rows}):exact=1`,
      ...toneMapFilters(form),
      `scale=${SCALE_FLAGS}+full_chroma_int:out_range=full`,
      'format=rgba',
    ]);
  let filter = makeFilter();
  return {
    *read(frame) {
      let band = 0;
      try {
        for (; band < bands; band++) {
          const pixels = filter.apply(frame).toBuffer();
          yield pixels.subarray(Math.max(0, band * rows - (height - rows)) * width * 4);
        }
      } finally {
        if (band < bands) {
          // The count would be wrong for the next frame.
          filter[Symbol.dispose]();
          filter = makeFilter();
        }
      }
    },
    [Symbol.dispose]: () => filter[Symbol.dispose](),
  };
}
