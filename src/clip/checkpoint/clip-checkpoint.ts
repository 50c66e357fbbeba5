import { invariant } from '../../errors.ts';
import type { ClipArchitecture } from '../architecture.ts';
import {
  type Checkpoint,
  CheckpointError,
  type CheckpointFile,
  type CheckpointLayout,
  quote,
  type WeightTensor,
} from './checkpoint.ts';
import { decideSettings, type ModelSettings, refuseOtherSizes } from './open-clip-config.ts';
import { elementCount, type StoredTensor, TensorReader, transposed } from './stored-tensor.ts';
import type { TensorCollection } from './torch-archive.ts';

/** How a file's tensors make one of the reference's weights. */
interface WeightSource {
  /** Tensors of the file, stacked along the first axis. */
  readonly names: readonly string[];
  /** Whether each is the transpose of the reference's. */
  readonly transposed: boolean;
}

/** Which names a file uses for the reference's weights. */
interface WeightNaming {
  /** The source of the weight with that name in the reference. */
  source(name: string): WeightSource;
  /** Matches the tensors of a tower's layers; the first group is the layer's number. */
  readonly visionLayer: RegExp;
  readonly textLayer: RegExp;
}

/** The names of the reference's `model.py`. */
const referenceNaming: WeightNaming = {
  source: (name) => ({ names: [name], transposed: false }),
  visionLayer: /^visual\.transformer\.resblocks\.(\d+)\./,
  textLayer: /^transformer\.resblocks\.(\d+)\./,
};

/** The names of OpenCLIP's `CustomTextCLIP`: the text tower is a module of its own. */
const customTextNaming: WeightNaming = {
  source(name) {
    const isShared = name.startsWith('visual.') || name === 'logit_scale';
    return { names: [isShared ? name : `text.${name}`], transposed: false };
  },
  visionLayer: referenceNaming.visionLayer,
  textLayer: /^text\.transformer\.resblocks\.(\d+)\./,
};

/** Weights outside of the layers: the reference's name, then that of transformers' `modeling_clip.py`. */
const outerNames: ReadonlyMap<string, string> = new Map([
  ['logit_scale', 'logit_scale'],
  ['text_projection', 'text_projection.weight'],
  ['visual.proj', 'visual_projection.weight'],
  ['token_embedding.weight', 'text_model.embeddings.token_embedding.weight'],
  ['positional_embedding', 'text_model.embeddings.position_embedding.weight'],
  ['ln_final.weight', 'text_model.final_layer_norm.weight'],
  ['ln_final.bias', 'text_model.final_layer_norm.bias'],
  ['visual.class_embedding', 'vision_model.embeddings.class_embedding'],
  ['visual.conv1.weight', 'vision_model.embeddings.patch_embedding.weight'],
  ['visual.positional_embedding', 'vision_model.embeddings.position_embedding.weight'],
  // Every published file spells it like this.
  ['visual.ln_pre.weight', 'vision_model.pre_layrnorm.weight'],
  ['visual.ln_pre.bias', 'vision_model.pre_layrnorm.bias'],
  ['visual.ln_post.weight', 'vision_model.post_layernorm.weight'],
  ['visual.ln_post.bias', 'vision_model.post_layernorm.bias'],
]);

/** Hugging Face's linear layers hold [out, in]; the reference multiplies by [in, out]. */
const projections: ReadonlySet<string> = new Set(['text_projection', 'visual.proj']);

/** Modules of a layer. */
const layerModules: ReadonlyMap<string, string> = new Map([
  ['attn.out_proj', 'self_attn.out_proj'],
  ['ln_1', 'layer_norm1'],
  ['ln_2', 'layer_norm2'],
  ['mlp.c_fc', 'mlp.fc1'],
  ['mlp.c_proj', 'mlp.fc2'],
]);

const LAYER_WEIGHT = /^(visual\.)?transformer\.resblocks\.(\d+)\.(.+)[._](weight|bias)$/;

