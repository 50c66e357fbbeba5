import { symlink } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { Bench } from '../../bench.ts';
import { cacheFolder } from '../../cache-folder.ts';
import type { Rate } from '../../measure/rate.ts';
import { paintScene } from '../../photos/scene.ts';
import { type PeerPackages, run } from '../install.ts';
import { peerEnvironment } from '../peer.ts';
import type { TowerCommand } from './tower-program.ts';

/** As many as optimum-intel takes for this model. */
const CALIBRATION_PICTURES = 300;
const EVALUATION_PICTURES = 96;
const BMP_HEADER_BYTES = 54;

/** One way to run the vision tower, in a process of its own. */
export interface Contender {
  readonly name: string;
  readonly command: readonly string[];
  readonly environment?: Readonly<Record<string, string>>;
}

export interface RunningContender extends AsyncDisposable {
  /** Pictures at the batch's size, over and over. */
  measure(batch: number, seconds: number): Promise<Rate>;
  /** All pictures of the evaluation: [N, D], not normalised. */
  embed(): Promise<Float32Array>;
}

/** All that take part, and what their embeddings are compared with. */
export interface Field {
  readonly ours: readonly Contender[];
  readonly theirs: readonly Contender[];
  /** PyTorch's, in float32: [N, D], not normalised. */
  readonly reference: Float32Array;
  /** Of the embeddings. */
  readonly dimension: number;
}

/**
 * @param exported what `export-onnx.py` wrote
 */
export async function contenders(bench: Bench, packages: PeerPackages, exported: string): Promise<Field> {
  const { python, transformersJs } = packages;
  const checkpoint = dirname(bench.model.checkpointPath);
  const [compiled] = bench.compiled.values();
  if (!compiled) throw new Error('There is no compiled model.');
  const { embeddingDimension, vision } = compiled.architecture;
  const side = vision.imageResolution;
  const pictures = await picturesOfSide(side);
  const evaluation = join(pictures, 'evaluation.raw');
  const openVino = await openVinoModels(bench, packages, exported, pictures);
  const pythonTower = join(import.meta.dir, 'python-tower.py');
  const inPython = (engine: string, ...rest: readonly string[]) => [
    python,
    pythonTower,
    engine,
    evaluation,
    String(side),
    ...rest,
  ];
  const inBun = (program: string, ...rest: readonly string[]) => [
    process.execPath,
    join(import.meta.dir, program),
    ...rest,
  ];
  const openVinoPrecisions = [
    ['int8', 'int8', 'default'],
    ['int8, weights of 7 bits', 'int8-no-overflow', 'default'],
    ['bf16', 'fp32', 'bf16'],
    ['fp32', 'fp32', 'f32'],
  ] as const;
  return {
    ours: [...bench.compiled].map(([precision, own]) => ({
      name: `this service ${precision}`,
      command: inBun('own-tower.ts', JSON.stringify(own), evaluation, String(bench.threads)),
    })),
    theirs: [
      ...openVinoPrecisions.flatMap(([title, file, hint]) =>
        [1, bench.threads].map((streams) => ({
          name: `OpenVINO ${title}, ${streams === 1 ? 'for latency' : `${streams} streams`}`,
          command: inPython('openvino', join(openVino, `${file}.xml`), hint, String(streams)),
        })),
      ),
      {
        name: 'faster-clip int8',
        command: inPython('faster-clip'),
        environment: { FASTER_CLIP_CACHE: await fasterClipCache(checkpoint) },
      },
      ...['fp32', 'q8', 'int8'].map((dtype) => ({
        name: `transformers.js ${dtype}`,
        command: inBun('transformers-js-tower.ts', transformersJs, exported, dtype, evaluation, String(side)),
      })),
      { name: 'PyTorch fp32', command: inPython('pytorch', checkpoint) },
    ],
    dimension: embeddingDimension,
    reference: new Float32Array(await Bun.file(join(openVino, 'reference.raw')).arrayBuffer()),
  };
}

