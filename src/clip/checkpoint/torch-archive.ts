import { CheckpointError, quote } from './checkpoint-error.ts';
import type { CheckpointFile } from './checkpoint-file.ts';
import { readPickle } from './pickle.ts';
import type { PickleValue } from './pickle-value.ts';
import type { StoredTensor } from './stored-tensor.ts';
import { ModuleRecord, TorchTensor, torchVocabulary } from './torch-records.ts';
import { ZipArchive } from './zip-archive.ts';

/** Tensors under the names they have in their file. */
export interface TensorCollection {
  /** Whether the file is a TorchScript module or a plain dictionary of tensors. */
  readonly container: 'torchscript' | 'state_dict';
  readonly tensors: ReadonlyMap<string, StoredTensor>;
}

const PICKLE_RECORD = 'data.pkl';

/** ViT-B/32's is 38 KB; optimiser states add some hundred. */
const MAX_PICKLE_BYTES = 16 * 1024 ** 2;

/** A CLIP has some thousand attributes in a tree six deep. More is a knot, not a model. */
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
      `its ${PICKLE_RECORD} has ${range.byteLength} bytes, of which at most ${MAX_PICKLE_BYTES} are read`,
    );
  }
  const vocabulary = torchVocabulary({
    file,
    bigEndian: isBigEndian(archive, file, folder),
    find: (key) => archive.find(`${folder}data/${key}`),
  });
  const root = unwrap(readPickle(file.readRange(range), vocabulary));
  if (root instanceof ModuleRecord) return { container: 'torchscript', tensors: moduleTensors(root) };
  if (root instanceof Map) return { container: 'state_dict', tensors: dictionaryTensors(root) };
  throw new CheckpointError('it holds neither a TorchScript module nor a dictionary of weights');
}

/** The archive's one folder, whatever its name: the one whose pickle lies nearest to the top. */
function findFolder(archive: ZipArchive): string {
  const depth = (folder: string): number => folder.split('/').length;
  const folders = [...archive.names]
    .filter((name) => name === PICKLE_RECORD || name.endsWith(`/${PICKLE_RECORD}`))
    .map((name) => name.slice(0, -PICKLE_RECORD.length))
    .sort((a, b) => depth(a) - depth(b));
  const [folder, next] = folders;
  if (folder === undefined) {
    throw new CheckpointError(`it is a zip archive without ${PICKLE_RECORD}, so not one that PyTorch wrote`);
  }
  if (next !== undefined && depth(next) === depth(folder)) {
    throw new CheckpointError(`it holds several models, among them ${quote(folder)} and ${quote(next)}`);
  }
  return folder;
}

/** Written since PyTorch 2.1; before, files had the byte order of their machine, which was little-endian. */
function isBigEndian(archive: ZipArchive, file: CheckpointFile, folder: string): boolean {
  const range = archive.find(`${folder}byteorder`);
  if (range === undefined) return false;
  const order = new TextDecoder().decode(
    file.readRange({ ...range, byteLength: Math.min(range.byteLength, 16) }),
  );
  if (order !== 'little' && order !== 'big') {
    throw new CheckpointError(`its byte order is ${quote(order)}; "little" and "big" are known`);
  }
  return order === 'big';
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
        throw new CheckpointError(`its attribute ${quote(name)} is endless`);
      if (value instanceof TorchTensor) tensors.set(name, value.stored);
      else if (value instanceof ModuleRecord) visit(value, `${name}.`, depth + 1);
    }
  };
  visit(root, '', 0);
  return tensors;
}

/** The same module may stand in many places, or in itself. */
function knotted(): CheckpointError {
  return new CheckpointError(
    'its modules contain each other without end, or far more of them than a CLIP has',
  );
}
