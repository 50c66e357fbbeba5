/**
 * The vision tower of transformers.js. Arguments: the package's folder, the model's folder, a dtype, a file of
 * pictures, their side.
 */
import { basename, dirname, join } from 'node:path';
import { answerCommands } from './tower-program.ts';

type Tensor = object;
/** As much of transformers.js as is used; it is not installed where types are checked. */
interface TransformersJs {
  readonly env: { allowRemoteModels: boolean; localModelPath: string };
  readonly Tensor: new (type: 'float32', data: Float32Array, dims: readonly number[]) => Tensor;
  readonly CLIPVisionModelWithProjection: {
    from_pretrained(
      model: string,
      options: { readonly dtype: string },
    ): Promise<(inputs: { pixel_values: Tensor }) => Promise<{ image_embeds: { data: Float32Array } }>>;
  };
}

const MEAN = [0.48145466, 0.4578275, 0.40821073] as const;
const STD = [0.26862954, 0.26130258, 0.27577711] as const;

const [packageFolder = '', modelFolder = '', dtype = 'fp32', picturesPath = '', sideText = '224'] =
  process.argv.slice(2);
const description: unknown = await Bun.file(join(packageFolder, 'package.json')).json();
const main = (description as { exports: { node: { import: { default: string } } } }).exports.node.import
  .default;
const library = (await import(join(packageFolder, main))) as TransformersJs;
library.env.allowRemoteModels = false;
library.env.localModelPath = dirname(modelFolder);
const tower = await library.CLIPVisionModelWithProjection.from_pretrained(basename(modelFolder), { dtype });

const side = Number(sideText);
const area = side * side;
const pixels = await Bun.file(picturesPath).bytes();
const count = pixels.length / (area * 3);
const values = Float32Array.from({ length: count * area * 3 }, (_, at) => {
  const channel = Math.floor(at / area) % 3;
  const pixel = Math.floor(at / (area * 3)) * area + (at % area);
  return ((pixels[pixel * 3 + channel] ?? 0) / 255 - (MEAN[channel] ?? 0)) / (STD[channel] ?? 1);
});

/** [count, D] */
async function encode(start: number, length: number): Promise<Float32Array> {
  const data = values.slice(start * area * 3, (start + length) * area * 3);
  const pixel_values = new library.Tensor('float32', data, [length, 3, side, side]);
  return (await tower({ pixel_values })).image_embeds.data;
}

let next = 0;
await answerCommands({
  count,
  async embed() {
    const embeddings: Float32Array[] = [];
    for (let start = 0; start < count; start++) embeddings.push((await encode(start, 1)).slice());
    return embeddings;
  },
  workers: (batch) => [
    async () => {
      await encode(next++ % (count - batch + 1), batch);
      return batch;
    },
  ],
});
process.exit(0);
