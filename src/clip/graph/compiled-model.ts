import { open, readFile, rename } from 'node:fs/promises';
import { join } from 'node:path';
import { crc32 } from 'node:zlib';
import * as v from 'valibot';
import type { ClipArchitecture } from '../architecture.ts';

const tally = v.pipe(v.number(), v.integer(), v.minValue(0));
const cosine = v.pipe(v.number(), v.minValue(-1), v.maxValue(1));

const agreementSchema = v.object({
  count: tally,
  /** Cosine of int8's embedding and fp32's, averaged over all of them. */
  meanCosine: cosine,
  /** The lowest of these cosines. */
  minCosine: cosine,
});

/** How int8 compares with fp32 on the weights at hand, as part of a compiled model's `model.json`. */
const precisionReportSchema = v.object({
  pictures: agreementSchema,
  texts: agreementSchema,
  /** A picture's best label among ten, where fp32 puts it clearly before the second. */
  bestLabels: v.object({
    /** How many there were. */
    clear: tally,
    /** In how many of them int8 says the same. */
    agreeing: tally,
  }),
  /** Whether int8 is as good as fp32 by all limits. */
  accepted: v.boolean(),
  /** A clause for each limit that was missed. */
  reasons: v.array(v.string()),
});

/** Agreement of one tower's embeddings. */
export type Agreement = Readonly<v.InferOutput<typeof agreementSchema>>;
export type PrecisionReport = Readonly<v.InferOutput<typeof precisionReportSchema>>;

const fileChecksumSchema = v.object({
  /** In bytes. */
  size: v.pipe(v.number(), v.integer(), v.minValue(0)),
  crc32: v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(2 ** 32 - 1)),
});

/** What a file's content is known by: enough to notice damage, no proof against intent. */
type FileChecksum = Readonly<v.InferOutput<typeof fileChecksumSchema>>;

/** Large enough to cost few reads, small enough not to hold up a request. */
const BLOCK_BYTES = 2 ** 20;

/** Takes 0.1 s for the 180 MB of a ViT-B/32 in int8, most of it for reading. */
export async function fileChecksum(path: string): Promise<FileChecksum> {
  await using file = await open(path, 'r');
  const block = new Uint8Array(BLOCK_BYTES);
  let sum = 0;
  for (let size = 0; ; ) {
    const { bytesRead } = await file.read(block, 0, BLOCK_BYTES, size);
    if (bytesRead === 0) return { size, crc32: sum };
    sum = crc32(block.subarray(0, bytesRead), sum);
    size += bytesRead;
  }
}

/**
 * Writes a new file. Returns when the content stands on the disk.
 * @throws when the file exists already
 */
export async function writeDurably(path: string, content: string | Uint8Array): Promise<void> {
  const file = await open(path, 'wx');
  try {
    await file.writeFile(content);
    await file.datasync();
  } finally {
    await file.close();
  }
}

/**
 * Goes up whenever the graphs built from the same weights change, or what is written beside them: older compiled
 * models are not read.
 */
export const BUILDER_VERSION = 4;

export type Precision = 'fp32' | 'int8';

/** `auto`: int8 where it answers as fp32 does, fp32 otherwise. */
export type PrecisionSetting = Precision | 'auto';

/** What stands in a compiled model's `model.json`, beside its two graphs. */
export interface CompiledModelDescription {
  /** Name a person knows it by: `ViT-B/32`, `demo`, or the checkpoint's file name. */
  readonly name: string;
  /** sha256 of the checkpoint file, hex. */
  readonly sha256: string;
  readonly precision: Precision;
  readonly builderVersion: number;
  /** Name of the model family that built the graphs, and that tokenizes, places pictures and scores for them. */
  readonly family: string;
  readonly architecture: ClipArchitecture;
  /** exp(logit_scale): cosines are multiplied with it before the softmax. */
  readonly logitScale: number;
  /** How int8 compares with fp32 on these weights; absent where fp32 was asked for and nothing compared. */
  readonly precisionReport?: PrecisionReport;
}

/** A compiled model on disk: ONNX files that may refer to weight files beside them. */
export interface CompiledModel extends CompiledModelDescription {
  /** Input `pixels` uint8 [N, S, S, 3]; output `embeddings` float32 [N, D], L2-normalised. */
  readonly visionGraphPath: string;
  /** Input `input_ids` int32 [N, L], L ≤ contextLength; output `embeddings` float32 [N, D], L2-normalised. */
  readonly textGraphPath: string;
}

