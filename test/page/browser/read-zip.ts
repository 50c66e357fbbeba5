import { crc32 } from 'node:zlib';
import { CheckpointFile } from '../../../src/clip/checkpoint/checkpoint.ts';
import { ZipArchive } from '../../../src/clip/checkpoint/zip-archive.ts';

/** A file in a ZIP. */
interface ZipEntry {
  /** With its folder. */
  readonly name: string;
  readonly bytes: Uint8Array;
}

/**
 * Reads a ZIP with the reader of checkpoints, which has nothing in common with the library that writes it, and checks
 * the checksums.
 */
export function readZip(path: string): readonly ZipEntry[] {
  using file = new CheckpointFile(path);
  const archive = new ZipArchive(file);
  return [...archive.names].map((name) => {
    const range = archive.find(name);
    if (!range) throw new Error(`${name} has no content`);
    const bytes = file.readRange(range);
    // A descriptor follows the content: its signature, and the checksum.
    const descriptor = file.readRange({ byteOffset: range.byteOffset + range.byteLength, byteLength: 8 });
    const fields = new DataView(descriptor.buffer);
    if (fields.getUint32(0) !== 0x504b0708) throw new Error(`${name} has no descriptor`);
    if (fields.getUint32(4, true) !== crc32(bytes)) throw new Error(`${name} has a wrong checksum`);
    return { name, bytes };
  });
}
