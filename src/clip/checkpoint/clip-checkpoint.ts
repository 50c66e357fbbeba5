import { architectureFromShapes } from './architecture-from-shapes.ts';
import type { Checkpoint, CheckpointLayout } from './checkpoint.ts';
import { CheckpointError, type CheckpointFile } from './checkpoint-file.ts';
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
import { type StoredTensor, TensorReader } from './stored-tensor.ts';
import type { TensorCollection } from './torch-archive.ts';

/** Every CLIP has this weight, those with a ResNet too. Its name tells the naming. */
const ANCHOR = 'token_embedding.weight';
const namings: ReadonlyMap<string, WeightNaming> = new Map(
  [referenceNaming, huggingFaceNaming, customTextNaming].map((naming) => [
    naming.source(ANCHOR).names[0]!,
    naming,
  ]),
);
const anchors = [...namings.keys()];

/** Whether one of the names that tell a CLIP is among a file's tensors. */
export function isClip({ tensors }: TensorCollection): boolean {
  const names = withoutWrapperPrefix(tensors, anchors);
  return anchors.some((anchor) => names.has(anchor));
}

/**
 * Reads the tensors of a file as a CLIP's.
 * @throws CheckpointError
 */
export function describeClip(
  { container, tensors: stored }: TensorCollection,
  file: CheckpointFile,
): Pick<Checkpoint, 'layout' | 'architecture' | 'weights' | 'assumption'> {
  const tensors = withoutWrapperPrefix(stored, anchors);
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
  };
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
    `it holds ${tensors.size} tensors (${someNames(tensors)}, …), but none of ${anchors.join(', ')}, ` +
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
