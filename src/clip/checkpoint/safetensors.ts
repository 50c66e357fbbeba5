import * as v from 'valibot';
import { CheckpointError, type CheckpointFile, quote } from './checkpoint.ts';
import {
  type ElementType,
  elementBytes,
  elementCount,
  type StoredTensor,
  storedTensor,
} from './stored-tensor.ts';

/** The header's length, a little-endian 64-bit number. */
const LENGTH_BYTES = 8;

/** A tensor takes about 110 bytes; a CLIP has a few hundred. The format allows 100 MB. */
const MAX_HEADER_BYTES = 16 * 1024 ** 2;

const METADATA = '__metadata__';

const elementTypes: ReadonlyMap<string, ElementType> = new Map([
  ['F16', 'float16'],
  ['BF16', 'bfloat16'],
  ['F32', 'float32'],
  ['F64', 'float64'],
  ['I64', 'int64'],
  ['I32', 'int32'],
  ['I16', 'int16'],
  ['I8', 'int8'],
  ['U8', 'uint8'],
  ['BOOL', 'bool'],
]);

const wholeNumber = v.pipe(v.number(), v.safeInteger(), v.minValue(0));
const entrySchema = v.object({
  dtype: v.string(),
  shape: v.array(wholeNumber),
  /** Begin and end, from the end of the header. */
  data_offsets: v.strictTuple([wholeNumber, wholeNumber]),
});

/**
 * Reads the tensor directory of a safetensors file (huggingface/safetensors, README, "Format").
 * @throws CheckpointError if the header is damaged, or tensors overlap or lie outside the file
 */
export function readSafetensors(file: CheckpointFile): ReadonlyMap<string, StoredTensor> {
  const { header, dataOffset } = readHeader(file);
  const dataBytes = file.byteLength - dataOffset;
  const tensors = new Map<string, StoredTensor>();
  const ranges: { name: string; begin: number; end: number }[] = [];
  for (const [name, value] of Object.entries(header)) {
    if (name === METADATA) continue;
    const parsed = v.safeParse(entrySchema, value);
    if (!parsed.success) {
      throw new CheckpointError(
        `its tensor ${quote(name)} is described wrongly in the header: ${parsed.issues[0].message}`,
      );
    }
    const { dtype, shape, data_offsets } = parsed.output;
    const [begin, end] = data_offsets;
    const elementType = elementTypes.get(dtype);
    if (elementType === undefined) {
      const known = [...elementTypes.keys()].join(', ');
      throw new CheckpointError(
        `its tensor ${quote(name)} is of type ${quote(dtype)}; supported are ${known}`,
      );
    }
    if (end > dataBytes) {
      throw new CheckpointError(
        `its tensor ${quote(name)} ends at byte ${end} of the data, which has ${dataBytes} bytes: ` +
          'the file is cut short, as after an interrupted download',
      );
    }
    if (end - begin !== elementCount(shape) * elementBytes[elementType]) {
      throw new CheckpointError(
        `its tensor ${quote(name)} of type ${dtype} and ${shape.length} dimensions does not have ` +
          `${end - begin} bytes, as its offsets say`,
      );
    }
    if (end > begin) ranges.push({ name, begin, end });
    const storage = { byteOffset: dataOffset + begin, byteLength: end - begin };
    tensors.set(
      name,
      storedTensor({ elementType, shape, storage, storageOffset: 0 }, file, `tensor ${quote(name)}`),
    );
  }
  ranges.sort((a, b) => a.begin - b.begin);
  for (const [i, { name, begin }] of ranges.entries()) {
    const previous = ranges[i - 1];
    if (previous !== undefined && begin < previous.end) {
      throw new CheckpointError(
        `its tensors ${quote(previous.name)} and ${quote(name)} overlap; the file is damaged`,
      );
    }
  }
  return tensors;
}

function readHeader(file: CheckpointFile): { header: object; dataOffset: number } {
  const length = file.readRange({ byteOffset: 0, byteLength: LENGTH_BYTES });
  const headerBytes = new DataView(length.buffer).getBigUint64(0, true);
  if (headerBytes > BigInt(MAX_HEADER_BYTES)) {
    throw new CheckpointError(
      `its safetensors header claims ${headerBytes} bytes; at most ${MAX_HEADER_BYTES} are supported`,
    );
  }
  const dataOffset = LENGTH_BYTES + Number(headerBytes);
  if (dataOffset > file.byteLength) {
    throw new CheckpointError(
      `its safetensors header claims ${headerBytes} bytes, but the file has ${file.byteLength}: it is cut short, ` +
        'as after an interrupted download',
    );
  }
  const text = new TextDecoder().decode(
    file.readRange({ byteOffset: LENGTH_BYTES, byteLength: Number(headerBytes) }),
  );
  try {
    const header: unknown = JSON.parse(text);
    if (typeof header === 'object' && header !== null && !Array.isArray(header))
      return { header, dataOffset };
  } catch (error) {
    throw new CheckpointError('its safetensors header is not JSON; the file is damaged', { cause: error });
  }
  throw new CheckpointError('its safetensors header is not a JSON object; the file is damaged');
}