/** The names of Hugging Face's CLIPModel. The `position_ids` of older files are not needed. */
export const huggingFaceNaming: WeightNaming = {
  source,
  visionLayer: /^vision_model\.encoder\.layers\.(\d+)\./,
  textLayer: /^text_model\.encoder\.layers\.(\d+)\./,
};

function source(name: string): WeightSource {
  const outer = outerNames.get(name);
  if (outer !== undefined) return { names: [outer], transposed: projections.has(name) };
  const [, visual, layer, module = '', part] = LAYER_WEIGHT.exec(name) ?? [];
  const prefix = `${visual === undefined ? 'text' : 'vision'}_model.encoder.layers.${layer}`;
  if (module === 'attn.in_proj') {
    const names = ['q', 'k', 'v'].map((letter) => `${prefix}.self_attn.${letter}_proj.${part}`);
    return { names, transposed: false };
  }
  const inner = layerModules.get(module);
  invariant(inner !== undefined, `Hugging Face's layout has no tensor for ${name}.`);
  return { names: [`${prefix}.${inner}.${part}`], transposed: false };
}

/** Every CLIP has this weight, also those with a ResNet. Its name identifies the naming. */
const ANCHOR = 'token_embedding.weight';
const namings: ReadonlyMap<string, WeightNaming> = new Map(
  [referenceNaming, huggingFaceNaming, customTextNaming].map((naming) => [
    naming.source(ANCHOR).names[0]!,
    naming,
  ]),
);
const anchors = [...namings.keys()];