/** Made-up photographs: some to calibrate with, others to compare with. No engine has seen the latter. */
async function picturesOfSide(side: number): Promise<string> {
  const folder = await cacheFolder('peers', 'pictures', String(side));
  const sets = { calibration: CALIBRATION_PICTURES, evaluation: EVALUATION_PICTURES };
  let seed = 10_000;
  for (const [name, count] of Object.entries(sets)) {
    const seeds = Array.from({ length: count }, () => ++seed);
    const file = Bun.file(join(folder, `${name}.raw`));
    if (await file.exists()) continue;
    await Bun.write(file, new Blob(seeds.map((own) => scenePixels(own, side)) as Uint8Array<ArrayBuffer>[]));
  }
  return folder;
}

/** [S, S, 3] uint8, RGB. The side must be a multiple of 4. */
function scenePixels(seed: number, side: number): Uint8Array {
  const bitmap = paintScene({ seed, width: side, height: side, grain: 1 + (seed % 8) });
  const pixels = new Uint8Array(side * side * 3);
  for (let row = 0; row < side; row++) {
    const start = BMP_HEADER_BYTES + (side - 1 - row) * side * 3;
    // BGR, from the bottom.
    for (let column = 0; column < side; column++) {
      const pixel = bitmap.subarray(start + column * 3, start + column * 3 + 3);
      pixels.set(pixel.toReversed(), (row * side + column) * 3);
    }
  }
  return pixels;
}

async function openVinoModels(
  bench: Bench,
  { python }: PeerPackages,
  exported: string,
  pictures: string,
): Promise<string> {
  const checkpoint = dirname(bench.model.checkpointPath);
  const folder = await cacheFolder('peers', 'openvino', Bun.hash(checkpoint).toString(36));
  const complete = join(folder, 'complete');
  if (await Bun.file(complete).exists()) return folder;
  bench.tell('quantising for OpenVINO with NNCF');
  const script = join(import.meta.dir, 'prepare-openvino.py');
  await run([python, script, checkpoint, join(exported, 'onnx/vision_model.onnx'), pictures, folder]);
  await Bun.write(complete, '');
  return folder;
}

/** faster-clip downloads its weights into a folder of its own; ours lie there under their name. */
async function fasterClipCache(checkpoint: string): Promise<string> {
  const cache = ['peers', 'faster-clip', Bun.hash(checkpoint).toString(36)];
  const folder = await cacheFolder(...cache, 'sentence-transformers__clip-ViT-B-32', '0_CLIPModel');
  const weights = join(folder, 'model.safetensors');
  if (await Bun.file(weights).exists()) return await cacheFolder(...cache);
  await symlink(join(checkpoint, 'model.safetensors'), weights);
  return await cacheFolder(...cache);
}

/**
 * Starts a contender and waits until it is ready.
 * @throws Error with the end of what it said if it cannot run here
 */
export async function startContender({ name, command, environment }: Contender): Promise<RunningContender> {
  const child = Bun.spawn([...command], {
    env: { ...peerEnvironment(), ...environment },
    stdin: 'pipe',
    stdout: 'pipe',
    stderr: 'pipe',
  });
  const said = new Response(child.stderr).text();
  const answers = answersOf(child.stdout);
  const nextAnswer = async () => {
    const { value } = await answers.next();
    if (value !== undefined) return value;
    await child.exited;
    throw new Error(`${name}: ${(await said).trim().split('\n').at(-1)}`);
  };
  const ask = async (command: TowerCommand) => {
    child.stdin.write(`${JSON.stringify(command)}\n`);
    await child.stdin.flush();
    return await nextAnswer();
  };
  await nextAnswer();
  return {
    measure: async (batch, seconds) => (await ask({ batch, seconds })) as Rate,
    async embed() {
      const file = join(await cacheFolder('peers', 'embeddings'), `${child.pid}.raw`);
      await ask({ embeddings: file });
      const embeddings = new Float32Array(await Bun.file(file).arrayBuffer());
      await Bun.file(file).delete();
      return embeddings;
    },
    async [Symbol.asyncDispose]() {
      child.kill('SIGKILL');
      await child.exited;
    },
  };
}

/** Libraries print, too; answers are the lines that are JSON objects. */
async function* answersOf(output: ReadableStream<Uint8Array>): AsyncGenerator<object, undefined> {
  const decoder = new TextDecoder();
  let rest = '';
  for await (const bytes of output) {
    const lines = (rest + decoder.decode(bytes, { stream: true })).split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) if (line.startsWith('{')) yield JSON.parse(line) as object;
  }
  return undefined;
}
