import type { ClipArchitecture } from '../../../src/clip/architecture.ts';
import { expectedShapes } from '../../../src/clip/checkpoint/clip-checkpoint.ts';
import type { ElementType } from '../../../src/clip/checkpoint/stored-tensor.ts';
import { type Python, pickle } from './pickle-writer.ts';
import { writeZip, type ZipOptions, type ZipRecord } from './zip-writer.ts';

/** A tensor to write: its values row-major, whatever its layout in the file. */
export interface MadeTensor {
  readonly shape: readonly number[];
  readonly values: readonly number[];
  readonly type?: ElementType;
  /** Stores a matrix column by column. */
  readonly columnMajor?: boolean;
  /** Values of something else that stand before it in its storage. */
  readonly storageOffset?: number;
}

export type MadeTensors = ReadonlyMap<string, MadeTensor>;

/** The smallest CLIP in which every size differs from every other. */
export const smallArchitecture: ClipArchitecture = {
  embeddingDimension: 24,
  activation: 'quick_gelu',
  vision: { imageResolution: 6, patchSize: 2, width: 128, layers: 1, heads: 2 },
  text: { contextLength: 7, vocabularySize: 11, width: 64, layers: 2, heads: 1 },
};

/** Small eighths: exact in every floating type. */
export function smallWeights(): Map<string, MadeTensor> {
  let state = 1;
  const next = (): number => {
    state = (Math.imul(state, 1103515245) + 12345) >>> 0;
    return (((state >>> 16) % 17) - 8) / 8;
  };
  return new Map(
    [...expectedShapes(smallArchitecture)].map(([name, shape]) => {
      const count = shape.reduce((product, size) => product * size, 1);
      return [name, { shape, values: Array.from({ length: count }, next) }];
    }),
  );
}

const storageNames: Readonly<Record<ElementType, string>> = {
  float16: 'HalfStorage',
  bfloat16: 'BFloat16Storage',
  float32: 'FloatStorage',
  float64: 'DoubleStorage',
  int64: 'LongStorage',
  int32: 'IntStorage',
  int16: 'ShortStorage',
  int8: 'CharStorage',
  uint8: 'ByteStorage',
  bool: 'BoolStorage',
};

export const storageType = (type: ElementType): Python => ({ global: ['torch', storageNames[type]] });

/** What a tensor looks like in a pickle; its storage's record is added to `records`. */
export function tensor(made: MadeTensor, records: Map<string, Uint8Array>): Python {
  const { shape, type = 'float32', storageOffset = 0 } = made;
  const stored = made.columnMajor ? transpose(made.values, shape) : made.values;
  const values = [...new Array(storageOffset).fill(-77), ...stored];
  const key = String(records.size);
  records.set(key, encodeValues(values, type));
  const strides = made.columnMajor ? [1, shape[0]!] : rowMajor(shape);
  return rebuild([
    { persistent: { tuple: ['storage', storageType(type), key, 'cuda:0', values.length] } },
    storageOffset,
    { tuple: shape },
    { tuple: strides },
    true,
    { reduce: [{ global: ['collections', 'OrderedDict'] }, []] },
  ]);
}

export function rebuild(operands: readonly Python[]): Python {
  return { reduce: [{ global: ['torch._utils', '_rebuild_tensor_v2'] }, operands] };
}

function rowMajor(shape: readonly number[]): number[] {
  return shape.map((_, axis) => shape.slice(axis + 1).reduce((product, size) => product * size, 1));
}

function transpose(values: readonly number[], [rows = 0, columns = 0]: readonly number[]): number[] {
  return values.map((_, i) => values[(i % rows) * columns + Math.floor(i / rows)]!);
}

