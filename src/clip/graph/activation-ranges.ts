import type { ClipArchitecture } from '../architecture.ts';
import type { GraphBuilder, Value } from './graph-builder.ts';

/** How loud the channels of the products' inputs get: the largest magnitude seen of each, by the input's name. */
export type ActivationRanges = ReadonlyMap<string, Float32Array>;

/** The name of the blocks' list in the weights, and of the model's part that it belongs to. */
export const towerPrefixes = { vision: 'visual.transformer', text: 'transformer' } as const;

/** The prefix of one block's weights. */
export function blockPrefix(tower: keyof typeof towerPrefixes, layer: number): string {
  return `${towerPrefixes[tower]}.resblocks.${layer}`;
}

/** The names of the matrices that a block multiplies with weights. */
export function blockInputs(prefix: string) {
  return {
    /** Of queries, keys and values. [..., W] */
    attention: `${prefix}.ln_1`,
    /** [..., W] */
    attentionOut: `${prefix}.attn`,
    /** [..., W] */
    mlpIn: `${prefix}.ln_2`,
    /** [..., 4W] */
    mlpOut: `${prefix}.mlp.gelu`,
  } as const;
}

/** Where a graph's observed form says how loud an input's channels were. */
export interface ObservedInput {
  readonly name: string;
  /** The graph's output: [width] float32. */
  readonly output: string;
  readonly width: number;
}

/** What the observed form of a tower's graph has beside `embeddings`. */
export function observedInputs(
  tower: keyof typeof towerPrefixes,
  architecture: ClipArchitecture,
): readonly ObservedInput[] {
  const { width, layers } = architecture[tower];
  return Array.from({ length: layers }, (_, layer) => {
    const inputs = blockInputs(blockPrefix(tower, layer));
    return Object.values(inputs).map((name) => ({
      name,
      output: outputName(name),
      width: name === inputs.mlpOut ? 4 * width : width,
    }));
  }).flat();
}

/**
 * Lets the graph's observed form say how loud the channels of a matrix get.
 * @param x [M, width] float32
 */
export function observeChannels(graph: GraphBuilder, name: string, x: Value, width: number): void {
  graph.observe([width], () => {
    const output = outputName(name);
    const magnitudes = graph.node(`${output}.magnitudes`, 'Abs', [x]);
    const rows = graph.integers(`${output}.rows`, [0]);
    return graph.node(output, 'ReduceMax', [magnitudes, rows], { keepdims: 0 });
  });
}

function outputName(input: string): string {
  return `range.${input}`;
}