/** Names inside a compiled model's folder. */
export const DESCRIPTION_FILE = 'model.json';
export const graphFiles = {
  vision: { graph: 'vision.onnx', weights: 'vision.weights' },
  text: { graph: 'text.onnx', weights: 'text.weights' },
} as const;
/** The graphs' observed form, where it was asked for: only needed while compiling. */
export const observedGraphFiles = { vision: 'vision.observed.onnx', text: 'text.observed.onnx' } as const;

/** A folder that holds no compiled model of this builder, or not all of one: it is to be compiled anew. */
export class CompiledModelError extends Error {
  override readonly name = 'CompiledModelError';
}

const count = v.pipe(v.number(), v.integer(), v.minValue(1));
const channels = v.pipe(v.tuple([v.number(), v.number(), v.number()]), v.readonly());

const descriptionSchema = v.object({
  name: v.string(),
  sha256: v.pipe(v.string(), v.hash(['sha256'])),
  precision: v.picklist(['fp32', 'int8']),
  builderVersion: v.literal(BUILDER_VERSION),
  /** Absent in models that were compiled before there was a second family to tell from. */
  family: v.optional(v.string(), 'clip'),
  architecture: v.object({
    embeddingDimension: count,
    activation: v.picklist(['quick_gelu', 'gelu']),
    vision: v.object({
      imageResolution: count,
      patchSize: count,
      width: count,
      layers: count,
      heads: count,
      normalisation: v.exactOptional(v.object({ mean: channels, deviation: channels })),
    }),
    text: v.object({
      contextLength: count,
      vocabularySize: count,
      width: count,
      layers: count,
      heads: count,
    }),
  }),
  logitScale: v.pipe(v.number(), v.finite()),
  precisionReport: v.exactOptional(precisionReportSchema),
  /** A damaged file must be noticed before ONNX Runtime maps it: it may answer wrongly, or end the process. */
  files: v.object({
    [graphFiles.vision.graph]: fileChecksumSchema,
    [graphFiles.vision.weights]: fileChecksumSchema,
    [graphFiles.text.graph]: fileChecksumSchema,
    [graphFiles.text.weights]: fileChecksumSchema,
  }),
});

/** The content of `model.json`. */
export type StoredDescription = CompiledModelDescription & v.InferOutput<typeof descriptionSchema>;

/**
 * Opens a compiled model's folder.
 * @throws CompiledModelError when the folder holds none, one of another builder version, or a damaged one
 */
export async function readCompiledModel(directory: string): Promise<CompiledModel> {
  const { files, ...description } = await readDescription(join(directory, DESCRIPTION_FILE));
  for (const [name, expected] of Object.entries(files)) {
    const path = join(directory, name);
    const found = await fileChecksum(path).catch((cause: unknown) => {
      throw new CompiledModelError(`${path} cannot be read`, { cause });
    });
    if (found.size !== expected.size) {
      throw new CompiledModelError(`${path} has ${found.size} bytes, expected ${expected.size}`);
    }
    if (found.crc32 !== expected.crc32) {
      throw new CompiledModelError(`${path} is damaged: it is not what was written`);
    }
  }
  return {
    ...description,
    visionGraphPath: join(directory, graphFiles.vision.graph),
    textGraphPath: join(directory, graphFiles.text.graph),
  };
}

/** Adds a report to the description of a compiled model that nobody reads yet. */
export async function addPrecisionReport(directory: string, precisionReport: PrecisionReport): Promise<void> {
  const path = join(directory, DESCRIPTION_FILE);
  const description: StoredDescription = { ...(await readDescription(path)), precisionReport };
  await writeDurably(`${path}.new`, `${JSON.stringify(description, null, 2)}\n`);
  await rename(`${path}.new`, path);
}

async function readDescription(path: string): Promise<v.InferOutput<typeof descriptionSchema>> {
  let content: unknown;
  try {
    content = JSON.parse(await readFile(path, 'utf8'));
  } catch (cause) {
    throw new CompiledModelError(`${path} cannot be read`, { cause });
  }
  const parsed = v.safeParse(descriptionSchema, content);
  if (!parsed.success) {
    const faults = parsed.issues.map((issue) => `${v.getDotPath(issue) ?? 'the document'}: ${issue.message}`);
    throw new CompiledModelError(`${path} does not describe a compiled model: ${faults.join('; ')}`);
  }
  return parsed.output;
}
