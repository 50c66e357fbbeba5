import { expect, test } from 'bun:test';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileChecksum } from '../../../src/clip/graph/compiled-model.ts';
import { temporaryDirectory } from './compiled.ts';

test('a file is known by its size and its CRC-32', async () => {
  await using directory = await temporaryDirectory();
  const path = join(directory.path, 'file');
  // The check value of CRC-32/ISO-HDLC.
  await writeFile(path, '123456789');
  expect(await fileChecksum(path)).toEqual({ size: 9, crc32: 0xcb_f4_39_26 });
  await writeFile(path, '');
  expect(await fileChecksum(path)).toEqual({ size: 0, crc32: 0 });
});

test('a file of many blocks has the sum of the whole', async () => {
  await using directory = await temporaryDirectory();
  const path = join(directory.path, 'file');
  const content = Uint8Array.from({ length: 3_000_001 }, (_, index) => index * 7 + (index >> 8));
  await writeFile(path, content);
  expect(await fileChecksum(path)).toEqual({ size: content.length, crc32: Bun.hash.crc32(content) });
});
