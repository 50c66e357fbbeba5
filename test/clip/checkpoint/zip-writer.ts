import { deflateRawSync } from 'node:zlib';
import { littleEndian } from './pickle-writer.ts';

export interface ZipRecord {
  readonly name: string;
  readonly bytes: Uint8Array;
  readonly compressed?: boolean;
  readonly encrypted?: boolean;
}

export interface ZipOptions {
  /** Writes the directory's position and every entry's sizes in the 64-bit records. */
  readonly zip64?: boolean;
  readonly comment?: string;
  /** Boundary at which contents begin, by padding in the local header only, as PyTorch does. */
  readonly alignment?: number;
}

const IN_ZIP64_FIELD = 0xffffffff;

/** Writes a zip archive, records in the order given. */
export function writeZip(records: readonly ZipRecord[], options: ZipOptions = {}): Uint8Array {
  const { zip64 = false, comment = '', alignment = 64 } = options;
  const file: Uint8Array[] = [];
  const directory: number[] = [];
  let position = 0;
  const write = (bytes: ArrayLike<number>): void => {
    file.push(Uint8Array.from(bytes));
    position += bytes.length;
  };
  for (const { name, bytes, compressed = false, encrypted = false } of records) {
    const content = compressed ? deflateRawSync(bytes) : bytes;
    const nameBytes = [...new TextEncoder().encode(name)];
    const padding = (alignment - ((position + 30 + nameBytes.length + 4) % alignment)) % alignment;
    const extra = [...littleEndian(0x4246, 2), ...littleEndian(padding, 2), ...new Array(padding).fill(0x5a)];
    // Version, flags (a data descriptor follows; encrypted), method, time and date, checksum.
    const common = [
      ...littleEndian(0x2d, 2),
      ...littleEndian(0x0808 | Number(encrypted), 2),
      ...littleEndian(compressed ? 8 : 0, 2),
      ...new Array(8).fill(0),
    ];
    const offset = position;
    write([
      ...signature(0x04034b50),
      ...common,
      // The sizes follow in the data descriptor.
      ...new Array(8).fill(0),
      ...littleEndian(nameBytes.length, 2),
      ...littleEndian(extra.length, 2),
      ...nameBytes,
      ...extra,
    ]);
    write(content);
    const large = [content.length, bytes.length];
    const field = zip64
      ? [bytes.length, content.length, offset].flatMap((value) => littleEndian(value, 8))
      : [];
    const directoryExtra = zip64 ? [...littleEndian(1, 2), ...littleEndian(field.length, 2), ...field] : [];
    directory.push(
      ...signature(0x02014b50),
      ...littleEndian(0x2d, 2),
      ...common,
      ...large.flatMap((value) => littleEndian(zip64 ? IN_ZIP64_FIELD : value, 4)),
      ...littleEndian(nameBytes.length, 2),
      ...littleEndian(directoryExtra.length, 2),
      ...new Array(10).fill(0),
      ...littleEndian(zip64 ? IN_ZIP64_FIELD : offset, 4),
      ...nameBytes,
      ...directoryExtra,
    );
  }
  const start = position;
  write(directory);
  if (zip64) {
    const end = position;
    const counts = [records.length, records.length, directory.length, start];
    write([
      ...signature(0x06064b50),
      ...littleEndian(44, 8),
      ...new Array(12).fill(0),
      ...counts.flatMap((value) => littleEndian(value, 8)),
    ]);
    write([...signature(0x07064b50), ...littleEndian(0, 4), ...littleEndian(end, 8), ...littleEndian(1, 4)]);
  }
  const commentBytes = [...new TextEncoder().encode(comment)];
  write([
    ...signature(0x06054b50),
    ...new Array(4).fill(0),
    ...littleEndian(zip64 ? 0xffff : records.length, 2),
    ...littleEndian(zip64 ? 0xffff : records.length, 2),
    ...littleEndian(zip64 ? IN_ZIP64_FIELD : directory.length, 4),
    ...littleEndian(zip64 ? IN_ZIP64_FIELD : start, 4),
    ...littleEndian(commentBytes.length, 2),
    ...commentBytes,
  ]);
  return Buffer.concat(file);
}

function signature(value: number): number[] {
  return littleEndian(value, 4);
}
