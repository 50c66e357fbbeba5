import { readFileSync } from 'node:fs';
import type { ExifOrientation } from '../../../native/geometry.ts';
import { decodeBuiltin } from '../../../native/image/builtin-decoder.ts';
import { resizeAndCrop } from '../../../src/clip/preprocessing.ts';
import { giveBack } from '../../../src/garbage.ts';
import { createPictureLoader } from '../../../src/media/picture/picture.ts';
import { createPictureProcesses } from '../../../src/media/picture/picture-process.ts';

/** Decodes saved pictures as the fuzzer did, at every orientation: `bun test/fuzz/decoders/replay.ts FILE...` */

const MEMORY_BYTES = 800 * 1024 ** 2;
await using isolated = createPictureProcesses({ processes: 1, memoryBytes: MEMORY_BYTES });
const load = createPictureLoader({
  isolated,
  geometry: (width, height) => resizeAndCrop(width, height, 224),
  limits: { imageBytes: 64 * 1024 ** 2, imagePixels: 100_000_000 },
});

for (const file of process.argv.slice(2)) {
  const bytes = new Uint8Array(readFileSync(file));
  const outcome = await outcomeOf(() => load(bytes, new Uint8Array(224 * 224 * 3)));
  console.log(`${file}: as the service does: ${outcome}`);
  for (let orientation = 1; orientation <= 8; orientation++) {
    for (const resized of [undefined, { width: 37, height: 400 }]) {
      const options = { declaredPixels: 16_000_000, orientation: orientation as ExifOrientation };
      const decoded = await outcomeOf(async () => {
        giveBack(await decodeBuiltin(bytes, { ...options, ...(resized && { resized }) }));
      });
      console.log(`  orientation ${orientation}, ${resized ? '37 × 400' : 'as it is'}: ${decoded}`);
    }
  }
}

async function outcomeOf(decode: () => Promise<unknown>): Promise<string> {
  const before = process.cpuUsage();
  let outcome = 'decoded';
  try {
    await decode();
  } catch (fault) {
    outcome = String(fault);
  }
  const { user, system } = process.cpuUsage(before);
  return `${outcome} (${((user + system) / 1000).toFixed(0)} ms of processor time)`;
}
