import {
  type HostTensor,
  type OnnxSession,
  openSession,
  type WeightPlacement,
} from '../../../native/onnx/session.ts';
import type { ActivationRanges, ObservedInput } from '../graph/transformer.ts';
import type { Probes } from './probes.ts';

/**
 * Positions of pictures in a run: those of 8 pictures for ViT-B/32, of one for ViT-L/14. Beside a large model's fp32
 * weights, memory has no room for more intermediate results.
 */
const POSITIONS_PER_RUN = 400;
/** Texts in a run. Only those of one length share a run. */
const TEXTS_PER_RUN = 32;

/** A tower's graph and how to run it. */
export interface TowerGraph {
  readonly graphPath: string;
  readonly embeddingDimension: number;
  /** The graph's outputs besides embeddings, if it is the observed form. */
  readonly observed: readonly ObservedInput[];
  readonly threads: number;
  /** `mapped` for fp32, whose weights may be too large for memory. */
  readonly weights: WeightPlacement;
}

interface EncodedProbes {
  /** [D] float32 each, L2-normalised, in the order of the probes. */
  readonly embeddings: readonly Float32Array[];
  readonly ranges: ActivationRanges;
}

/** Probes that share a run. */
interface ProbeBatch {
  /** Of the probes, in their order. */
  readonly indices: readonly number[];
  inputs(): Readonly<Record<string, HostTensor>>;
}

export function pictureBatches({ pictures, side, positions }: Probes): readonly ProbeBatch[] {
  const perRun = Math.max(1, Math.floor(POSITIONS_PER_RUN / positions));
  return portions([...pictures.keys()], perRun).map((indices) => ({
    indices,
    inputs() {
      const data = new Uint8Array(indices.length * side * side * 3);
      indices.forEach((index, row) => {
        data.set(pictures[index]?.pixels ?? [], row * side * side * 3);
      });
      return { pixels: { type: 'uint8', dims: [indices.length, side, side, 3], data } };
    },
  }));
}

export function textBatches({ texts }: Probes): readonly ProbeBatch[] {
  const byLength = Map.groupBy(texts.keys(), (index) => texts[index]?.ids.length ?? 0);
  return [...byLength.values()].flatMap((sameLength) =>
    portions(sameLength, TEXTS_PER_RUN).map((indices) => ({
      indices,
      inputs() {
        const data = Int32Array.from(indices.flatMap((index) => [...(texts[index]?.ids ?? [])]));
        return { input_ids: { type: 'int32', dims: [indices.length, data.length / indices.length], data } };
      },
    })),
  );
}

function portions(items: readonly number[], size: number): readonly (readonly number[])[] {
  return Array.from({ length: Math.ceil(items.length / size) }, (_, part) =>
    items.slice(part * size, (part + 1) * size),
  );
}

/** @param onShare how much is done, from 0 to 1 */
export async function encodeProbePictures(
  tower: TowerGraph,
  probes: Probes,
  onShare: (share: number) => void,
): Promise<EncodedProbes> {
  return await encode(tower, pictureBatches(probes), onShare);
}

/** @param onShare how much is done, from 0 to 1 */
export async function encodeProbeTexts(
  tower: TowerGraph,
  probes: Probes,
  onShare: (share: number) => void,
): Promise<EncodedProbes> {
  return await encode(tower, textBatches(probes), onShare);
}

/** @param batches all of the probes, each once */
async function encode(
  { graphPath, embeddingDimension, observed, threads, weights }: TowerGraph,
  batches: readonly ProbeBatch[],
  onShare: (share: number) => void,
): Promise<EncodedProbes> {
  await using session = await openSession(graphPath, { threads, weights });
  const embeddings: Float32Array[] = [];
  const ranges = new Map(observed.map(({ name, width }) => [name, new Float32Array(width)]));
  for (const [done, batch] of batches.entries()) {
    const batchRanges = observed.map(({ name, output, width }) => ({
      name,
      output,
      peaks: float32([width]),
    }));
    const outputs = Object.fromEntries(batchRanges.map(({ output, peaks }) => [output, peaks]));
    const rows = await embedBatch(session, batch, { embeddingDimension, outputs });
    for (const [row, index] of batch.indices.entries()) embeddings[index] = rows[row]!;
    for (const { name, peaks } of batchRanges) {
      const loudest = ranges.get(name);
      loudest?.forEach((before, channel) => {
        loudest[channel] = Math.max(before, peaks.data[channel]!);
      });
    }
    onShare((done + 1) / batches.length);
  }
  return { embeddings, ranges };
}

/**
 * Runs a graph on one batch.
 * @returns the embeddings, [D] float32 each, in the order of `batch.indices`
 */
export async function embedBatch(
  session: OnnxSession,
  batch: ProbeBatch,
  {
    embeddingDimension,
    inputs = {},
    outputs = {},
  }: {
    readonly embeddingDimension: number;
    /** Besides the probes. */
    readonly inputs?: Readonly<Record<string, HostTensor>>;
    /** Besides the embeddings. */
    readonly outputs?: Readonly<Record<string, HostTensor>>;
  },
): Promise<readonly Float32Array[]> {
  const embeddings = float32([batch.indices.length, embeddingDimension]);
  await session.run({ ...batch.inputs(), ...inputs }, { embeddings, ...outputs });
  return batch.indices.map((_, row) =>
    embeddings.data.slice(row * embeddingDimension, (row + 1) * embeddingDimension),
  );
}

function float32(dims: readonly number[]) {
  const data = new Float32Array(dims.reduce((product, size) => product * size, 1));
  return { type: 'float32', dims, data } as const;
}
