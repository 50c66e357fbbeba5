import { CheckpointError, quote } from './checkpoint-error.ts';
import type { ByteRange, CheckpointFile } from './checkpoint-file.ts';
import { type ElementType, elementBytes } from './element-types.ts';
import type { PickleVocabulary } from './pickle-machine.ts';
import { PickleGlobal, PickleObject, type PickleValue } from './pickle-value.ts';
import { MAX_DIMENSIONS, type StoredTensor, storedTensor } from './stored-tensor.ts';

/** A tensor as a pickle describes it. */
export class TorchTensor extends PickleObject {
  readonly stored: StoredTensor;

  constructor(stored: StoredTensor) {
    super();
    this.stored = stored;
  }
}

/** A TorchScript module, read as what it is on disk: a record of named attributes. */
export class ModuleRecord extends PickleObject {
  #state: PickleValue = null;

  /** Not copied: a pickle can give one large state to many modules. */
  override build(state: PickleValue): boolean {
    this.#state = state;
    return true;
  }

  /** Names and values; none where the module has a state of its own making, as quantised ones have. */
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

/** TorchScript's typed lists; each takes one plain list. */
const typedLists: ReadonlySet<string> = new Set([
  'torch.jit._pickle.build_intlist',
  'torch.jit._pickle.build_doublelist',
  'torch.jit._pickle.build_boollist',
  'torch.jit._pickle.build_tensorlist',
  'torch.jit._pickle.restore_type_tag',
]);

const TORCHSCRIPT_CLASSES = '__torch__';

/** The records of an archive that hold storages. */
export interface StorageRecords {
  readonly file: CheckpointFile;
  readonly bigEndian: boolean;
  /** Where the record of a storage's key lies; undefined where there is none. */
  find(key: string): ByteRange | undefined;
}

/** The names that PyTorch's checkpoints of weights use, and no others. */
export function torchVocabulary(records: StorageRecords): PickleVocabulary {
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
        case 'torch._utils._rebuild_tensor':
        case 'torch._utils._rebuild_tensor_v2':
          return new PickleGlobal(qualified, (operands) => rebuildTensor(operands, records));
        case 'torch._utils._rebuild_parameter':
          return new PickleGlobal(qualified, ([tensor]) => {
            if (!(tensor instanceof TorchTensor)) throw malformed('a parameter without a tensor');
            return tensor;
          });
        default:
          throw new CheckpointError(
            `its pickle names ${quote(qualified)}, which is neither a tensor nor a plain container, so it is ` +
              'refused and nothing of it was run; save only the weights: torch.save(model.state_dict(), path)',
          );
      }
    },
    load: (id) => loadStorage(id, records),
  };
}

function malformed(what: string): CheckpointError {
  return new CheckpointError(`its pickle describes ${what}: damaged, or not PyTorch's`);
}

/** Id: ('storage', type, key, device, number of elements). The device may be any; the bytes are the same. */
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
function rebuildTensor(operands: readonly PickleValue[], { file, bigEndian }: StorageRecords): TorchTensor {
  const [storage, storageOffset, shape, strides, , , metadata] = operands;
  if (!(storage instanceof TorchStorage)) throw malformed('a tensor without a storage');
  if (typeof storageOffset !== 'number') throw malformed('a tensor without an offset');
  // Conjugate and negative views: their stored values are not the tensor's.
  if (metadata instanceof Map && metadata.size > 0) throw malformed('a tensor that is a view with metadata');
  const { key, elementType, range } = storage;
  const claim = {
    elementType,
    shape: sizes(shape),
    strides: sizes(strides),
    storage: range,
    storageOffset,
    bigEndian,
  };
  return new TorchTensor(storedTensor(claim, file, `tensor in storage ${quote(key)}`));
}

/** Copied, since a pickle may go on to change its list; never more than a tensor can have. */
function sizes(value: PickleValue | undefined): number[] {
  if (!Array.isArray(value)) throw malformed('a tensor without a shape');
  if (value.length > MAX_DIMENSIONS) throw malformed(`a tensor of ${value.length} dimensions`);
  return value.map((size) => (typeof size === 'number' ? size : Number.NaN));
}
