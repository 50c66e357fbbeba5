import { architectureFromShapes } from './architecture-from-shapes.ts';
import type { Checkpoint, CheckpointLayout } from './checkpoint.ts';
import { CheckpointError } from './checkpoint-error.ts';
import { CheckpointFile } from './checkpoint-file.ts';
import {
  locateWeights,
  requireDecisiveWeights,
  shapeInFile,
  someNames,
  withoutWrapperPrefix,
} from './clip-weights.ts';
import { detectFileKind } from './file-kind.ts';
import { type HuggingFaceConfig, readHuggingFaceConfig } from './hugging-face-config.ts';
import { huggingFaceNaming } from './hugging-face-names.ts';
import { readSafetensors } from './safetensors.ts';
import { type StoredTensor, TensorReader } from './stored-tensor.ts';
import { readTorchArchive, type TensorCollection } from './torch-archive.ts';
import { referenceNaming } from './weight-names.ts';

/** Every CLIP has it, also those with a ResNet: it tells the layout. */
const ANCHOR = 'token_embedding.weight';
const HUGGING_FACE_ANCHOR = huggingFaceNaming.source(ANCHOR).names[0]!;

/** The reference's own files do not say it; all of them were trained with it. */
const openaiConfig: HuggingFaceConfig = {
  activation: 'quick_gelu',
  visionHeads: undefined,
  textHeads: undefined,
};

/**
 * Opens a CLIP checkpoint: OpenAI's TorchScript archive, a `state_dict` with the same names, or Hugging Face's
 * CLIPModel as safetensors or `pytorch_model.bin`. How the file is read is told from its content. Nothing in it
 * is ever run, and its weights stay there until they are read one by one; dispose of it afterwards.
 * @throws CheckpointError with one sentence for the operator: the file, and what is wrong with it
 */
export async function openCheckpoint(path: string): Promise<Checkpoint> {
  let file: CheckpointFile | undefined;
  try {
    file = new CheckpointFile(path);
    return describe(file);
  } catch (error) {
    file?.[Symbol.dispose]();
    if (!(error instanceof CheckpointError)) throw error;
    throw new CheckpointError(`The checkpoint ${path} cannot be used: ${error.message}.`, { cause: error });
  }
}

function describe(file: CheckpointFile): Checkpoint {
  const { container, tensors: stored } = readTensors(file);
  const tensors = withoutWrapperPrefix(stored, [ANCHOR, HUGGING_FACE_ANCHOR]);
  const isHuggingFace = tensors.has(HUGGING_FACE_ANCHOR);
  refuseOtherModels(tensors, isHuggingFace);

  const layout: CheckpointLayout = isHuggingFace ? 'huggingface' : container;
  const naming = isHuggingFace ? huggingFaceNaming : referenceNaming;
  const config = isHuggingFace ? readHuggingFaceConfig(file.path) : openaiConfig;
  requireDecisiveWeights(tensors, naming);
  const architecture = architectureFromShapes({
    ...config,
    shapeOf: (name) => shapeInFile(name, tensors, naming),
    visionLayers: countLayers(tensors, naming.visionLayer),
    textLayers: countLayers(tensors, naming.textLayer),
  });
  const weights = locateWeights(architecture, tensors, naming, new TensorReader(file));
  return { layout, architecture, weights, [Symbol.dispose]: () => file[Symbol.dispose]() };
}

function readTensors(file: CheckpointFile): TensorCollection {
  switch (detectFileKind(file)) {
    case 'zip':
      return readTorchArchive(file);
    case 'safetensors':
      return { container: 'state_dict', tensors: readSafetensors(file) };
  }
}

function refuseOtherModels(tensors: ReadonlyMap<string, StoredTensor>, isHuggingFace: boolean): void {
  if (tensors.has('visual.layer1.0.conv1.weight')) {
    throw new CheckpointError(
      'it is a CLIP with a ResNet (RN50 and its kin); those with a vision transformer are read, such as ViT-B/32',
    );
  }
  if (!isHuggingFace && !tensors.has(ANCHOR)) {
    throw new CheckpointError(
      `it holds ${tensors.size} tensors (${someNames(tensors)}, …), but neither ${ANCHOR} nor ` +
        `${HUGGING_FACE_ANCHOR}, one of which every CLIP has`,
    );
  }
}

function countLayers(tensors: ReadonlyMap<string, StoredTensor>, pattern: RegExp): number {
  const layers = new Set<string>();
  for (const name of tensors.keys()) {
    const layer = pattern.exec(name)?.[1];
    if (layer !== undefined) layers.add(layer);
  }
  return layers.size;
}
