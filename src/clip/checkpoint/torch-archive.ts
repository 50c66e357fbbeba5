import { type ByteRange, CheckpointError, type CheckpointFile, quote } from './checkpoint.ts';
import { PickleGlobal, PickleObject, type PickleValue, type PickleVocabulary, readPickle } from './pickle.ts';
import {
  type ElementType,
  elementBytes,
  MAX_DIMENSIONS,
  type StoredTensor,
  storedTensor,
} from './stored-tensor.ts';
import { ZipArchive } from './zip-archive.ts';

/** A tensor as a pickle describes it. */
class TorchTensor extends PickleObject {
  readonly stored: StoredTensor;

  constructor(stored: StoredTensor) {
    super();
    this.stored = stored;
  }
}

/** A TorchScript module, read as a record of named attributes. */
class ModuleRecord extends PickleObject {
  #state: PickleValue = null;

  /** Not copied: a pickle can give one large state to many modules. */
  override build(state: PickleValue): boolean {
    this.#state = state;
    return true;
  }

  /** Names and values; none if the module has another state, as quantised ones do. */
  get attributes(): Iterable<[PickleValue, PickleValue]> {
    return this.#state instanceof Map ? this.#state : [];
  }
}

/** Numbers of one type in a record of the archive. */
class TorchStorage extends PickleObject {
  readonly key: string;
  readonly elementType: ElementType;
  readonly range: ByteRange;

  constructor(key: string, elementType: ElementType, range: ByteRange) {
    super();
    this.key = key;
    this.elementType = elementType;
    this.range = range;
  }
}

const storageTypes: ReadonlyMap<string, ElementType> = new Map([
  ['torch.HalfStorage', 'float16'],
  ['torch.BFloat16Storage', 'bfloat16'],
  ['torch.FloatStorage', 'float32'],
  ['torch.DoubleStorage', 'float64'],
  ['torch.LongStorage', 'int64'],
  ['torch.IntStorage', 'int32'],
  ['torch.ShortStorage', 'int16'],
  ['torch.CharStorage', 'int8'],
  ['torch.ByteStorage', 'uint8'],
  ['torch.BoolStorage', 'bool'],
]);

/** TorchScript's typed lists, made from one plain list each. */
const typedLists: ReadonlySet<string> = new Set([
  'torch.jit._pickle.build_intlist',
  'torch.jit._pickle.build_doublelist',
  'torch.jit._pickle.build_boollist',
  'torch.jit._pickle.build_tensorlist',
  'torch.jit._pickle.restore_type_tag',
]);

const TORCHSCRIPT_CLASSES = '__torch__';

/** An archive's records of storages. */
interface StorageRecords {
  readonly file: CheckpointFile;
  /** The place of a storage's record; undefined if there is none. */
  find(key: string): ByteRange | undefined;
}

/** Knows only the names that PyTorch's checkpoints of weights use. */
function torchVocabulary(records: StorageRecords): PickleVocabulary {
  return {
    resolve(module, name) {
      const qualified = `${module}.${name}`;
      if (module === TORCHSCRIPT_CLASSES || module.startsWith(`${TORCHSCRIPT_CLASSES}.`)) {
        return new PickleGlobal(qualified, () => new ModuleRecord());
      }
      if (storageTypes.has(qualified)) return new PickleGlobal(qualified);
      if (typedLists.has(qualified)) return new PickleGlobal(qualified, (operands) => operands[0] ?? []);
      switch (qualified) {
        case 'collections.OrderedDict':
          // Made empty; its items follow.
          return new PickleGlobal(qualified, (operands) => {
            if (operands.length > 0) throw malformed('a dictionary made of something else');
            return new Map();
          });
        case 'torch._utils._rebuild_tensor_v2':
          return new PickleGlobal(qualified, (operands) => rebuildTensor(operands, records.file));
        case 'torch._utils._rebuild_parameter':
          return new PickleGlobal(qualified, ([tensor]) => {
            if (!(tensor instanceof TorchTensor)) throw malformed('a parameter without a tensor');
            return tensor;
          });
        default:
          throw new CheckpointError(
            `its pickle names ${quote(qualified)}, which is neither a tensor nor a plain container. It is ` +
              'refused and was not run; save only the weights: torch.save(model.state_dict(), path)',
          );
      }
    },
    load: (id) => loadStorage(id, records),
  };
}

