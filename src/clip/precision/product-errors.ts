import { type HostTensor, openSession } from '../../../native/onnx/session.ts';
import { type Product, SWITCHES } from '../graph/linear.ts';
import { dot, LOWEST_COSINE, LOWEST_MEAN_COSINE } from './compare-precisions.ts';
import { embedBatch, pictureBatches, type TowerGraph, textBatches } from './encode-probes.ts';
import type { Probes } from './probes.ts';

/** What int8 costs in one product, with all others in float32. */
export interface ProductError extends Product {
  /** 1 − cosine with the embedding in float32, of each probe. */
  readonly errors: Float64Array;
}

/**
 * Enough to find bad products: half of them are those that int8 has moved most. The chosen products are judged by all
 * probes afterwards.
 */
const PICTURES = 8;
const TEXTS = 16;

/** Probes of one tower, and what float32 makes of them. */
export interface MeasuredProbes {
  readonly probes: Probes;
  readonly fp32: readonly Float32Array[];
}

/**
 * Some of the probes of one tower.
 * @param cosines of int8's embeddings with those of fp32, in the order of the probes
 */
export function someProbes(
  tower: 'vision' | 'text',
  { probes, fp32 }: MeasuredProbes,
  cosines: readonly number[],
): MeasuredProbes {
  const count = Math.min(tower === 'vision' ? PICTURES : TEXTS, cosines.length);
  const byCosine = [...cosines.keys()].toSorted((one, other) => cosines[one]! - cosines[other]!);
  const worst = byCosine.slice(0, count >> 1);
  const others = byCosine.slice(count >> 1);
  const spread = Array.from(
    { length: count - worst.length },
    (_, index) => others[Math.floor((index * others.length) / (count - worst.length))]!,
  );
  const chosen = [...worst, ...spread];
  const pick = <T>(items: readonly T[]) => chosen.map((index) => items[index]!);
  return {
    probes: {
      ...probes,
      pictures: tower === 'vision' ? pick(probes.pictures) : [],
      texts: tower === 'text' ? pick(probes.texts) : [],
    },
    fp32: pick(fp32),
  };
}

/**
 * Measures each product of a tower by itself: one run of the probes for each.
 * @param tower its graph has every product in both precisions
 * @param products in the order of the graph's switches
 * @param onShare how much is done, from 0 to 1
 */
export async function measureProducts(
  { graphPath, embeddingDimension, threads, weights }: TowerGraph,
  products: readonly Product[],
  { probes, fp32 }: MeasuredProbes,
  onShare: (share: number) => void,
): Promise<readonly ProductError[]> {
  await using session = await openSession(graphPath, { threads, weights });
  const batches = [...pictureBatches(probes), ...textBatches(probes)];
  const measured: ProductError[] = [];
  for (const [place, product] of products.entries()) {
    const switches = new Uint8Array(products.length);
    switches[place] = 1;
    const inputs: Record<string, HostTensor> = {
      [SWITCHES]: { type: 'uint8', dims: [switches.length], data: switches },
    };
    const errors = new Float64Array(fp32.length);
    for (const batch of batches) {
      const embeddings = await embedBatch(session, batch, { embeddingDimension, inputs });
      batch.indices.forEach((index, row) => {
        const error = 1 - dot(embeddings[row], fp32[index]);
        // NaN is as bad as can be.
        errors[index] = Number.isFinite(error) ? Math.max(0, error) : 1;
      });
    }
    measured.push({ ...product, errors });
    onShare((place + 1) / products.length);
  }
  return measured;
}

/**
 * The fewest of the worst products without which the others stay within a share of what int8 may lose. Errors of
 * products are nearly independent, so their squares add up, and 1 − cosine is half of a square.
 * @param share of the limits, from 0 to 1
 */
export function worstProducts(measured: readonly ProductError[], share: number): readonly ProductError[] {
  const left = Float64Array.from(measured[0]?.errors ?? [], (_, probe) =>
    measured.reduce((sum, { errors }) => sum + errors[probe]!, 0),
  );
  const worst: ProductError[] = [];
  for (const product of measured.toSorted((one, other) => cost(other.errors) - cost(one.errors))) {
    if (cost(left) <= share) break;
    worst.push(product);
    for (const [probe, error] of product.errors.entries()) left[probe] = left[probe]! - error;
  }
  return worst;
}

/** How much of the limits errors use up: 1 for all of it. */
function cost(errors: Float64Array): number {
  const mean = errors.reduce((sum, error) => sum + error, 0) / errors.length;
  const largest = errors.reduce((most, error) => Math.max(most, error), 0);
  return Math.max(mean / (1 - LOWEST_MEAN_COSINE), largest / (1 - LOWEST_COSINE));
}
