import { invariant } from '../../errors.ts';
import type { ClipArchitecture } from '../architecture.ts';
import { decisiveWeights, expectedShapes } from './architecture-from-shapes.ts';
import type { WeightTensor } from './checkpoint.ts';
import { CheckpointError, quote } from './checkpoint-file.ts';
import { elementCount, type StoredTensor, type TensorReader, transposed } from './stored-tensor.ts';

/** How a file's tensors make one of the reference's weights. */
interface WeightSource {
  /** Tensors of the file, stacked along the first axis. */
  readonly names: readonly string[];
  /** Whether each is the transpose of what the reference has. */
  readonly transposed: boolean;
}

/** Which names a file uses for the reference's weights. */
export interface WeightNaming {
  /** Where the weight of that name in the reference comes from. */
  source(name: string): WeightSource;
  /** Matches the tensors of a tower's layers; the first group is the layer's number. */
  readonly visionLayer: RegExp;
  readonly textLayer: RegExp;
}

/** The names of the reference's `model.py`. */
export const referenceNaming: WeightNaming = {
  source: (name) => ({ names: [name], transposed: false }),
  visionLayer: /^visual\.transformer\.resblocks\.(\d+)\./,
  textLayer: /^transformer\.resblocks\.(\d+)\./,
};

/** The names of OpenCLIP's `CustomTextCLIP`: the text tower is a module of its own. */
export const customTextNaming: WeightNaming = {
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
  // Spelt so in every published file.
  ['visual.ln_pre.weight', 'vision_model.pre_layrnorm.weight'],
  ['visual.ln_pre.bias', 'vision_model.pre_layrnorm.bias'],
  ['visual.ln_post.weight', 'vision_model.post_layernorm.weight'],
  ['visual.ln_post.bias', 'vision_model.post_layernorm.bias'],
]);

/** Linear layers there hold [out, in], where the reference multiplies by [in, out]. */
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

/** The names of Hugging Face's CLIPModel. `position_ids`, which older files hold too, are of no use here. */
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

type Tensors = ReadonlyMap<string, StoredTensor>;

const LISTED_FAULTS = 8;

/** The shape that the reference's weight of that name has in the file; undefined where it is missing. */
export function shapeInFile(
  name: string,
  tensors: Tensors,
  naming: WeightNaming,
): readonly number[] | undefined {
  const source = naming.source(name);
  const shape = tensors.get(source.names[0]!)?.shape;
  return source.transposed ? shape?.toReversed() : shape;
}

/** @throws CheckpointError naming the weights without which nothing can be said about the architecture */
export function requireDecisiveWeights(tensors: Tensors, naming: WeightNaming): void {
  const names = [...decisiveWeights.keys()].flatMap((name) => naming.source(name).names);
  throwAll(names.filter((name) => !tensors.has(name)).map((name) => `${name} is missing`));
}

/**
 * Finds every weight of an architecture in a file's tensors.
 * @throws CheckpointError naming those that are missing or of another shape
 */
export function locateWeights(
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

/** What each of a weight's sources has to look like. */
function partShape(shape: readonly number[], { names, transposed }: WeightSource): readonly number[] {
  if (transposed) return shape.toReversed();
  if (names.length === 1) return shape;
  const [rows = 1, ...rest] = shape;
  return [rows / names.length, ...rest];
}

/** A single number may be written as a vector of one, as some exports have logit_scale. */
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

/** Weights of the towers; what else a dictionary may hold (buffers, an optimiser's state) is none of them. */
const TOWER_WEIGHT = /^(?:visual|transformer|text)\..*(?<!\battn_mask)$/;

/**
 * A tower with more in it than the reference's (layer scales, adapters, other pooling) computes something else.
 * @throws CheckpointError naming the weights that would be passed over
 */
export function refuseUnusedWeights(
  architecture: ClipArchitecture,
  tensors: Tensors,
  naming: WeightNaming,
): void {
  const used = new Set([...expectedShapes(architecture).keys()].flatMap((name) => naming.source(name).names));
  const unused = [...tensors.keys()].filter((name) => TOWER_WEIGHT.test(name) && !used.has(name));
  throwAll(unused.map((name) => `${quote(name)} is no part of one`));
}

function throwAll(faults: readonly string[]): void {
  if (faults.length === 0) return;
  const more = faults.length > LISTED_FAULTS ? `; and ${faults.length - LISTED_FAULTS} more` : '';
  throw new CheckpointError(
    `its weights are not those of a CLIP: ${faults.slice(0, LISTED_FAULTS).join('; ')}${more}`,
  );
}

/** Prefixes that training wrappers put before every name. */
const wrapperPrefixes = ['module.', 'model.'];

/** Takes a training wrapper's prefix off the names, if the tensors of a CLIP are found under it. */
export function withoutWrapperPrefix(tensors: Tensors, anchors: readonly string[]): Tensors {
  if (anchors.some((anchor) => tensors.has(anchor))) return tensors;
  const prefix = wrapperPrefixes.find((candidate) =>
    anchors.some((anchor) => tensors.has(candidate + anchor)),
  );
  if (prefix === undefined) return tensors;
  const renamed = [...tensors].filter(([name]) => name.startsWith(prefix));
  return new Map(renamed.map(([name, tensor]) => [name.slice(prefix.length), tensor]));
}

/** A few of a file's names, for an error's sentence. */
export function someNames(tensors: Tensors): string {
  return [...tensors.keys()].slice(0, 3).map(quote).join(', ');
}
