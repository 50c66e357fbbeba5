import * as v from 'valibot';

/** What the compile process is told, as JSON in its first argument. */
export const compileJobSchema = v.object({
  /** A checkpoint file; absent: the demo model. */
  checkpointPath: v.optional(v.string()),
  name: v.string(),
  sha256: v.string(),
  precision: v.picklist(['auto', 'fp32', 'int8']),
  /** An empty folder for the graphs. */
  directory: v.string(),
});
export type CompileJob = v.InferOutput<typeof compileJobSchema>;

/** What the compile process says on its standard output, a JSON line each; the last word is `done` or `failed`. */
export const compileMessageSchema = v.variant('kind', [
  v.object({ kind: v.literal('progress'), percent: v.number() }),
  v.object({ kind: v.literal('done') }),
  v.object({
    kind: v.literal('failed'),
    /** Whose fault it is: the checkpoint's, the folder's, or ours. */
    fault: v.picklist(['checkpoint', 'storage', 'internal']),
    message: v.string(),
    /** The file system's word, where it has one. */
    errno: v.optional(v.string()),
  }),
]);
export type CompileMessage = v.InferOutput<typeof compileMessageSchema>;
