import * as v from 'valibot';

const count = v.pipe(v.number(), v.integer(), v.minValue(0));
const cosine = v.pipe(v.number(), v.minValue(-1), v.maxValue(1));

const agreementSchema = v.object({
  count,
  /** Cosine of int8's embedding and fp32's, averaged over all of them. */
  meanCosine: cosine,
  /** The lowest of these cosines. */
  minCosine: cosine,
});

/** How int8 compares with fp32 on the weights at hand, as part of a compiled model's `model.json`. */
export const precisionReportSchema = v.object({
  pictures: agreementSchema,
  texts: agreementSchema,
  /** A picture's best label among ten, where fp32 puts it clearly before the second. */
  bestLabels: v.object({
    /** How many there were. */
    clear: count,
    /** In how many of them int8 says the same. */
    agreeing: count,
  }),
  /** Whether int8 is as good as fp32 by all limits. */
  accepted: v.boolean(),
  /** A clause for each limit that was missed. */
  reasons: v.array(v.string()),
});

/** Agreement of one tower's embeddings. */
export type Agreement = Readonly<v.InferOutput<typeof agreementSchema>>;
export type PrecisionReport = Readonly<v.InferOutput<typeof precisionReportSchema>>;
