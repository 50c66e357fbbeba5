import type { ClipArchitecture } from '../architecture.ts';
import { decisiveWeights, expectedShapes } from './architecture-from-shapes.ts';
import type { WeightTensor } from './checkpoint.ts';
import { CheckpointError, quote } from './checkpoint-error.ts';
import { type StoredTensor, type TensorReader, transposed } from './stored-tensor.ts';
import { elementCount } from './strides.ts';
import type { WeightNaming, WeightSource } from './weight-names.ts';

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
