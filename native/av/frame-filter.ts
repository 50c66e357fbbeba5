import {
  AV_BUFFERSRC_FLAG_KEEP_REF,
  AVCOL_TRC_ARIB_STD_B67,
  AVCOL_TRC_SMPTE2084,
  AVERROR_EINVAL,
} from 'node-av/constants';
import { Filter, type FilterContext, FilterGraph, Frame } from 'node-av/lib';
import { AvError, check } from './av-error.ts';
import type { DecodedFrame } from './decoded-frame.ts';

/** The frame properties that a filter chain is built for. A stream may change all of them between frames. */
export interface FrameForm {
  readonly width: number;
  readonly height: number;
  /** The frame's transfer curve is that of HDR: perceptual quantizer or hybrid log-gamma. */
  readonly highDynamicRange: boolean;
}

/** A chain of libav's filters that processes each frame separately. */
export interface FrameFilter extends Disposable {
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
      const parameters = sourceParameters(frame.native);
      if (graph?.parameters !== parameters) {
        graph?.[Symbol.dispose]();
        graph = undefined;
        graph = buildGraph(parameters, describe(formOf(frame)));
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
  readonly parameters: string;
  readonly source: FilterContext;
  readonly sink: FilterContext;
}

function formOf({ native, width, height }: DecodedFrame): FrameForm {
  const highDynamicRange =
    native.colorTrc === AVCOL_TRC_SMPTE2084 || native.colorTrc === AVCOL_TRC_ARIB_STD_B67;
  return { width, height, highDynamicRange };
}

/** The time base does not matter to filters that look at one frame only. */
function sourceParameters(frame: Frame): string {
  return [
    `video_size=${frame.width}x${frame.height}`,
    `pix_fmt=${frame.format}`,
    'time_base=1/1000',
    `colorspace=${frame.colorSpace}`,
    `range=${frame.colorRange}`,
  ].join(':');
}

/** Links the filters by hand: after parsing a description, the owner of the end points would be unclear. */
function buildGraph(parameters: string, chain: readonly string[]): Graph {
  const graph = new FilterGraph();
  try {
    graph.alloc();
    graph.nbThreads = 1;
    const source = createFilter(graph, 'source', `buffer=${parameters}`);
    const sink = createFilter(graph, 'sink', 'buffersink');
    const steps = chain.map((step, index) => createFilter(graph, `step${index}`, step));
    let last = source;
    for (const filter of [...steps, sink]) {
      check(last.link(0, filter, 0), 'link the filters');
      last = filter;
    }
    check(graph.configSync(), `configure ${chain.join()}`);
    return { parameters, source, sink, [Symbol.dispose]: () => graph.free() };
  } catch (fault) {
    graph.free();
    throw fault;
  }
}

/** @param step `name=parameters` */
function createFilter(graph: FilterGraph, label: string, step: string): FilterContext {
  const [name, parameters] = step.split(/=(.*)/s);
  const filter = Filter.getByName(name as string);
  if (!filter) throw new Error(`libav was built without the filter ${name}`);
  let context: FilterContext | null = null;
  try {
    context = graph.createFilter(filter, label, parameters ?? null);
  } catch {
    // node-av throws here instead of returning libav's code.
  }
  if (!context) throw new AvError(`make the filter ${step}`, AVERROR_EINVAL);
  return context;
}
