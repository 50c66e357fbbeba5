import {
  AV_BUFFERSRC_FLAG_KEEP_REF,
  AVCOL_RANGE_MPEG,
  AVCOL_TRC_ARIB_STD_B67,
  AVCOL_TRC_SMPTE2084,
  AVERROR_EINVAL,
  type AVPixelFormat,
} from 'node-av/constants';
import { avGetPixFmtName, Filter, type FilterContext, FilterGraph, Frame } from 'node-av/lib';
import { cutSize, type ResizeAndCrop, type RgbImage, type Size } from '../geometry.ts';
import { AvError, check } from './av-error.ts';
import type { DecodedFrame } from './decoder.ts';
import { type Orientation, orientationFilters } from './orientation.ts';

/** The frame properties that a filter chain is built for. A stream may change all of them between frames. */
interface FrameForm extends Size {
  /** The frame's transfer curve is that of HDR: perceptual quantizer or hybrid log-gamma. */
  readonly highDynamicRange: boolean;
}

/** A chain of libav's filters that processes each frame separately. */
interface FrameFilter extends Disposable {
  /**
   * @returns the filtered frame, valid until the next call
   * @throws AvError
   */
  apply(frame: DecodedFrame): Frame;
}

/** @param describe the filters in libav's syntax (`scale=…`, `format=…`) for frames of this form */
export function createFrameFilter(describe: (form: FrameForm) => readonly string[]): FrameFilter {
  const output = new Frame();
  output.alloc();
  let graph: Graph | undefined;
  return {
    apply(frame) {
      const preparation = preparationFilters(frame);
      if (graph?.preparation !== preparation.join()) {
        graph?.[Symbol.dispose]();
        graph = undefined;
        graph = buildGraph(preparation, describe(formOf(frame)));
      }
      output.unref();
      check(graph.source.buffersrcAddFrameSync(frame.native, AV_BUFFERSRC_FLAG_KEEP_REF), 'filter');
      check(graph.sink.buffersinkGetFrameSync(output), 'filter');
      return output;
    },
    [Symbol.dispose]() {
      output.free();
      graph?.[Symbol.dispose]();
    },
  };
}

interface Graph extends Disposable {
  /** The filters before the described ones. */
  readonly preparation: string;
  readonly source: FilterContext;
  readonly sink: FilterContext;
}

function formOf({ native, width, height }: DecodedFrame): FrameForm {
  const highDynamicRange =
    native.colorTrc === AVCOL_TRC_SMPTE2084 || native.colorTrc === AVCOL_TRC_ARIB_STD_B67;
  return { width, height, highDynamicRange };
}

/**
 * Takes frames of this kind in, and leaves the part that is shown, in colours that the scaler understands. The time base
 * has no effect on filters that process frames separately.
 */
function preparationFilters({ native, part }: DecodedFrame): [source: string, ...filters: string[]] {
  const source = [
    `buffer=video_size=${native.width}x${native.height}`,
    `pix_fmt=${native.format}`,
    'time_base=1/1000',
    `colorspace=${native.colorSpace}`,
    `range=${native.colorRange}`,
  ].join(':');
  const cropping = part ? [`crop=${part.width}:${part.height}:${part.left}:${part.top}:exact=1`] : [];
  return [source, ...cropping, ...greyFilters(native)];
}

/** The scaler takes every picture without colours for one of full range. */
function greyFilters({ format, colorRange }: Frame): string[] {
  const bits = /^gray(\d*)/.exec(avGetPixFmtName(format as AVPixelFormat) ?? '')?.[1];
  if (bits === undefined || colorRange !== AVCOL_RANGE_MPEG) return [];
  const unit = 2 ** (Number(bits || 8) - 8);
  return [`lut=c0='clip((val-${16 * unit})*${256 * unit - 1}/${219 * unit},0,${256 * unit - 1})'`];
}

