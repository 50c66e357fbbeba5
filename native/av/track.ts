import {
  AV_CODEC_ID_AV1,
  AV_CODEC_ID_H264,
  AV_CODEC_ID_HEVC,
  AV_CODEC_ID_MPEG4,
  AV_CODEC_ID_VP8,
  AV_CODEC_ID_VP9,
  AV_PKT_DATA_DISPLAYMATRIX,
  type AVCodecID,
} from 'node-av/constants';
import type { Stream } from 'node-av/lib';
import { avGetCodecName } from 'node-av/lib';
import type { Size } from '../geometry.ts';
import { type Orientation, orientationOf, upright } from './orientation.ts';

/** The codecs whose decoders may read untrusted bytes. */
export type VideoCodec = 'h264' | 'hevc' | 'av1' | 'vp9' | 'vp8' | 'mpeg4';

const codecIds: ReadonlyMap<AVCodecID, VideoCodec> = new Map([
  [AV_CODEC_ID_H264, 'h264'],
  [AV_CODEC_ID_HEVC, 'hevc'],
  [AV_CODEC_ID_AV1, 'av1'],
  [AV_CODEC_ID_VP9, 'vp9'],
  [AV_CODEC_ID_VP8, 'vp8'],
  [AV_CODEC_ID_MPEG4, 'mpeg4'],
]);

/** A video track as its container describes it. */
export interface VideoTrack {
  /** Undefined: another codec. */
  readonly codec: VideoCodec | undefined;
  /** libav's name of the codec. */
  readonly codecName: string;
  /** Pixels as coded. */
  readonly codedSize: Size;
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

/** A larger aspect ratio of a pixel counts as damage: 720 × 480 in 2.39 : 1 needs 1.6. */
const MAX_PIXEL_ASPECT = 4;

/** Reads all fields at once: a stream's memory is freed with its file. */
export function describeTrack(stream: Stream): VideoTrack {
  const { codecpar } = stream;
  const codedSize = { width: codecpar.width, height: codecpar.height };
  const matrix = codecpar.getCodedSideData(AV_PKT_DATA_DISPLAYMATRIX);
  const orientation = matrix ? orientationOf(matrix) : upright;
  const aspects = [stream.sampleAspectRatio, codecpar.sampleAspectRatio].map(({ num, den }) => num / den);
  const pixelAspect =
    aspects.find((aspect) => aspect >= 1 / MAX_PIXEL_ASPECT && aspect <= MAX_PIXEL_ASPECT) ?? 1;
  const frameRates = [stream.avgFrameRate, stream.rFrameRate].map(({ num, den }) => num / den);
  return {
    codec: codecIds.get(codecpar.codecId),
    codecName: avGetCodecName(codecpar.codecId) ?? 'unknown',
    codedSize,
    shownSize: shownSize(codedSize, pixelAspect, orientation),
    pixelAspect,
    orientation,
    secondsPerTick: stream.timeBase.num / stream.timeBase.den,
    frameRate: frameRates.find((rate) => rate > 0 && rate < 100_000),
  };
}

/** The size with square pixels. The shorter side is stretched, so no detail is lost. */
export function squareSize({ width, height }: Size, pixelAspect: number): Size {
  return pixelAspect >= 1
    ? { width: Math.round(width * pixelAspect), height }
    : { width, height: Math.round(height / pixelAspect) };
}

function shownSize(coded: Size, pixelAspect: number, { turns }: Orientation): Size {
  const { width, height } = squareSize(coded, pixelAspect);
  return turns % 2 === 0 ? { width, height } : { width: height, height: width };
}
