/**
 * Our vision tower as the service runs it: the image encoder with its queue. Arguments: a CompiledModel as JSON, a
 * file of pictures, a number of threads.
 */
import { MAX_IMAGE_BATCH } from '../../../../src/clip/encoder-arena.ts';
import { loadEncoders } from '../../../../src/clip/encoders.ts';
import type { CompiledModel } from '../../../../src/clip/graph/compiled-model.ts';
import { memoryLimitBytes, planMemory } from '../../../../src/memory-plan.ts';
import { answerCommands } from './tower-program.ts';

const [modelText = '', picturesPath = '', threadsText = '1'] = process.argv.slice(2);
const threads = Number(threadsText);
const compiled = JSON.parse(modelText) as CompiledModel;
const pictureBytes = compiled.architecture.vision.imageResolution ** 2 * 3;
const pixels = await Bun.file(picturesPath).bytes();
const count = pixels.length / pictureBytes;
const plan = planMemory({ limitBytes: memoryLimitBytes(), threads, files: 0 });
const encoders = await loadEncoders(compiled, { threads, copiesBytes: plan.towerCopiesBytes });
await encoders.loadCopies();
const { imageEncoder } = encoders;

async function encode(index: number): Promise<Float32Array> {
  using slot = await imageEncoder.acquireSlot();
  slot.pixels.set(pixels.subarray(index * pictureBytes, (index + 1) * pictureBytes));
  return await slot.encode();
}

let next = 0;
const encodeOne = async () => {
  await encode(next++ % count);
  return 1;
};

await answerCommands({
  count,
  async embed() {
    const embeddings: Float32Array[] = [];
    for (let index = 0; index < count; index++) embeddings.push(await encode(index));
    return embeddings;
  },
  // The queue is deep: while one batch runs, the next one waits.
  workers: (batch) =>
    batch === 1 ? [encodeOne] : Array.from({ length: (batch / MAX_IMAGE_BATCH) * 16 }, () => encodeOne),
});
process.exit(0);
