import { open, readFile, rename } from 'node:fs/promises';
import { join } from 'node:path';
import { crc32 } from 'node:zlib';
import * as v from 'valibot';
import { precisions } from '../../precision.ts';
import { architectureSchema } from '../architecture.ts';

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
  /** A picture's best label among all, and among each ten, if fp32 puts it clearly before the second. */
  bestLabels: v.object({
    /** Choices that are clear to fp32. */
    clear: tally,
    /** Those of them that int8 makes in the same way. */
    agreeing: tally,
  }),
  /** Matrix products that stay in float32, because int8 would lose too much in them. Names as in the graph. */
  fp32Products: v.array(v.string()),
  /** Matrix products in int8 with a scale for each row, because one scale for all would lose too much in them. */
  rowProducts: v.array(v.string()),
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
  size: tally,
  crc32: v.pipe(tally, v.maxValue(2 ** 32 - 1)),
});

/** Identifies a file's content: it shows damage, but does not protect against a deliberate change. */
type FileChecksum = Readonly<v.InferOutput<typeof fileChecksumSchema>>;

/** Large enough for few reads, small enough not to delay a request. */
const BLOCK_BYTES = 2 ** 20;

/** Takes 0.1 s for the 180 MB of a ViT-B/32 in int8, mostly for reading. */
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
 * Writes a new file. Returns when the content is on the disk.
 * @throws Error if the file exists already
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

/** Increases whenever the files compiled from the same weights change. Older compiled models are not read. */
export const BUILDER_VERSION = 6;

/** Names inside a compiled model's folder. */
export const DESCRIPTION_FILE = 'model.json';
export const graphFiles = {
  vision: { graph: 'vision.onnx', weights: 'vision.weights' },
  text: { graph: 'text.onnx', weights: 'text.weights' },
} as const;
/** The graphs' observed form, which only compiling needs. */
export const observedGraphFiles = { vision: 'vision.observed.onnx', text: 'text.observed.onnx' } as const;

/** A folder without a complete compiled model of this builder version. */
export class CompiledModelError extends Error {
  override readonly name = 'CompiledModelError';
}

const descriptionSchema = v.object({
  /** Name for people: `ViT-B/32`, `demo`, or the checkpoint's file name. */
  name: v.string(),
  /** sha256 of the checkpoint file, hex. */
  sha256: v.pipe(v.string(), v.hash(['sha256'])),
  precision: v.picklist(precisions),
  builderVersion: v.literal(BUILDER_VERSION),
  /** Name of the model family that built the graphs. Absent in models of earlier versions, which knew only CLIP. */
  family: v.optional(v.string(), 'clip'),
  architecture: v.pipe(architectureSchema, v.readonly()),
  /** exp(logit_scale): cosines are multiplied by it before the softmax. */
  logitScale: v.pipe(v.number(), v.finite()),
  /** Absent if fp32 was asked for, and nothing was compared. */
  precisionReport: v.exactOptional(precisionReportSchema),
  /** ONNX Runtime may answer wrongly, or end the process, if it maps a damaged file. */
  files: v.object({
    [graphFiles.vision.graph]: fileChecksumSchema,
    [graphFiles.vision.weights]: fileChecksumSchema,
    [graphFiles.text.graph]: fileChecksumSchema,
    [graphFiles.text.weights]: fileChecksumSchema,
  }),
});

/** The content of `model.json`. */
export type StoredDescription = Readonly<v.InferOutput<typeof descriptionSchema>>;
/** What `model.json` says about a model, without the checksums of its files. */
export type CompiledModelDescription = Omit<StoredDescription, 'files'>;

/** A compiled model on disk: ONNX files and the weight files beside them. */
export interface CompiledModel extends CompiledModelDescription {
  /** Input `pixels` uint8 [N, S, S, 3]; output `embeddings` float32 [N, D], L2-normalised. */
  readonly visionGraphPath: string;
  /** Input `input_ids` int32 [N, L], L ≤ contextLength; output `embeddings` float32 [N, D], L2-normalised. */
  readonly textGraphPath: string;
}

/**
 * Opens a compiled model's folder.
 * @throws CompiledModelError if the model is absent, damaged or of another builder version
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
      throw new CompiledModelError(`${path} is damaged: its checksum differs`);
    }
  }
  return {
    ...description,
    visionGraphPath: join(directory, graphFiles.vision.graph),
    textGraphPath: join(directory, graphFiles.text.graph),
  };
}

/** Adds a report to the description of a compiled model that is still private to the compiling process. */
export async function addPrecisionReport(directory: string, precisionReport: PrecisionReport): Promise<void> {
  const path = join(directory, DESCRIPTION_FILE);
  const description = { ...(await readDescription(path)), precisionReport };
  await writeDurably(`${path}.new`, `${JSON.stringify(description, null, 2)}\n`);
  await rename(`${path}.new`, path);
}

async function readDescription(path: string): Promise<StoredDescription> {
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