export function encodeValues(values: readonly number[], type: ElementType): Uint8Array {
  const sizes = { float16: 2, bfloat16: 2, int16: 2, float32: 4, int32: 4, float64: 8, int64: 8 };
  const size = type in sizes ? sizes[type as keyof typeof sizes] : 1;
  const bytes = new Uint8Array(values.length * size);
  const view = new DataView(bytes.buffer);
  for (const [i, value] of values.entries()) {
    const at = i * size;
    if (type === 'float16') view.setFloat16(at, value, true);
    else if (type === 'float32') view.setFloat32(at, value, true);
    else if (type === 'float64') view.setFloat64(at, value, true);
    else if (type === 'int64') view.setBigInt64(at, BigInt(value), true);
    else if (type === 'int32') view.setInt32(at, value, true);
    else if (type === 'int16') view.setInt16(at, value, true);
    else if (type === 'bfloat16') view.setUint16(at, float32Bits(value) >>> 16, true);
    else view.setInt8(at, value);
  }
  return bytes;
}

function float32Bits(value: number): number {
  return new Uint32Array(Float32Array.of(value).buffer)[0]!;
}

/** A TorchScript module tree with these names, as `torch.jit.save` pickles it. */
export function moduleTree(weights: ReadonlyMap<string, Python>, depth = 0): Python {
  const children = new Map<string, Map<string, Python>>();
  const attributes: [string, Python][] = [['training', false]];
  for (const [name, value] of weights) {
    const dot = name.indexOf('.');
    if (dot < 0) {
      attributes.push([name, value]);
      continue;
    }
    const child = name.slice(0, dot);
    if (!children.has(child)) children.set(child, new Map());
    children.get(child)!.set(name.slice(dot + 1), value);
  }
  for (const [name, inner] of children) attributes.push([name, moduleTree(inner, depth + 1)]);
  attributes.push(['_is_full_backward_hook', null]);
  return {
    instance: ['__torch__.multimodal.___torch_mangle_9549', `Module${depth}`],
    state: { dict: attributes },
  };
}

/** An OrderedDict with PyTorch's version numbers, as `model.state_dict()` is pickled. */
export function stateDict(weights: ReadonlyMap<string, Python>): Python {
  return {
    reduce: [{ global: ['collections', 'OrderedDict'] }, []],
    items: [...weights],
    state: { dict: [['_metadata', { dict: [['', { dict: [['version', 1]] }]] }]] },
  };
}

export interface ArchiveOptions extends ZipOptions {
  readonly folder?: string;
  readonly protocol?: number;
  readonly byteOrder?: string;
  /** Puts the directory's records in reverse. */
  readonly reversed?: boolean;
  readonly extraRecords?: readonly ZipRecord[];
  readonly compressed?: boolean;
}

export type Wrap = (weights: ReadonlyMap<string, Python>) => Python;

/** A checkpoint as PyTorch writes it. */
export function torchArchive(weights: MadeTensors, wrap: Wrap, options: ArchiveOptions = {}): Uint8Array {
  const storages = new Map<string, Uint8Array>();
  const tensors = new Map([...weights].map(([name, made]) => [name, tensor(made, storages)]));
  return archiveOf(pickle(wrap(tensors), options.protocol), storages, options);
}

/** An archive of a pickle and its storages. */
export function archiveOf(
  pickled: Uint8Array,
  storages: ReadonlyMap<string, Uint8Array>,
  options: ArchiveOptions = {},
): Uint8Array {
  const { folder = 'archive', byteOrder, reversed = false, extraRecords = [], compressed = false } = options;
  const records: ZipRecord[] = [{ name: `${folder}/data.pkl`, bytes: pickled, compressed }];
  for (const [key, bytes] of storages) records.push({ name: `${folder}/data/${key}`, bytes });
  records.push({ name: `${folder}/version`, bytes: new TextEncoder().encode('3\n') });
  if (byteOrder !== undefined) {
    records.push({ name: `${folder}/byteorder`, bytes: new TextEncoder().encode(byteOrder) });
  }
  records.push(...extraRecords);
  return writeZip(reversed ? records.toReversed() : records, options);
}
