import { open } from 'node:fs/promises';

/**
 * Writes a new file. Returns when the content stands on the disk.
 * @throws when the file exists already
 */
export async function writeDurably(path: string, content: string | Uint8Array): Promise<void> {
  const file = await open(path, 'wx');
  try {
    await file.writeFile(content);
    await file.datasync();
  } finally {
    await file.close();
  }
}
