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
const LOWEST_MEAN_COSINE = 0.99;
const LOWEST_COSINE = 0.98;
/** … and if it gives the same best label to nearly every picture with a clear one. */
const LOWEST_AGREEMENT = 0.99;

/** People sort by a handful of labels, not by hundreds. */
const LABELS_PER_CHOICE = 10;
/** The best label leads clearly if its score is e times the second's. */
const CLEAR_LOGIT_MARGIN = 1;

/** A comparison and its details, which explain the result. */
interface Comparison {
  readonly report: PrecisionReport;
  readonly pictures: readonly { readonly picture: string; readonly cosine: number }[];
  readonly texts: readonly { readonly text: string; readonly cosine: number }[];
  /** Choices that are clear to fp32 and that int8 makes differently. */
  readonly disagreements: readonly {
    readonly picture: string;
    readonly fp32: string;
    readonly int8: string;
  }[];
}

/** @param logitScale factor of cosines before the softmax */
export function comparePrecisions(
  { pictures, texts }: Probes,
  fp32: ProbeEmbeddings,
  int8: ProbeEmbeddings,
  logitScale: number,
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
  const disagreements: { picture: string; fp32: string; int8: string }[] = [];
  for (const [picture, { name }] of pictures.entries()) {
    for (let first = 0; first + LABELS_PER_CHOICE <= texts.length; first += LABELS_PER_CHOICE) {
      const [best, second] = bestLabels(fp32, picture, first);
      if (logitScale * (best.cosine - second.cosine) < CLEAR_LOGIT_MARGIN) continue;
      clear++;
      const [found] = bestLabels(int8, picture, first);
      if (found.text === best.text) continue;
      const textOf = (label: Label) => texts[label.text]?.text ?? '';
      disagreements.push({ picture: name, fp32: textOf(best), int8: textOf(found) });
    }
  }
  const report = judge({
    pictures: agreement(pictureCosines),
    texts: agreement(textCosines),
    bestLabels: { clear, agreeing: clear - disagreements.length },
  });
  return { report, pictures: pictureCosines, texts: textCosines, disagreements };
}

function judge(figures: Pick<PrecisionReport, 'pictures' | 'texts' | 'bestLabels'>): PrecisionReport {
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
  if (agreeing < LOWEST_AGREEMENT * clear) {
    reasons.push(
      `only ${agreeing} of ${clear} clear best labels agree, fewer than ${100 * LOWEST_AGREEMENT} %`,
    );
  }
  return { ...figures, accepted: reasons.length === 0, reasons };
}

function agreement(cosines: readonly { readonly cosine: number }[]): Agreement {
  const values = cosines.map(({ cosine }) => cosine);
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  return { count: values.length, meanCosine: rounded(mean), minCosine: rounded(Math.min(...values)) };
}

/** A text by its index, and its cosine with a picture. */
interface Label {
  readonly text: number;
  readonly cosine: number;
}

/** The best and the second of the labels from `first` on. */
function bestLabels({ pictures, texts }: ProbeEmbeddings, picture: number, first: number): [Label, Label] {
  const labels = Array.from({ length: LABELS_PER_CHOICE }, (_, offset) => ({
    text: first + offset,
    cosine: dot(pictures[picture], texts[first + offset]),
  })).toSorted((one, other) => other.cosine - one.cosine);
  return labels as unknown as [Label, Label];
}

/** Embeddings have length 1. */
function cosineAt(one: readonly Float32Array[], other: readonly Float32Array[], index: number): number {
  return rounded(dot(one[index], other[index]));
}

function dot(one: Float32Array | undefined, other: Float32Array | undefined): number {
  invariant(one && other, 'a probe has no embedding');
  return one.reduce((sum, value, channel) => sum + value * other[channel]!, 0);
}

/** Five digits; never 1.0000001 from float32's rounding. */
function rounded(cosine: number): number {
  return Math.min(1, Math.round(cosine * 1e5) / 1e5);
}