/** Links the filters one by one: after parsing a description, the owner of the end points would be unclear. */
function buildGraph(preparation: [string, ...string[]], described: readonly string[]): Graph {
  const [buffer, ...preparing] = preparation;
  const chain = [...preparing, ...described];
  const graph = new FilterGraph();
  try {
    graph.alloc();
    graph.nbThreads = 1;
    const source = createFilter(graph, 'source', buffer);
    const sink = createFilter(graph, 'sink', 'buffersink');
    const steps = chain.map((step, index) => createFilter(graph, `step${index}`, step));
    let last = source;
    for (const filter of [...steps, sink]) {
      check(last.link(0, filter, 0), 'link the filters');
      last = filter;
    }
    check(graph.configSync(), `configure ${chain.join()}`);
    return { preparation: preparation.join(), source, sink, [Symbol.dispose]: () => graph.free() };
  } catch (fault) {
    graph.free();
    throw fault;
  }
}

/** @param step `name=parameters` */
function createFilter(graph: FilterGraph, label: string, step: string): FilterContext {
  const [name, parameters] = step.split(/=(.*)/s);
  const filter = Filter.getByName(name!);
  if (!filter) throw new Error(`libav was built without the filter ${name}`);
  let context: FilterContext | null = null;
  try {
    context = graph.createFilter(filter, label, parameters ?? null);
  } catch {
    // node-av throws here instead of returning libav's code.
  }
  if (!context) throw new AvError(`create the filter ${step}`, AVERROR_EINVAL);
  return context;
}

/** Bicubic, as the reference resizes. Rounding to the nearest instead of down keeps flat colours exact. */
export const SCALE_FLAGS = 'flags=bicubic+accurate_rnd';

/**
 * Converts HDR to the range of pictures, with BT.709's primaries and BT.2390's curve, which hardly changes anything up to
 * the brightness of white paper. The filter takes 10-bit 4:2:0.
 */
export function toneMapFilters({ highDynamicRange }: FrameForm): readonly string[] {
  if (!highDynamicRange) return [];
  return [
    'format=yuv420p10le',
    'tonemapx=tonemap=bt2390:desat=0:peak=100:transfer=bt709:matrix=bt709:primaries=bt709:range=tv:format=yuv420p',
  ];
}

export interface PicturePlacement extends ResizeAndCrop {
  /** Side of a square, in pixels. */
  readonly side: number;
}

/** Makes the model's input of frames. */
interface PictureScaler extends Disposable {
  /**
   * @returns one square, [side, side, 3] u8 RGB, row-major; if there are several, the picture that they are cut out of.
   *   Upright, full range
   * @throws AvError
   */
  scale(frame: DecodedFrame): Uint8Array;
}

export function createPictureScaler(placement: PicturePlacement, orientation: Orientation): PictureScaler {
  const { resizedWidth, resizedHeight, cropLeft, cropTop, side } = placement;
  const cut = cutSize(placement, side * side);
  // The frame is turned in the last step, when it has few pixels.
  const [width, height] =
    orientation.turns % 2 === 0 ? [resizedWidth, resizedHeight] : [resizedHeight, resizedWidth];
  const filter = createFrameFilter((form) => [
    ...(form.highDynamicRange ? [`scale=${width}:${height}:${SCALE_FLAGS}`, ...toneMapFilters(form)] : []),
    `scale=${width}:${height}:${SCALE_FLAGS}:out_range=full`,
    // Scaling to interleaved colours takes twice as long, and halves the colours' resolution.
    'format=gbrp',
    ...orientationFilters(orientation),
    `crop=${cut.width}:${cut.height}:${cropLeft}:${cropTop}:exact=1`,
    'scale',
    'format=rgb24',
  ]);
  return {
    scale: (frame) => filter.apply(frame).toBuffer(),
    [Symbol.dispose]: () => filter[Symbol.dispose](),
  };
}

/** Makes small pictures of frames, fast and coarse, for comparing frames. */
interface Thumbnailer extends Disposable {
  /** @throws AvError */
  make(frame: DecodedFrame): RgbImage;
}

/**
 * Samples instead of averaging: 0.2 ms for a frame of 1920 × 1080 instead of 1 ms. Colours stay in the frame's own curve
 * and primaries. Frames are not turned.
 */
export function createThumbnailer({ width, height }: Size): Thumbnailer {
  const filter = createFrameFilter(() => [
    `scale=${width}:${height}:flags=fast_bilinear:out_range=full`,
    'format=rgb24',
  ]);
  return {
    make: (frame) => ({ width, height, pixels: filter.apply(frame).toBuffer() }),
    [Symbol.dispose]: () => filter[Symbol.dispose](),
  };
}
