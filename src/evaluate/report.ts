import * as v from 'valibot';
import { precisions } from '../precision.ts';

const number = v.pipe(v.number(), v.integer(), v.minValue(0));
const share = v.pipe(v.number(), v.minValue(0), v.maxValue(1));

/** Right answers of all photos that have a category. */
const accuracySchema = v.object({
  right: number,
  /** null: there are no photos with a category */
  accuracy: v.nullable(share),
  /** Wilson's interval of 95 %. */
  low: share,
  high: share,
});

/** Photos that were taken for this category. */
const takenSchema = v.object({ category: v.string(), photos: number });

const thresholdSchema = v.object({
  /** Whether scores are comparisons with the background. */
  others: v.boolean(),
  /**
   * Which threshold this is. `default`: the one without `--threshold`. `max_wrong`: the lowest at which at most the
   * accepted share of answers is wrong. `f1`: the one with the highest F1.
   */
  rule: v.picklist(['default', 'max_wrong', 'f1']),
  threshold: share,
  right: number,
  /** Wrong answers, those for photos of no category included. */
  wrong: number,
  /** Photos without an answer. */
  unanswered: number,
  /** Photos of no category among them: those that are answered as they should be. */
  none_unanswered: number,
  /** Of the given answers; null without answers. */
  wrong_share: v.nullable(share),
  /** Wilson's interval of 95 % for it. */
  wrong_low: share,
  wrong_high: share,
  f1: share,
});

const configuration = {
  precision: v.picklist(precisions),
  fit: v.string(),
  /** `none`, `photo`, `ensemble`, or a sentence. */
  template: v.string(),
};

const resultSchema = v.object({
  ...configuration,
  ...accuracySchema.entries,
  /** Photos whose category is among the best five; null with fewer than ten categories. */
  top_5: v.nullable(accuracySchema),
  /** The accuracy in each category, averaged over categories; null without photos. */
  mean_category_accuracy: v.nullable(share),
  /** In the order of the categories. */
  categories: v.array(
    v.object({
      category: v.string(),
      photos: number,
      right: number,
      /** Most frequent first. */
      taken_for: v.array(takenSchema),
    }),
  ),
  /** The best category of each photo of no category, whatever its score. */
  none_taken_for: v.array(takenSchema),
  thresholds: v.array(thresholdSchema),
});

const changesSchema = v.object({
  fit: v.string(),
  template: v.string(),
  /** Photos whose best category differs, those of no category included. */
  changed: number,
  /** Right in fp32, wrong in int8. */
  right_to_wrong: number,
  /** Wrong in fp32, right in int8. */
  wrong_to_right: number,
  /** Wrong in both, or of no category. */
  wrong_to_wrong: number,
  /** McNemar's exact test: the probability of such a difference by chance alone. */
  p_value: share,
});

/** What `--json` and `--output` write. */
export const reportSchema = v.object({
  folder: v.string(),
  model: v.object({ name: v.string(), sha256: v.string() }),
  /** Why fewer precisions were measured than asked for; null if all were. */
  precision_note: v.nullable(v.string()),
  /** Photos with a category that were measured. */
  photos: number,
  /** Photos of no category that were measured. */
  none_photos: number,
  /** The share of the largest category: what one answer for all photos would reach. */
  largest_category: v.nullable(v.object({ category: v.string(), share })),
  unreadable: v.array(v.object({ file: v.string(), code: v.string(), error: v.string() })),
  passes: v.array(
    v.object({
      precision: configuration.precision,
      fit: configuration.fit,
      photos: number,
      /** Decoding and encoding, without loading the model. */
      seconds: v.pipe(v.number(), v.minValue(0)),
    }),
  ),
  /** The accepted share of wrong answers. */
  max_wrong: share,
  results: v.array(resultSchema),
  /** Empty if one precision was measured. */
  int8_changes: v.array(changesSchema),
  /** Categories that mean almost the same to the model, most similar first. */
  similar_categories: v.array(
    v.object({
      categories: v.tuple([v.string(), v.string()]),
      /** Cosine. */
      similarity: v.pipe(v.number(), v.minValue(-1), v.maxValue(1)),
    }),
  ),
  recommended: v.object({
    ...configuration,
    /** The threshold that is recommended; its `rule` says why. */
    ...thresholdSchema.entries,
    /** For the command line. Empty: the defaults. */
    options: v.array(v.string()),
    /** Environment variables, as `CLIP_PRECISION=fp32`. Empty: as they are. */
    settings: v.array(v.string()),
    /** Right answers with the default precision, fit and template; null if they were not measured. */
    default_right: v.nullable(number),
    /** McNemar's exact test of the difference from the default; null if there is none. */
    p_value: v.nullable(share),
  }),
  /** The wrong answers with the recommended fit and template, highest score first. */
  wrong: v.array(
    v.object({
      file: v.string(),
      /** null: it belongs to no category */
      category: v.nullable(v.string()),
      answer: v.string(),
      score: share,
    }),
  ),
});

export type Report = v.InferOutput<typeof reportSchema>;
export type Result = Report['results'][number];
export type Threshold = Result['thresholds'][number];
export type Accuracy = v.InferOutput<typeof accuracySchema>;
export type Int8Changes = Report['int8_changes'][number];
export type Recommended = Report['recommended'];
