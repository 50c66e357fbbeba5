/**
 * transformers.js as a service, in the way its documentation shows: AutoProcessor, CLIPVisionModelWithProjection,
 * CLIPTextModelWithProjection. Photos of a request are one batch, and labels that came before are not encoded
 * again. Arguments: the package's folder, the model's folder, a dtype, a port.
 */
import { basename, dirname, join } from 'node:path';

interface Tensor {
  /** [count, D] */
  tolist(): number[][];
}
interface RawImage {
  readonly width: number;
}
interface Pretrained<Made> {
  from_pretrained(model: string, options?: { readonly dtype: string }): Promise<Made>;
}
/** As much of transformers.js as is used; it is not installed where types are checked. */
interface TransformersJs {
  readonly env: { allowRemoteModels: boolean; localModelPath: string };
  readonly AutoProcessor: Pretrained<(images: readonly RawImage[]) => Promise<object>>;
  readonly AutoTokenizer: Pretrained<(texts: readonly string[], options: object) => object>;
  readonly CLIPVisionModelWithProjection: Pretrained<(inputs: object) => Promise<{ image_embeds: Tensor }>>;
  readonly CLIPTextModelWithProjection: Pretrained<(inputs: object) => Promise<{ text_embeds: Tensor }>>;
  readonly RawImage: { fromBlob(blob: Blob): Promise<RawImage> };
}

const [packageFolder = '', modelFolder = '', dtype = 'fp32', port = '0'] = process.argv.slice(2);
const description: unknown = await Bun.file(join(packageFolder, 'package.json')).json();
const main = (description as { exports: { node: { import: { default: string } } } }).exports.node.import
  .default;
const library = (await import(join(packageFolder, main))) as TransformersJs;
library.env.allowRemoteModels = false;
library.env.localModelPath = dirname(modelFolder);
const name = basename(modelFolder);
const processor = await library.AutoProcessor.from_pretrained(name);
const tokenizer = await library.AutoTokenizer.from_pretrained(name);
const vision = await library.CLIPVisionModelWithProjection.from_pretrained(name, { dtype });
const text = await library.CLIPTextModelWithProjection.from_pretrained(name, { dtype });

const known = new Map<string, Promise<readonly number[][]>>();

function textEmbeddings(labels: readonly string[]): Promise<readonly number[][]> {
  const key = JSON.stringify(labels);
  const embeddings =
    known.get(key) ??
    text(tokenizer(labels, { padding: true, truncation: true })).then(({ text_embeds }) =>
      text_embeds.tolist().map(normalised),
    );
  known.set(key, embeddings);
  return embeddings;
}

function normalised(row: readonly number[]): number[] {
  const length = Math.hypot(...row);
  return row.map((value) => value / length);
}

async function categorize(request: Request): Promise<Response> {
  const form = await request.formData();
  const files = form.getAll('files').filter((entry) => entry instanceof File);
  const { categories } = JSON.parse(await (form.get('categories') as File).text()) as {
    categories: readonly string[];
  };
  const images = await Promise.all(files.map((file) => library.RawImage.fromBlob(file)));
  const { image_embeds } = await vision(await processor(images));
  const labels = await textEmbeddings(categories);
  const answer = image_embeds.tolist().map((row, index) => {
    const similarities = labels.map((label) =>
      label.reduce((sum, value, at) => sum + value * (row[at] ?? 0), 0),
    );
    return [files[index]?.name, categories[similarities.indexOf(Math.max(...similarities))]];
  });
  return Response.json(Object.fromEntries(answer));
}

Bun.serve({
  hostname: '127.0.0.1',
  port: Number(port),
  maxRequestBodySize: Number.MAX_SAFE_INTEGER,
  idleTimeout: 0,
  routes: { '/ready': new Response('ready'), '/categorize': { POST: categorize } },
});
