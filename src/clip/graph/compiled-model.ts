import { readFile, rename } from 'node:fs/promises';
import { join } from 'node:path';
import * as v from 'valibot';
import type { ClipArchitecture } from '../architecture.ts';
import { writeDurably } from './durable-file.ts';
import { fileChecksum, fileChecksumSchema } from './file-checksum.ts';
import { type PrecisionReport, precisionReportSchema } from './precision-report.ts';

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
