import { open } from 'node:fs/promises';

const BLOCK_BYTES = 1024 ** 2;

/** Whether two files have the same bytes. */
export async function haveSameContent(a: string, b: string): Promise<boolean> {
  await using fileA = await open(a, 'r');
  await using fileB = await open(b, 'r');
  const { size } = await fileA.stat();
  if ((await fileB.stat()).size !== size) return false;
  const blockA = Buffer.allocUnsafe(BLOCK_BYTES);
  const blockB = Buffer.allocUnsafe(BLOCK_BYTES);
  for (let at = 0; at < size; ) {
    const [readA, readB] = await Promise.all([
      fileA.read(blockA, 0, BLOCK_BYTES, at),
      fileB.read(blockB, 0, BLOCK_BYTES, at),
    ]);
    const bytes = Math.min(readA.bytesRead, readB.bytesRead);
    // One of them has become shorter meanwhile.
    if (bytes === 0) return false;
    if (!blockA.subarray(0, bytes).equals(blockB.subarray(0, bytes))) return false;
    at += bytes;
  }
  return true;
}

/** Whether a file has exactly these bytes. */
export async function hasContent(path: string, bytes: Uint8Array): Promise<boolean> {
  const file = Bun.file(path);
  return file.size === bytes.byteLength && Buffer.from(await file.arrayBuffer()).equals(bytes);
}
