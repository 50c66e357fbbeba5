import {
  AV_FRAME_FLAG_CORRUPT,
  AV_NOPTS_VALUE,
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
  type AVColorSpace,
  AVERROR_ENOMEM,
  type AVPixelFormat,
} from 'node-av/constants';
import { avGetPixFmtName, type Frame } from 'node-av/lib';
import { AvError } from './av-error.ts';

/** A decoded picture in libav's memory, valid until the decoder's next one. */
export interface DecodedFrame {
  /** Presentation time in the track's ticks; undefined where unknown. */
  readonly pts: number | undefined;
  readonly width: number;
  readonly height: number;
  /** Parts were damaged; libav has filled them in. */
  readonly damaged: boolean;
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

/** Matrices that the scaler knows by name. Others are guessed as if unspecified. */
const knownMatrices: ReadonlySet<AVColorSpace> = new Set([
  AVCOL_SPC_BT709,
  AVCOL_SPC_FCC,
  AVCOL_SPC_BT470BG,
  AVCOL_SPC_SMPTE170M,
  AVCOL_SPC_SMPTE240M,
  AVCOL_SPC_BT2020_NCL,
]);

/** As players guess: standard definition is up to 576 lines of up to 1279 pixels. */
const HIGH_DEFINITION = { width: 1280, height: 577 };

/** Wraps a frame, after setting the colour space that the file leaves unspecified. */
export function describeFrame(frame: Frame): DecodedFrame {
  settleColours(frame);
  // libav's best effort is a guess between presentation and decoding times, and wrong if packets were left out.
  const pts = frame.pts === AV_NOPTS_VALUE ? frame.bestEffortTimestamp : frame.pts;
  return {
    pts: pts === AV_NOPTS_VALUE ? undefined : Number(pts),
    width: frame.width,
    height: frame.height,
    damaged: frame.decodeErrorFlags !== 0 || frame.hasFlags(AV_FRAME_FLAG_CORRUPT),
    native: frame,
  };
}

function settleColours(frame: Frame): void {
  const format = avGetPixFmtName(frame.format as AVPixelFormat) ?? '';
  if (format.startsWith('gbr') || format.startsWith('rgb')) {
    frame.colorSpace = AVCOL_SPC_RGB;
    frame.colorRange = AVCOL_RANGE_JPEG;
    return;
  }
  if (!knownMatrices.has(frame.colorSpace)) {
    const high = frame.width >= HIGH_DEFINITION.width || frame.height >= HIGH_DEFINITION.height;
    frame.colorSpace = high ? AVCOL_SPC_BT709 : AVCOL_SPC_SMPTE170M;
  }
  if (frame.colorRange === AVCOL_RANGE_UNSPECIFIED) {
    frame.colorRange = format.startsWith('yuvj') ? AVCOL_RANGE_JPEG : AVCOL_RANGE_MPEG;
  }
}
