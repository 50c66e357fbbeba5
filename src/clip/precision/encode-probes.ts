import {
  type HostTensor,
  type OnnxSession,
  openSession,
  type WeightPlacement,
} from '../../../native/onnx/session.ts';
import type { Calibration, ObservedInput } from '../graph/calibration.ts';
import { type ObservedOutputs, observedRows } from '../graph/transformer.ts';
import type { Probes } from './probes.ts';

/**
 * Positions of pictures in a run: those of 8 pictures for ViT-B/32, of one for ViT-L/14. Beside a large model's fp32
 * weights, memory has no room for more intermediate results.
 */
const POSITIONS_PER_RUN = 400;
/** Texts in a run. Only those of one length share a run. */
const TEXTS_PER_RUN = 32;

/** Rows that are kept of each input to see what a fixed scale costs: 30 MB for ViT-B/32, 100 for ViT-L/14. */
const OBSERVED_ROWS = 96;

/** A tower's graph and how to run it. */
export interface TowerGraph {
  readonly graphPath: string;
  readonly embeddingDimension: number;
  /** The graph's outputs besides embeddings, if it is the observed form. */
  readonly observed: readonly ObservedOutputs[];
  readonly threads: number;
  /** `mapped` for fp32, whose weights may be too large for memory. */
  readonly weights: WeightPlacement;
}

interface EncodedProbes {
  /** [D] float32 each, L2-normalised, in the order of the probes. */
  readonly embeddings: readonly Float32Array[];
  /** What the calibrating probes put into products. */
  readonly calibration: Calibration;
}

/** Probes that share a run. */
interface ProbeBatch {
  /** Of the probes, in their order. */
  readonly indices: readonly number[];
  /** Of each picture or text. */
  readonly positions: number;
  inputs(): Readonly<Record<string, HostTensor>>;
}

export function pictureBatches({ pictures, side, positions }: Probes): readonly ProbeBatch[] {
  const perRun = Math.max(1, Math.floor(POSITIONS_PER_RUN / positions));
  return portions([...pictures.keys()], perRun).map((indices) => ({
    indices,
    positions,
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
  return [...byLength].flatMap(([length, sameLength]) =>
    portions(sameLength, TEXTS_PER_RUN).map((indices) => ({
      indices,
      positions: length,
      inputs() {
        const data = Int32Array.from(indices.flatMap((index) => [...(texts[index]?.ids ?? [])]));
        return { input_ids: { type: 'int32', dims: [indices.length, length], data } };
      },
    })),
  );
}

function portions(items: readonly number[], size: number): readonly (readonly number[])[] {
  return Array.from({ length: Math.ceil(items.length / size) }, (_, part) =>
    items.slice(part * size, (part + 1) * size),
  );
}

/** What goes through a tower. */
export interface ProbeSets {
  /** Their embeddings are wanted. */
  readonly probes: Probes;
  /** Others, whose values in front of the products are wanted. Default: none. */
  readonly calibrating?: Probes;
}

/** @param onShare how much is done, from 0 to 1 */
export async function encodeProbePictures(
  tower: TowerGraph,
  { probes, calibrating }: ProbeSets,
  onShare: (share: number) => void,
): Promise<EncodedProbes> {
  return await encode(tower, pictureBatches(probes), calibrating ? pictureBatches(calibrating) : [], onShare);
}

/** @param onShare how much is done, from 0 to 1 */
export async function encodeProbeTexts(
  tower: TowerGraph,
  { probes, calibrating }: ProbeSets,
  onShare: (share: number) => void,
): Promise<EncodedProbes> {
  return await encode(tower, textBatches(probes), calibrating ? textBatches(calibrating) : [], onShare);
}

/** @param batches all of the probes, each once */
async function encode(
  { graphPath, embeddingDimension, observed, threads, weights }: TowerGraph,
  batches: readonly ProbeBatch[],
  calibrating: readonly ProbeBatch[],
  onShare: (share: number) => void,
): Promise<EncodedProbes> {
  await using session = await openSession(graphPath, { threads, weights });
  let done = 0;
  const onBatch = () => {
    done++;
    onShare(done / (batches.length + calibrating.length));
  };
  const observers = observed.map((outputs) => createObserver(outputs, calibrating.length));
  for (const batch of calibrating) {
    const outputs = Object.assign({}, ...observers.map((observer) => observer.outputs(batch)));
    await embedBatch(session, batch, { embeddingDimension, outputs });
    for (const observer of observers) observer.addOutputs();
    onBatch();
  }
  const embeddings: Float32Array[] = [];
  for (const batch of batches) {
    const rows = await embedBatch(session, batch, { embeddingDimension });
    for (const [row, index] of batch.indices.entries()) embeddings[index] = rows[row]!;
    onBatch();
  }
  return {
    embeddings,
    calibration: new Map(observers.map(({ name, observed: found }) => [name, found()])),
  };
}

/** Collects what several batches put into a product. */
function createObserver({ name, width, rows, outputs }: ObservedOutputs, batches: number) {
  const lowest = new Float32Array(width).fill(Number.POSITIVE_INFINITY);
  const highest = new Float32Array(width).fill(Number.NEGATIVE_INFINITY);
  const perBatch = Math.ceil(OBSERVED_ROWS / Math.max(1, batches));
  const kept = new Float32Array(perBatch * batches * width);
  let keptValues = 0;
  const low = float32([width]);
  const high = float32([width]);
  let some = float32([0, width]);
  const replace = (
    values: Float32Array,
    others: Float32Array,
    choose: (one: number, other: number) => number,
  ) =>
    values.forEach((value, channel) => {
      values[channel] = choose(value, others[channel]!);
    });
  return {
    name,
    /** Tensors for the next run, each used until its size changes. */
    outputs({ indices, positions }: ProbeBatch): Readonly<Record<string, HostTensor>> {
      const matrixRows = rows === 'positions' ? positions * indices.length : indices.length;
      const count = observedRows(matrixRows, rows);
      if (some.dims[0] !== count) some = float32([count, width]);
      return { [outputs.lowest]: low, [outputs.highest]: high, [outputs.rows]: some };
    },
    /** After the run. */
    addOutputs(): void {
      replace(lowest, low.data, Math.min);
      replace(highest, high.data, Math.max);
      const count = some.data.length / width;
      const wanted = Math.min(perBatch, count);
      for (let row = 0; row < wanted; row++) {
        const start = width * Math.floor((row * count) / wanted);
        kept.set(some.data.subarray(start, start + width), keptValues);
        keptValues += width;
      }
    },
    observed: (): ObservedInput => ({ lowest, highest, rows: kept.subarray(0, keptValues) }),
  };
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
