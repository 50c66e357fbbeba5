import { type HostTensor, openSession } from '../../../native/onnx/session.ts';
import { type Product, SWITCHES, Switch } from '../graph/linear.ts';
import { dot, LOWEST_COSINE, LOWEST_MEAN_COSINE } from './compare-precisions.ts';
import { embedBatch, pictureBatches, type TowerGraph, textBatches } from './encode-probes.ts';
import type { Probes } from './probes.ts';

/** What int8 costs in a block, or in one product, with all else in float32. */
export interface Measured {
  /** Of the block or the product. */
  readonly name: string;
  readonly products: readonly Product[];
  /** Whether products are rounded row by row that have a fixed scale. */
  readonly byRows: boolean;
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
  /** By name: products that are rounded row by row although they have a fixed scale, or stay in float32. */
  readonly exceptions: ReadonlyMap<string, Exception>;
}

/** How a product is computed that would lose too much in a fixed scale. */
export type Exception = 'rows' | 'fp32';

/** What was measured, and the products that lose too much. */
export interface WorstProducts {
  readonly measured: readonly Measured[];
  /** Products that lose too much, and what suffices to make each of them good enough. */
  readonly worst: ReadonlyMap<Product, Exception>;
}

/** The share of what int8 may lose that blocks may lose whose products are not measured one by one. */
const UNMEASURED_SHARE = 1 / 4;

/**
 * Finds the fewest products without which the others stay within a share of what int8 may lose. First each block is
 * measured, then each product of the worst blocks: about 30 runs of the probes for ViT-B/32, not 73. Those of the worst
 * products that have a fixed scale are measured again with a scale for each row, which may be enough.
 * @param share of the limits, from 0 to 1
 * @param onShare how much is done, from 0 to 1
 */
export async function findWorstProducts(
  { tower, products, exceptions }: SwitchedProducts,
  { probes, fp32, cosines }: TowerProbes,
  share: number,
  onShare: (share: number) => void,
): Promise<WorstProducts> {
  await using session = await openSession(tower.graphPath, tower);
  const batches = [...pictureBatches(probes), ...textBatches(probes)];
  const hasRows = ({ name, hasFixed }: Product) => !hasFixed || exceptions.get(name) === 'rows';
  const errorsOf = async (inInt8: readonly Product[], byRows: boolean) => {
    const switches = Uint8Array.from(products, (product) => {
      if (!inInt8.includes(product)) return Switch.fp32;
      return byRows || hasRows(product) ? Switch.rows : Switch.fixed;
    });
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
      measured.push({ ...part, errors: await errorsOf(part.products, part.byRows) });
      onPart(measured.length / parts.length);
    }
    return measured;
  };

  const actual = cost(Float64Array.from(cosines, errorOf));
  // If errors together are larger than their sum, the sum must become smaller.
  const limitOf = (parts: readonly Measured[], others?: Float64Array) =>
    share * Math.min(1, cost(sumOf(parts, others)) / Math.max(1, actual));

  const byBlock = Map.groupBy(
    products.filter(({ name }) => exceptions.get(name) !== 'fp32'),
    ({ name }) => blockOf(name),
  );
  const blocks = await measure(
    Array.from(byBlock, ([name, members]) => ({ name, products: members, byRows: false })),
    (done) => onShare(0.5 * done),
  );
  const { worst: badBlocks, left } = withoutWorst(blocks, limitOf(blocks) * UNMEASURED_SHARE);
  const suspects = badBlocks.flatMap((block) => block.products);
  const single = await measure(
    suspects.map((product) => ({ name: product.name, products: [product], byRows: false })),
    (done) => onShare(0.5 + 0.4 * done),
  );
  const limit = limitOf(single, left);
  const worstAsTheyAre = withoutWorst(single, limit, left);
  const lossy = worstAsTheyAre.worst.flatMap((part) => part.products);
  const rowByRow = await measure(
    lossy
      .filter((product) => !hasRows(product))
      .map((product) => ({ name: product.name, products: [product], byRows: true })),
    (done) => onShare(0.9 + 0.1 * done),
  );
  const inFp32 = withoutWorst(rowByRow, limit, worstAsTheyAre.left).worst.flatMap((part) => part.products);
  const worst = new Map(
    lossy.map(
      (product) => [product, hasRows(product) || inFp32.includes(product) ? 'fp32' : 'rows'] as const,
    ),
  );
  onShare(1);
  return { measured: [...blocks, ...single, ...rowByRow], worst };
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