function malformed(what: string): CheckpointError {
  return new CheckpointError(`its pickle describes ${what}: damaged, or not PyTorch's`);
}

/** Id: ('storage', type, key, device, number of elements). The bytes do not depend on the device. */
function loadStorage(id: PickleValue, records: StorageRecords): TorchStorage {
  const [tag, type, key, , count] = Array.isArray(id) ? id : [];
  const elementType = type instanceof PickleGlobal ? storageTypes.get(type.name) : undefined;
  if (tag !== 'storage' || elementType === undefined || typeof key !== 'string') {
    throw malformed('a reference to something other than a storage');
  }
  if (typeof count !== 'number' || !Number.isSafeInteger(count) || count < 0) {
    throw malformed(`the storage ${quote(key)} of an impossible size`);
  }
  const range = records.find(key);
  if (range === undefined) throw new CheckpointError(`its storage ${quote(key)} is missing from the archive`);
  const byteLength = count * elementBytes[elementType];
  if (byteLength > range.byteLength) {
    throw new CheckpointError(
      `its storage ${quote(key)} should hold ${byteLength} bytes, but its record has ${range.byteLength}`,
    );
  }
  return new TorchStorage(key, elementType, { byteOffset: range.byteOffset, byteLength });
}

/** Operands: storage, storage offset, size, stride[, requires_grad, hooks[, metadata]]. */
function rebuildTensor(operands: readonly PickleValue[], file: CheckpointFile): TorchTensor {
  const [storage, storageOffset, shape, strides, , , metadata] = operands;
  if (!(storage instanceof TorchStorage)) throw malformed('a tensor without a storage');
  if (typeof storageOffset !== 'number') throw malformed('a tensor without an offset');
  // The stored values of conjugate and negative views are not the tensor's.
  if (metadata instanceof Map && metadata.size > 0) throw malformed('a tensor that is a view with metadata');
  const { key, elementType, range } = storage;
  const claim = {
    elementType,
    shape: sizes(shape),
    strides: sizes(strides),
    storage: range,
    storageOffset,
  };
  return new TorchTensor(storedTensor(claim, file, `tensor in storage ${quote(key)}`));
}

/** A limited copy, because a pickle may change its list afterwards. */
function sizes(value: PickleValue | undefined): number[] {
  if (!Array.isArray(value)) throw malformed('a tensor without a shape');
  if (value.length > MAX_DIMENSIONS) throw malformed(`a tensor of ${value.length} dimensions`);
  return value.map((size) => (typeof size === 'number' ? size : Number.NaN));
}

/** Tensors under the names they have in their file. */
export interface TensorCollection {
  /** Whether the file is a TorchScript module or a plain dictionary of tensors. */
  readonly container: 'torchscript' | 'state_dict';
  readonly tensors: ReadonlyMap<string, StoredTensor>;
}

const PICKLE_RECORD = 'data.pkl';

/** ViT-B/32's has 38 KB; optimiser states add a few hundred. */
const MAX_PICKLE_BYTES = 16 * 1024 ** 2;

/** A CLIP has a few thousand attributes in a tree six deep. */
const MAX_ATTRIBUTES = 100_000;
const MAX_MODULE_DEPTH = 32;
const MAX_NAME_CHARACTERS = 500;

/** Keys under which training loops wrap the weights. */
const WRAPPERS = ['state_dict', 'model_state_dict', 'model'];

