import { AV_PIX_FMT_YUV420P, AVCOL_RANGE_JPEG, FF_ENCODER_MJPEG } from 'node-av/constants';
import { Codec, CodecContext, type Frame, Packet, Rational } from 'node-av/lib';
import type { Size } from '../geometry.ts';
import { check } from './av-error.ts';
import type { DecodedFrame } from './decoder.ts';
import { squareSize } from './demuxer.ts';
import { createFrameFilter, SCALE_FLAGS, toneMapFilters } from './frame-filter.ts';
import { type Orientation, orientationFilters } from './orientation.ts';

/** Makes JPEG files of frames. */
interface JpegEncoder extends Disposable {
  /**
   * @returns a JPEG (JFIF: BT.601, full range, 4:2:0) of the frame at its full size, upright, with square
   * pixels and colours as a player shows them
   * @throws AvError
   */
  encode(frame: DecodedFrame): Uint8Array;
}

/** libav's scale from 1 (best) to 31; 2 is about what other encoders call 90 to 93. */
const QUANTISER = 2;
/** libav counts quantisers in units of 1/118. */
const QP_TO_LAMBDA = 118;

/** @param maximumPixels larger pictures are made smaller, with their aspect ratio kept */
export function createJpegEncoder(
  pixelAspect: number,
  orientation: Orientation,
  maximumPixels = Number.POSITIVE_INFINITY,
): JpegEncoder {
  const filter = createFrameFilter((form) => {
    const { width, height } = within(maximumPixels, squareSize(form, pixelAspect));
    return [
      ...toneMapFilters(form),
      `scale=${width}:${height}:${SCALE_FLAGS}:out_color_matrix=bt601:out_range=full`,
      'format=yuv420p',
      ...orientationFilters(orientation),
    ];
  });
  return {
    encode: (frame) => encodeFrame(filter.apply(frame)),
    [Symbol.dispose]: () => filter[Symbol.dispose](),
  };
}

function within(pixels: number, { width, height }: Size): Size {
  const scale = Math.min(1, Math.sqrt(pixels / (width * height)));
  return { width: Math.max(1, Math.floor(width * scale)), height: Math.max(1, Math.floor(height * scale)) };
}

/** Makes a new encoder for every picture: it is cheap, and a stream may change its size. */
function encodeFrame(frame: Frame): Uint8Array {
  const codec = Codec.findEncoderByName(FF_ENCODER_MJPEG);
  if (!codec) throw new Error('libav was built without a JPEG encoder');
  using encoder = new CodecContext();
  encoder.allocContext3(codec);
  encoder.width = frame.width;
  encoder.height = frame.height;
  encoder.pixelFormat = AV_PIX_FMT_YUV420P;
  encoder.colorRange = AVCOL_RANGE_JPEG;
  encoder.timeBase = new Rational(1, 1);
  encoder.threadCount = 1;
  check(encoder.setOption('flags', '+qscale'), 'set the quality');
  check(encoder.setOption('global_quality', String(QUANTISER * QP_TO_LAMBDA)), 'set the quality');
  check(encoder.open2Sync(codec), 'open the JPEG encoder');
  frame.pts = 0n;
  frame.quality = QUANTISER * QP_TO_LAMBDA;
  check(encoder.sendFrameSync(frame), 'encode the JPEG');
  using packet = new Packet();
  packet.alloc();
  check(encoder.receivePacketSync(packet), 'encode the JPEG');
  if (!packet.data) throw new Error('the JPEG encoder made an empty packet');
  return Uint8Array.from(packet.data);
}