/** Whether a file's tensors have one of the names that identify a CLIP. */
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
      'it is a CLIP with a ResNet, such as RN50; only those with a vision transformer are supported, such as ViT-B/32',
    );
  }
  if (tensors.has('visual.trunk.patch_embed.proj.weight') || tensors.has('visual.trunk.stem.0.weight')) {
    throw new CheckpointError(
      "its vision tower is one of timm's, as in SigLIP, EVA and ConvNeXt; only OpenAI's kind is supported, such as ViT-B/32",
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

type Tensors = ReadonlyMap<string, StoredTensor>;

const LISTED_FAULTS = 8;

/** The shape of the reference's weight of that name in the file; undefined if it is missing. */
function shapeInFile(name: string, tensors: Tensors, naming: WeightNaming): readonly number[] | undefined {
  const source = naming.source(name);
  const shape = tensors.get(source.names[0]!)?.shape;
  return source.transposed ? shape?.toReversed() : shape;
}

/** @throws CheckpointError that names missing weights of `decisiveWeights` */
function requireDecisiveWeights(tensors: Tensors, naming: WeightNaming): void {
  const names = [...decisiveWeights.keys()].flatMap((name) => naming.source(name).names);
  throwAll(names.filter((name) => !tensors.has(name)).map((name) => `${name} is missing`));
}

/**
 * Finds every weight of an architecture in a file's tensors.
 * @throws CheckpointError that names those that are missing or have another shape
 */
function locateWeights(
  architecture: ClipArchitecture,
  tensors: Tensors,
  naming: WeightNaming,
  reader: TensorReader,
): ReadonlyMap<string, WeightTensor> {
  const faults: string[] = [];
  const weights = new Map<string, WeightTensor>();
  for (const [name, shape] of expectedShapes(architecture)) {
    const source = naming.source(name);
    const expected = partShape(shape, source);
    const parts: StoredTensor[] = [];
    for (const part of source.names) {
      const tensor = tensors.get(part);
      if (tensor === undefined) faults.push(`${part} is missing`);
      else if (!hasShape(tensor, expected))
        faults.push(`${part} is [${tensor.shape}] instead of [${expected}]`);
      else parts.push(source.transposed ? transposed(tensor) : tensor);
    }
    weights.set(name, weightTensor(shape, parts, reader));
  }
  throwAll(faults);
  return weights;
}

/** The shape of each of a weight's sources. */
function partShape(shape: readonly number[], { names, transposed }: WeightSource): readonly number[] {
  if (transposed) return shape.toReversed();
  if (names.length === 1) return shape;
  const [rows = 1, ...rest] = shape;
  return [rows / names.length, ...rest];
}

/** Some exports write the single number logit_scale as a vector of one. */
function hasShape(tensor: StoredTensor, expected: readonly number[]): boolean {
  const { shape } = tensor;
  if (expected.length === 0) return elementCount(shape) === 1;
  return shape.length === expected.length && shape.every((size, axis) => size === expected[axis]);
}

function weightTensor(
  shape: readonly number[],
  parts: readonly StoredTensor[],
  reader: TensorReader,
): WeightTensor {
  return {
    shape,
    read() {
      const values = new Float32Array(elementCount(shape));
      const partLength = values.length / parts.length;
      for (const [i, part] of parts.entries()) {
        reader.readInto(part, values.subarray(i * partLength, (i + 1) * partLength));
      }
      return values;
    },
  };
}

/** Weights of the towers. A dictionary may have other tensors: buffers, an optimiser's state. */
const TOWER_WEIGHT = /^(?:visual|transformer|text)\..*(?<!\battn_mask)$/;

/**
 * A tower with additional weights (layer scales, adapters, other pooling) computes something else.
 * @throws CheckpointError that names the weights that would be ignored
 */
function refuseUnusedWeights(architecture: ClipArchitecture, tensors: Tensors, naming: WeightNaming): void {
  const used = new Set([...expectedShapes(architecture).keys()].flatMap((name) => naming.source(name).names));
  const unused = [...tensors.keys()].filter((name) => TOWER_WEIGHT.test(name) && !used.has(name));
  throwAll(unused.map((name) => `${quote(name)} does not belong to one`));
}

function throwAll(faults: readonly string[]): void {
  if (faults.length === 0) return;
  const more = faults.length > LISTED_FAULTS ? `; and ${faults.length - LISTED_FAULTS} more` : '';
  throw new CheckpointError(
    `its weights are not those of a CLIP: ${faults.slice(0, LISTED_FAULTS).join('; ')}${more}`,
  );
}

/** Training wrappers put these before every name. */
const wrapperPrefixes = ['module.', 'model.'];

/** Removes a training wrapper's prefix from the names if they are a CLIP's without it. */
function withoutWrapperPrefix(tensors: Tensors, anchors: readonly string[]): Tensors {
  if (anchors.some((anchor) => tensors.has(anchor))) return tensors;
  const prefix = wrapperPrefixes.find((candidate) =>
    anchors.some((anchor) => tensors.has(candidate + anchor)),
  );
  if (prefix === undefined) return tensors;
  const renamed = [...tensors].filter(([name]) => name.startsWith(prefix));
  return new Map(renamed.map(([name, tensor]) => [name.slice(prefix.length), tensor]));
}

/** A few of a file's names, for error sentences. */
function someNames(tensors: Tensors): string {
  return [...tensors.keys()].slice(0, 3).map(quote).join(', ');
}

type Shape = readonly number[];

/** What decides an architecture. */
interface ShapeEvidence extends ModelSettings {
  /** The shape of a weight by its name in the reference; undefined if it is missing. */
  shapeOf(name: string): Shape | undefined;
  readonly visionLayers: number;
  readonly textLayers: number;
}

const CHANNELS_PER_HEAD = 64;

/** The weights whose sizes `build_model` of the reference's `model.py` uses, with their number of dimensions. */
const decisiveWeights: ReadonlyMap<string, number> = new Map([
  ['visual.conv1.weight', 4],
  ['visual.positional_embedding', 2],
  ['positional_embedding', 2],
  ['token_embedding.weight', 2],
  ['ln_final.weight', 1],
  ['text_projection', 2],
]);

/**
 * Decides an architecture as the reference's `build_model` does. No weight of `decisiveWeights` is missing.
 * @throws CheckpointError if the sizes do not make a vision transformer
 */
function architectureFromShapes(evidence: ShapeEvidence): ClipArchitecture {
  for (const [name, dimensions] of decisiveWeights) {
    const shape = evidence.shapeOf(name);
    if (shape?.length !== dimensions || shape.includes(0)) {
      throw new CheckpointError(`its ${name} has shape [${shape}] instead of ${dimensions} sizes above 0`);
    }
  }
  const size = (name: string, axis: number): number => evidence.shapeOf(name)!.at(axis)!;
  const visionWidth = size('visual.conv1.weight', 0);
  const textWidth = size('ln_final.weight', 0);
  const patchSize = size('visual.conv1.weight', -1);
  const gridSize = Math.round(Math.sqrt(size('visual.positional_embedding', 0) - 1));
  if (gridSize < 1 || evidence.visionLayers < 1 || evidence.textLayers < 1) {
    throw new CheckpointError(
      `it has ${evidence.visionLayers} vision layers over a ${gridSize}×${gridSize} grid of patches and ` +
        `${evidence.textLayers} text layers; a CLIP has at least one of each`,
    );
  }
  return {
    embeddingDimension: size('text_projection', 1),
    activation: evidence.activation,
    vision: {
      imageResolution: patchSize * gridSize,
      patchSize,
      width: visionWidth,
      layers: evidence.visionLayers,
      heads: headCount('vision', visionWidth, evidence.visionHeads),
      ...(evidence.normalisation && { normalisation: evidence.normalisation }),
    },
    text: {
      contextLength: size('positional_embedding', 0),
      vocabularySize: size('token_embedding.weight', 0),
      width: textWidth,
      layers: evidence.textLayers,
      heads: headCount('text', textWidth, evidence.textHeads),
    },
  };
}

function headCount(tower: string, width: number, given: number | undefined): number {
  const heads = given ?? Math.floor(width / CHANNELS_PER_HEAD);
  if (heads < 1 || width % heads !== 0) {
    throw new CheckpointError(
      `its ${tower} width of ${width} channels cannot be shared among ${heads} attention heads`,
    );
  }
  return heads;
}

/** Every weight of an architecture by its name in the reference, with its shape. */
export function expectedShapes({ embeddingDimension, vision, text }: ClipArchitecture): Map<string, Shape> {
  const gridSize = vision.imageResolution / vision.patchSize;
  return new Map<string, Shape>([
    ['visual.class_embedding', [vision.width]],
    ['visual.positional_embedding', [gridSize ** 2 + 1, vision.width]],
    ['visual.proj', [vision.width, embeddingDimension]],
    ['visual.conv1.weight', [vision.width, 3, vision.patchSize, vision.patchSize]],
    ...layerNorm('visual.ln_pre', vision.width),
    ...transformer('visual.transformer', vision),
    ...layerNorm('visual.ln_post', vision.width),
    ...transformer('transformer', text),
    ['token_embedding.weight', [text.vocabularySize, text.width]],
    ['positional_embedding', [text.contextLength, text.width]],
    ...layerNorm('ln_final', text.width),
    ['text_projection', [text.width, embeddingDimension]],
    ['logit_scale', []],
  ]);
}

function* transformer(prefix: string, tower: { width: number; layers: number }): Generator<[string, Shape]> {
  const { width, layers } = tower;
  for (let layer = 0; layer < layers; layer++) {
    const block = `${prefix}.resblocks.${layer}`;
    yield [`${block}.attn.in_proj_weight`, [3 * width, width]];
    yield [`${block}.attn.in_proj_bias`, [3 * width]];
    yield* linear(`${block}.attn.out_proj`, width, width);
    yield* layerNorm(`${block}.ln_1`, width);
    yield* linear(`${block}.mlp.c_fc`, width, 4 * width);
    yield* linear(`${block}.mlp.c_proj`, 4 * width, width);
    yield* layerNorm(`${block}.ln_2`, width);
  }
}

function* linear(prefix: string, inputs: number, outputs: number): Generator<[string, Shape]> {
  yield [`${prefix}.weight`, [outputs, inputs]];
  yield [`${prefix}.bias`, [outputs]];
}

function* layerNorm(prefix: string, width: number): Generator<[string, Shape]> {
  yield [`${prefix}.weight`, [width]];
  yield [`${prefix}.bias`, [width]];
}
