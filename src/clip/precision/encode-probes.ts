import { type HostTensor, openSession, type WeightPlacement } from '../../../native/onnx/session.ts';
import type { ActivationRanges, ObservedInput } from '../graph/activation-ranges.ts';
import type { Probes } from './probes.ts';

/**
 * Of pictures in a run: 8 of ViT-B/32, one of ViT-L/14. With the weights of fp32 in memory there is not room for
 * more intermediate results of a large model.
 */
const POSITIONS_PER_RUN = 400;
/** Texts in a run; only those of one length share one. */
const TEXTS_PER_RUN = 32;

/** A tower's graph and how to run it. */
export interface TowerGraph {
  readonly graphPath: string;
  readonly embeddingDimension: number;
  /** What the graph tells beside embeddings, if it is the observed form. */
  readonly observed: readonly ObservedInput[];
  readonly threads: number;
  /** `mapped` where the weights in fp32 may be too large for memory, or nearly. */
  readonly weights: WeightPlacement;
}

/** What a tower makes of the probes. */
export interface EncodedProbes {
  /** [D] float32 each, L2-normalised, in the order of the probes. */
  readonly embeddings: readonly Float32Array[];
  readonly ranges: ActivationRanges;
}

/** @param onShare how much is done, from 0 to 1 */
export async function encodeProbePictures(
  tower: TowerGraph,
  { pictures, side, positions }: Probes,
  onShare: (share: number) => void,
): Promise<EncodedProbes> {
  const perRun = Math.max(1, Math.floor(POSITIONS_PER_RUN / positions));
  const batches = Array.from({ length: Math.ceil(pictures.length / perRun) }, (_, index) => {
    const first = index * perRun;
    return Array.from(pictures.slice(first, first + perRun).keys(), (offset) => first + offset);
  });
  return await encode(tower, batches, onShare, (batch) => {
    const data = new Uint8Array(batch.length * side * side * 3);
    batch.forEach((index, row) => {
      data.set(pictures[index]?.pixels ?? [], row * side * side * 3);
    });
    return { pixels: { type: 'uint8', dims: [batch.length, side, side, 3], data } };
  });
}

/** @param onShare how much is done, from 0 to 1 */
export async function encodeProbeTexts(
  tower: TowerGraph,
  { texts }: Probes,
  onShare: (share: number) => void,
): Promise<EncodedProbes> {
  const byLength = Map.groupBy(texts.keys(), (index) => texts[index]?.ids.length ?? 0);
  const batches = [...byLength.values()].flatMap((indices) =>
    Array.from({ length: Math.ceil(indices.length / TEXTS_PER_RUN) }, (_, part) =>
      indices.slice(part * TEXTS_PER_RUN, (part + 1) * TEXTS_PER_RUN),
    ),
  );
  return await encode(tower, batches, onShare, (batch) => {
    const data = Int32Array.from(batch.flatMap((index) => [...(texts[index]?.ids ?? [])]));
    return { input_ids: { type: 'int32', dims: [batch.length, data.length / batch.length], data } };
  });
}

/** @param batches indices of probes: all of them, each once */
async function encode(
  { graphPath, embeddingDimension, observed, threads, weights }: TowerGraph,
  batches: readonly (readonly number[])[],
  onShare: (share: number) => void,
  inputsOf: (batch: readonly number[]) => Readonly<Record<string, HostTensor>>,
): Promise<EncodedProbes> {
  await using session = await openSession(graphPath, { threads, weights });
  const embeddings: Float32Array[] = [];
  const ranges = new Map(observed.map(({ name, width }) => [name, new Float32Array(width)]));
  for (const [done, batch] of batches.entries()) {
    const batchEmbeddings = float32([batch.length, embeddingDimension]);
    const batchRanges = observed.map(({ name, output, width }) => ({
      name,
      output,
      peaks: float32([width]),
    }));
    await session.run(inputsOf(batch), {
      embeddings: batchEmbeddings,
      ...Object.fromEntries(batchRanges.map(({ output, peaks }) => [output, peaks])),
    });
    batch.forEach((index, row) => {
      embeddings[index] = batchEmbeddings.data.slice(
        row * embeddingDimension,
        (row + 1) * embeddingDimension,
      );
    });
    for (const { name, peaks } of batchRanges) {
      const loudest = ranges.get(name);
      loudest?.forEach((before, channel) => {
        loudest[channel] = Math.max(before, peaks.data[channel] as number);
      });
    }
    onShare((done + 1) / batches.length);
  }
  return { embeddings, ranges };
}

function float32(dims: readonly number[]) {
  const data = new Float32Array(dims.reduce((product, size) => product * size, 1));
  return { type: 'float32', dims, data } as const;
}
