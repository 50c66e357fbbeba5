import { invariant } from '../../errors.ts';
import type { Agreement, PrecisionReport } from '../graph/compiled-model.ts';
import type { Probes } from './probes.ts';

/** A precision's embeddings of the probes, in their order. */
export interface ProbeEmbeddings {
  /** [D] float32 each, L2-normalised. */
  readonly pictures: readonly Float32Array[];
  readonly texts: readonly Float32Array[];
}

/** int8 is as good as fp32 if its embeddings have nearly the same direction … */
export const LOWEST_MEAN_COSINE = 0.999;
export const LOWEST_COSINE = 0.997;
/** … and if it makes every choice that is clear to fp32 in the same way: among all labels, and among a handful. */
const LABELS_PER_CHOICE = 10;
/** The best label leads clearly if its score is e times the second's. */
const CLEAR_LOGIT_MARGIN = 1;

/** A comparison and its details, which explain the result. */
export interface Comparison {
  readonly report: PrecisionReport;
  readonly pictures: readonly { readonly picture: string; readonly cosine: number }[];
  readonly texts: readonly { readonly text: string; readonly cosine: number }[];
  /** Choices that are clear to fp32 and that int8 makes differently. */
  readonly disagreements: readonly {
    readonly picture: string;
    /** How many labels there were to choose from. */
    readonly labels: number;
    readonly fp32: string;
    readonly int8: string;
  }[];
}

/** Names of products that int8 computes in another way than the cheapest. */
interface CostlyProducts {
  /** Those in float32. */
  readonly fp32Products: readonly string[];
  /** Those with a scale for each row. */
  readonly rowProducts: readonly string[];
}

/** @param logitScale factor of cosines before the softmax */
export function comparePrecisions(
  { pictures, texts }: Probes,
  { fp32, int8 }: { readonly fp32: ProbeEmbeddings; readonly int8: ProbeEmbeddings },
  logitScale: number,
  { fp32Products, rowProducts }: CostlyProducts = { fp32Products: [], rowProducts: [] },
): Comparison {
  const pictureCosines = pictures.map(({ name }, index) => ({
    picture: name,
    cosine: cosineAt(fp32.pictures, int8.pictures, index),
  }));
  const textCosines = texts.map(({ text }, index) => ({
    text,
    cosine: cosineAt(fp32.texts, int8.texts, index),
  }));

  let clear = 0;
  const disagreements: Comparison['disagreements'][number][] = [];
  const textOf = (index: number) => texts[index]?.text ?? '';
  for (const [picture, { name }] of pictures.entries()) {
    const byFp32 = similarities(fp32, picture);
    const byInt8 = similarities(int8, picture);
    for (const choice of choices(texts.length)) {
      const [best, lead] = bestLabel(byFp32, choice);
      if (!(logitScale * lead >= CLEAR_LOGIT_MARGIN)) continue;
      clear++;
      const [found] = bestLabel(byInt8, choice);
      if (found === best) continue;
      disagreements.push({
        picture: name,
        labels: choice.end - choice.start,
        fp32: textOf(best),
        int8: textOf(found),
      });
    }
  }
  const report = judge({
    pictures: agreement(pictureCosines),
    texts: agreement(textCosines),
    bestLabels: { clear, agreeing: clear - disagreements.length },
    fp32Products: [...fp32Products],
    rowProducts: [...rowProducts],
  });
  return { report, pictures: pictureCosines, texts: textCosines, disagreements };
}

function judge(figures: Omit<PrecisionReport, 'accepted' | 'reasons'>): PrecisionReport {
  const { clear, agreeing } = figures.bestLabels;
  const reasons = (['pictures', 'texts'] as const).flatMap((kind) => {
    const { meanCosine, minCosine } = figures[kind];
    return [
      // NaN is not good enough either.
      ...(meanCosine >= LOWEST_MEAN_COSINE
        ? []
        : [`the mean cosine of ${kind} is ${meanCosine}, below ${LOWEST_MEAN_COSINE}`]),
      ...(minCosine >= LOWEST_COSINE
        ? []
        : [`the lowest cosine of ${kind} is ${minCosine}, below ${LOWEST_COSINE}`]),
    ];
  });
  if (agreeing < clear) reasons.push(`only ${agreeing} of ${clear} clear best labels agree`);
  return { ...figures, accepted: reasons.length === 0, reasons };
}

/** Whether a tower's embeddings are close enough. NaN is not. */
export function isClose({ meanCosine, minCosine }: Agreement): boolean {
  return meanCosine >= LOWEST_MEAN_COSINE && minCosine >= LOWEST_COSINE;
}

function agreement(cosines: readonly { readonly cosine: number }[]): Agreement {
  const values = cosines.map(({ cosine }) => cosine);
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  return { count: values.length, meanCosine: rounded(mean), minCosine: rounded(Math.min(...values)) };
}

/** Labels from `start` to before `end`. */
interface Choice {
  readonly start: number;
  readonly end: number;
}

function choices(labels: number): readonly Choice[] {
  const handfuls = Array.from({ length: Math.floor(labels / LABELS_PER_CHOICE) }, (_, index) => ({
    start: index * LABELS_PER_CHOICE,
    end: (index + 1) * LABELS_PER_CHOICE,
  }));
  return labels > LABELS_PER_CHOICE ? [{ start: 0, end: labels }, ...handfuls] : handfuls;
}

/** @returns the best label's index, and by how much its similarity is larger than the second's */
function bestLabel(similarity: Float64Array, { start, end }: Choice): [label: number, lead: number] {
  let [best, highest, second] = [start, Number.NEGATIVE_INFINITY, Number.NEGATIVE_INFINITY];
  for (let label = start; label < end; label++) {
    const value = similarity[label]!;
    if (value > highest) [best, highest, second] = [label, value, highest];
    else if (value > second) second = value;
  }
  return [best, highest - second];
}

/** A picture's cosine with each text. */
function similarities({ pictures, texts }: ProbeEmbeddings, picture: number): Float64Array {
  return Float64Array.from(texts, (text) => dot(pictures[picture], text));
}

/** Embeddings have length 1. */
function cosineAt(one: readonly Float32Array[], other: readonly Float32Array[], index: number): number {
  return rounded(dot(one[index], other[index]));
}

export function dot(one: Float32Array | undefined, other: Float32Array | undefined): number {
  invariant(one && other, 'a probe has no embedding');
  let sum = 0;
  for (let channel = 0; channel < one.length; channel++) sum += one[channel]! * other[channel]!;
  return sum;
}

/** Five digits; never 1.0000001 from float32's rounding. */
function rounded(cosine: number): number {
  return Math.min(1, Math.round(cosine * 1e5) / 1e5);
}
