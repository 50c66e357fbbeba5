import { architectureFromShapes } from './architecture-from-shapes.ts';
import type { Checkpoint, CheckpointLayout } from './checkpoint.ts';
import { CheckpointError, CheckpointFile, detectFileKind } from './checkpoint-file.ts';
import {
  customTextNaming,
  huggingFaceNaming,
  locateWeights,
  referenceNaming,
  refuseUnusedWeights,
  requireDecisiveWeights,
  shapeInFile,
  someNames,
  type WeightNaming,
  withoutWrapperPrefix,
} from './clip-weights.ts';
import { decideSettings, refuseOtherSizes } from './open-clip-config.ts';
import { readSafetensors } from './safetensors.ts';
import { type StoredTensor, TensorReader } from './stored-tensor.ts';
import { readTorchArchive, type TensorCollection } from './torch-archive.ts';

/** Every CLIP has it, also those with a ResNet: it tells the naming. */
const ANCHOR = 'token_embedding.weight';
const namings: ReadonlyMap<string, WeightNaming> = new Map(
  [referenceNaming, huggingFaceNaming, customTextNaming].map((naming) => [
    naming.source(ANCHOR).names[0]!,
    naming,
  ]),
);

/**
 * Opens a CLIP checkpoint: OpenAI's TorchScript archive, a `state_dict` with the same names, OpenCLIP's among
 * them, or Hugging Face's CLIPModel, each as safetensors or as PyTorch saves it. How the file is read is told from
 * its content; what its weights do not tell, from the config beside it. Nothing in it is ever run, and its weights
 * stay there until they are read one by one; dispose of it afterwards.
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
  const tensors = withoutWrapperPrefix(stored, [...namings.keys()]);
  const naming = namingOf(tensors);
  const layout: CheckpointLayout = naming === huggingFaceNaming ? 'huggingface' : container;
  requireDecisiveWeights(tensors, naming);

  const shapeOf = (name: string) => shapeInFile(name, tensors, naming);
  const { openClipConfig, assumption, ...settings } = decideSettings({
    path: file.path,
    layout,
    hasCustomText: naming === customTextNaming,
    visionWidth: shapeOf('visual.conv1.weight')![0] ?? 0,
  });
  const architecture = architectureFromShapes({
    ...settings,
    shapeOf,
    visionLayers: countLayers(tensors, naming.visionLayer),
    textLayers: countLayers(tensors, naming.textLayer),
  });
  if (openClipConfig !== undefined) refuseOtherSizes(openClipConfig, architecture);
  const weights = locateWeights(architecture, tensors, naming, new TensorReader(file));
  if (layout === 'state_dict') refuseUnusedWeights(architecture, tensors, naming);
  return {
    layout,
    architecture,
    weights,
    ...(assumption === undefined ? {} : { assumption }),
    [Symbol.dispose]: () => file[Symbol.dispose](),
  };
}

function readTensors(file: CheckpointFile): TensorCollection {
  switch (detectFileKind(file)) {
    case 'zip':
      return readTorchArchive(file);
    case 'safetensors':
      return { container: 'state_dict', tensors: readSafetensors(file) };
  }
}

function namingOf(tensors: ReadonlyMap<string, StoredTensor>): WeightNaming {
  if (tensors.has('visual.layer1.0.conv1.weight')) {
    throw new CheckpointError(
      'it is a CLIP with a ResNet (RN50 and its kin); those with a vision transformer are read, such as ViT-B/32',
    );
  }
  if (tensors.has('visual.trunk.patch_embed.proj.weight') || tensors.has('visual.trunk.stem.0.weight')) {
    throw new CheckpointError(
      "its vision tower is one of timm's (SigLIP, EVA, ConvNeXt and their kin); those of OpenAI's kind are read, such as ViT-B/32",
    );
  }
  for (const [anchor, naming] of namings) {
    if (tensors.has(anchor)) return naming;
  }
  throw new CheckpointError(
    `it holds ${tensors.size} tensors (${someNames(tensors)}, …), but none of ${[...namings.keys()].join(', ')}, ` +
      'one of which every CLIP has',
  );
}

function countLayers(tensors: ReadonlyMap<string, StoredTensor>, pattern: RegExp): number {
  const layers = new Set<string>();
  for (const name of tensors.keys()) {
    const layer = pattern.exec(name)?.[1];
    if (layer !== undefined) layers.add(layer);
  }
  return layers.size;
}