/** Reads the tensor directory of a zip archive written by `torch.jit.save` or `torch.save`. */
export function readTorchArchive(file: CheckpointFile): TensorCollection {
  const archive = new ZipArchive(file);
  const folder = findFolder(archive);
  const range = archive.find(`${folder}${PICKLE_RECORD}`)!;
  if (range.byteLength > MAX_PICKLE_BYTES) {
    throw new CheckpointError(
      `its ${PICKLE_RECORD} has ${range.byteLength} bytes; at most ${MAX_PICKLE_BYTES} are supported`,
    );
  }
  requireLittleEndian(archive, file, folder);
  const vocabulary = torchVocabulary({
    file,
    find: (key) => archive.find(`${folder}data/${key}`),
  });
  const root = unwrap(readPickle(file.readRange(range), vocabulary));
  if (root instanceof ModuleRecord) return { container: 'torchscript', tensors: moduleTensors(root) };
  if (root instanceof Map) return { container: 'state_dict', tensors: dictionaryTensors(root) };
  throw new CheckpointError('it holds neither a TorchScript module nor a dictionary of weights');
}

/** The archive's folder: the one whose pickle is nearest to the top. */
function findFolder(archive: ZipArchive): string {
  const depth = (folder: string): number => folder.split('/').length;
  const folders = [...archive.names]
    .filter((name) => name === PICKLE_RECORD || name.endsWith(`/${PICKLE_RECORD}`))
    .map((name) => name.slice(0, -PICKLE_RECORD.length))
    .sort((a, b) => depth(a) - depth(b));
  const [folder, next] = folders;
  if (folder === undefined) {
    throw new CheckpointError(`it is a zip archive without ${PICKLE_RECORD}, so PyTorch has not written it`);
  }
  if (next !== undefined && depth(next) === depth(folder)) {
    throw new CheckpointError(`it holds several models, among them ${quote(folder)} and ${quote(next)}`);
  }
  return folder;
}

/** PyTorch writes the record since 2.1. Files without it come from little-endian machines. */
function requireLittleEndian(archive: ZipArchive, file: CheckpointFile, folder: string): void {
  const range = archive.find(`${folder}byteorder`);
  if (range === undefined) return;
  const byteLength = Math.min(range.byteLength, 16);
  const order = new TextDecoder().decode(file.readRange({ ...range, byteLength }));
  if (order !== 'little') {
    throw new CheckpointError(`its byte order is ${quote(order)}; only "little" is supported`);
  }
}

/** Steps into the dictionaries that training loops put around the weights. */
function unwrap(root: PickleValue): PickleValue {
  if (!(root instanceof Map)) return root;
  for (const key of WRAPPERS) {
    const inner = root.get(key);
    if (inner instanceof Map || inner instanceof ModuleRecord) return inner;
  }
  return root;
}

function dictionaryTensors(dictionary: ReadonlyMap<PickleValue, PickleValue>): Map<string, StoredTensor> {
  const tensors = new Map<string, StoredTensor>();
  for (const [name, value] of dictionary) {
    if (typeof name === 'string' && value instanceof TorchTensor) tensors.set(name, value.stored);
  }
  return tensors;
}

/** Names a module's tensors by the path of attributes that leads to them, as PyTorch's `state_dict()` does. */
function moduleTensors(root: ModuleRecord): Map<string, StoredTensor> {
  const tensors = new Map<string, StoredTensor>();
  let attributes = 0;
  const visit = (module: ModuleRecord, prefix: string, depth: number): void => {
    if (depth > MAX_MODULE_DEPTH) throw knotted();
    for (const [attribute, value] of module.attributes) {
      attributes++;
      if (attributes > MAX_ATTRIBUTES) throw knotted();
      if (typeof attribute !== 'string') continue;
      const name = `${prefix}${attribute}`;
      if (name.length > MAX_NAME_CHARACTERS)
        throw new CheckpointError(`its attribute ${quote(name)} has too long a name`);
      if (value instanceof TorchTensor) tensors.set(name, value.stored);
      else if (value instanceof ModuleRecord) visit(value, `${name}.`, depth + 1);
    }
  };
  visit(root, '', 0);
  return tensors;
}

/** A damaged file can have one module in many places, or inside itself. */
function knotted(): CheckpointError {
  return new CheckpointError(
    'its modules contain each other without end, or are far more than those of a CLIP',
  );
}
