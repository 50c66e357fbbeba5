import { type HostTensor, openSession } from '../../../native/onnx/session.ts';
import { type Product, SWITCHES } from '../graph/linear.ts';
import { dot, LOWEST_COSINE, LOWEST_MEAN_COSINE } from './compare-precisions.ts';
import { embedBatch, pictureBatches, type TowerGraph, textBatches } from './encode-probes.ts';
import type { Probes } from './probes.ts';

/** What int8 costs in a block, or in one product, with all else in float32. */
export interface Measured {
  /** Of the block or the product. */
  readonly name: string;
  readonly products: readonly Product[];
  /** 1 − cosine with the embedding in float32, of each probe. */
  readonly errors: Float64Array;
}

/**
 * Enough to find bad products: half of them are those that int8 has moved most. The chosen products are judged by all
 * probes afterwards.
 */
const PICTURES = 8;
const TEXTS = 16;

/** Probes of one tower, and their embeddings. */
interface TowerProbes {
  readonly probes: Probes;
  /** Embeddings in float32. */
  readonly fp32: readonly Float32Array[];
  /** Cosines of int8's embeddings with those. */
  readonly cosines: readonly number[];
}

/** Some of the probes of one tower. */
export function someProbes(tower: 'vision' | 'text', { probes, fp32, cosines }: TowerProbes): TowerProbes {
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
    cosines: pick(cosines),
  };
}

/** Products of one tower, and the graph that has each of them in both precisions. */
interface SwitchedProducts {
  readonly tower: TowerGraph;
  /** In the order of the graph's switches. */
  readonly products: readonly Product[];
  /** Names of products that stay in float32. */
  readonly kept: ReadonlySet<string>;
}

/** The share of what int8 may lose that blocks may lose whose products are not measured one by one. */
const UNMEASURED_SHARE = 1 / 4;

/**
 * Finds the fewest products without which the others stay within a share of what int8 may lose. First each block is
 * measured, then each product of the worst blocks: about 30 runs of the probes for ViT-B/32, not 73.
 * @param share of the limits, from 0 to 1
 * @param onShare how much is done, from 0 to 1
 * @returns all that was measured, and the products
 */
export async function findWorstProducts(
  { tower, products, kept }: SwitchedProducts,
  { probes, fp32, cosines }: TowerProbes,
  share: number,
  onShare: (share: number) => void,
): Promise<{ readonly measured: readonly Measured[]; readonly worst: readonly Product[] }> {
  await using session = await openSession(tower.graphPath, tower);
  const batches = [...pictureBatches(probes), ...textBatches(probes)];
  const errorsOf = async (inInt8: readonly Product[]) => {
    const switches = Uint8Array.from(products, (product) => (inInt8.includes(product) ? 1 : 0));
    const inputs: Record<string, HostTensor> = {
      [SWITCHES]: { type: 'uint8', dims: [switches.length], data: switches },
    };
    const errors = new Float64Array(fp32.length);
    for (const batch of batches) {
      const embeddings = await embedBatch(session, batch, { ...tower, inputs });
      batch.indices.forEach((index, row) => {
        errors[index] = errorOf(dot(embeddings[row], fp32[index]));
      });
    }
    return errors;
  };
  const measure = async (
    parts: readonly Omit<Measured, 'errors'>[],
    onPart: (share: number) => void,
  ): Promise<readonly Measured[]> => {
    const measured: Measured[] = [];
    for (const part of parts) {
      measured.push({ ...part, errors: await errorsOf(part.products) });
      onPart(measured.length / parts.length);
    }
    return measured;
  };

  const actual = cost(Float64Array.from(cosines, errorOf));
  // If errors together are larger than their sum, the sum must become smaller.
  const limitOf = (parts: readonly Measured[], others?: Float64Array) =>
    share * Math.min(1, cost(sumOf(parts, others)) / Math.max(1, actual));

  const byBlock = Map.groupBy(
    products.filter(({ name }) => !kept.has(name)),
    ({ name }) => blockOf(name),
  );
  const blocks = await measure(
    Array.from(byBlock, ([name, members]) => ({ name, products: members })),
    (done) => onShare(done / 2),
  );
  const { worst: badBlocks, left } = withoutWorst(blocks, limitOf(blocks) * UNMEASURED_SHARE);
  const suspects = badBlocks.flatMap((block) => block.products);
  const single = await measure(
    suspects.map((product) => ({ name: product.name, products: [product] })),
    (done) => onShare((1 + done) / 2),
  );
  const { worst } = withoutWorst(single, limitOf(single, left), left);
  onShare(1);
  return { measured: [...blocks, ...single], worst: worst.flatMap((part) => part.products) };
}

/** `visual.transformer.resblocks.3`; products outside of the blocks are their own. */
function blockOf(product: string): string {
  return /^.*\bresblocks\.\d+/.exec(product)?.[0] ?? product;
}

/** NaN is as bad as can be. */
function errorOf(cosine: number): number {
  return Number.isFinite(cosine) ? Math.max(0, 1 - cosine) : 1;
}

/**
 * The fewest of the worst parts without which the others stay within a limit. Errors are nearly
 * independent, so their squares add up, and 1 − cosine is half of a square.
 * @param others errors of what is not among the parts
 * @returns them, and the errors that are left, of each probe
 */
function withoutWorst(
  parts: readonly Measured[],
  limit: number,
  others?: Float64Array,
): { readonly worst: readonly Measured[]; readonly left: Float64Array } {
  const left = sumOf(parts, others);
  const worst: Measured[] = [];
  for (const part of parts.toSorted((one, other) => cost(other.errors) - cost(one.errors))) {
    if (cost(left) <= limit) break;
    worst.push(part);
    for (const [probe, error] of part.errors.entries()) left[probe] = left[probe]! - error;
  }
  return { worst, left };
}

function sumOf(parts: readonly Measured[], others?: Float64Array): Float64Array {
  return Float64Array.from(parts[0]?.errors ?? others ?? [], (_, probe) =>
    parts.reduce((sum, { errors }) => sum + errors[probe]!, others?.[probe] ?? 0),
  );
}

/** How much of the limits errors use up: 1 for all of it. */
function cost(errors: Float64Array): number {
  const mean = errors.reduce((sum, error) => sum + error, 0) / errors.length;
  const largest = errors.reduce((most, error) => Math.max(most, error), 0);
  return Math.max(mean / (1 - LOWEST_MEAN_COSINE), largest / (1 - LOWEST_COSINE));
}
