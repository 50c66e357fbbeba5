import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { type Message, parse } from 'protobufjs';
import type { Checkpoint } from '../../../src/clip/checkpoint/checkpoint.ts';
import type { Calibration } from '../../../src/clip/graph/calibration.ts';
import { compileModel } from '../../../src/clip/graph/compile-model.ts';
import { observedGraphFiles } from '../../../src/clip/graph/compiled-model.ts';
import schema from '../../../src/clip/graph/onnx.proto' with { type: 'text' };
import { observedInputs } from '../../../src/clip/graph/transformer.ts';
import { comparePrecisions, type ProbeEmbeddings } from '../../../src/clip/precision/compare-precisions.ts';
import { encodeProbePictures, encodeProbeTexts } from '../../../src/clip/precision/encode-probes.ts';
import { calibrationFor, type Probes, probesFor } from '../../../src/clip/precision/probes.ts';
import { identity, temporaryDirectory } from '../graph/compiled.ts';
import { randomCheckpoint } from '../graph/random-checkpoint.ts';

setDefaultTimeout(120_000);

type Tower = 'vision' | 'text';

const architecture = {
  embeddingDimension: 64,
  activation: 'quick_gelu',
  vision: { imageResolution: 32, patchSize: 8, width: 128, layers: 2, heads: 2 },
  text: { contextLength: 77, vocabularySize: 49_408, width: 128, layers: 2, heads: 2 },
} as const;

interface Node {
  readonly name: string;
  input: string[];
  attribute: { readonly name: string; f?: number }[];
}

interface Initializer {
  readonly name: string;
  rawData: Uint8Array;
  readonly externalData: readonly { readonly key: string; readonly value: string }[];
}

const modelProto = parse(schema).root.lookupType('onnx.ModelProto');

/** An ONNX file and its weights, to be changed. */
class Graph {
  readonly #message: Message<object>;
  readonly #weights: Uint8Array;

  constructor(file: Uint8Array, weights: Uint8Array) {
    this.#message = modelProto.decode(file);
    this.#weights = weights;
  }

  get #graph(): { node: Node[]; initializer: Initializer[] } {
    return (this.#message as unknown as { graph: { node: Node[]; initializer: Initializer[] } }).graph;
  }

  node(name: string): Node {
    return this.#graph.node.find((node) => node.name === name)!;
  }

  /** Writes to it change the graph. */
  float32(name: string): Float32Array {
    const bytes = this.#bytes(name);
    return new Float32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4);
  }

  /** Writes to it change the graph. */
  int8(name: string): Int8Array {
    const bytes = this.#bytes(name);
    return new Int8Array(bytes.buffer, bytes.byteOffset, bytes.length);
  }

  #bytes(name: string): Uint8Array {
    const found = this.#graph.initializer.find((initializer) => initializer.name === name)!;
    if (found.externalData.length === 0) {
      found.rawData = found.rawData.slice();
      return found.rawData;
    }
    const value = (key: string) => Number(found.externalData.find((entry) => entry.key === key)!.value);
    return this.#weights.subarray(value('offset'), value('offset') + value('length'));
  }

  encode(): Uint8Array {
    return modelProto.encode(this.#message).finish();
  }
}

const vision = (layer: number) => `visual.transformer.resblocks.${layer}`;
const text = (layer: number) => `transformer.resblocks.${layer}`;

const multiply = (values: Float32Array, factor: number) => {
  for (let index = 0; index < values.length; index++) values[index] = values[index]! * factor;
};

type Fault = readonly [name: string, tower: Tower, spoil: (graph: Graph) => void];

/** Things that could go wrong in a graph, a weight file or the code that makes them. */
const faults: readonly Fault[] = [
  [
    'the scales of a product are half too large',
    'vision',
    (graph) => {
      multiply(graph.float32(`${vision(1)}.mlp.c_fc.weight.scales`), 1.5);
    },
  ],
  [
    'one column of a product has a wrong scale',
    'vision',
    (graph) => {
      const scales = graph.float32(`${vision(1)}.mlp.c_proj.weight.scales`);
      scales[7] = scales[7]! * 8;
    },
  ],
  ['a bias is missing', 'vision', (graph) => graph.float32(`${vision(0)}.mlp.c_fc.bias`).fill(0)],
  ['a bias is added twice', 'text', (graph) => multiply(graph.float32(`${text(0)}.mlp.c_proj.bias`), 2)],
  [
    'a tenth of a weight is lost',
    'vision',
    (graph) => {
      const values = graph.int8(`${vision(0)}.attn.value.weight`);
      values.fill(0, 0, values.length / 10);
    },
  ],
  [
    'the rows of a weight are shifted by one',
    'text',
    (graph) => {
      const values = graph.int8(`${text(1)}.attn.out_proj.weight`);
      values.set(values.slice(128), 0);
    },
  ],
  [
    'keys and queries are exchanged',
    'vision',
    (graph) => {
      const { input } = graph.node(`${vision(0)}.attn.scores`);
      input.reverse();
    },
  ],
  [
    'scores are not divided by the root of the width',
    'vision',
    (graph) => {
      graph.node(`${vision(0)}.attn.scores`).attribute[0]!.f = 1;
    },
  ],
  ['the mask hides nothing', 'text', (graph) => graph.float32('mask.table').fill(0)],
  [
    'a residual is lost',
    'vision',
    (graph) => {
      const node = graph.node(`${vision(0)}.attn.residual`);
      node.input = [node.input[1]!, node.input[1]!];
    },
  ],
  [
    'QuickGELU has another factor',
    'text',
    (graph) => {
      graph.node(`${text(0)}.mlp.gelu`).attribute[0]!.f = 1 / 1.702;
    },
  ],
  ['a norm’s weights are 1', 'vision', (graph) => graph.float32(`${vision(1)}.ln_2.weight`).fill(1)],
  ['a norm’s bias is missing', 'text', (graph) => graph.float32('ln_final.bias').fill(0)],
  [
    'positions are shifted by one',
    'text',
    (graph) => {
      graph.float32('positional_embedding.weight').copyWithin(0, 128);
    },
  ],
  ['the class token is missing', 'vision', (graph) => graph.float32('visual.token_table').fill(0, 0, 128)],
  [
    'red and blue are exchanged',
    'vision',
    (graph) => {
      const values = graph.int8('visual.conv1.weight');
      for (let pixel = 0; pixel < values.length; pixel += 3 * 128) {
        const red = values.slice(pixel, pixel + 128);
        values.copyWithin(pixel, pixel + 256, pixel + 384);
        values.set(red, pixel + 256);
      }
    },
  ],
  [
    'a weight has noise of a tenth of its size',
    'text',
    (graph) => {
      const values = graph.int8(`${text(0)}.mlp.c_fc.weight`);
      for (let index = 0; index < values.length; index++) {
        values[index] = Math.max(-127, Math.min(127, values[index]! + (index % 2 === 0 ? 12 : -12)));
      }
    },
  ],
];

const rowFaults: readonly Fault[] = [
  [
    'rows are quantised in steps half as large, so that their peaks are cut',
    'vision',
    (graph) => {
      multiply(graph.float32('int8.any.step'), 0.5);
    },
  ],
  [
    'rows are quantised in eight times fewer steps',
    'text',
    (graph) => {
      multiply(graph.float32('int8.any.step'), 8);
    },
  ],
  [
    'activated rows are scaled by another row’s scale',
    'text',
    (graph) => {
      const node = graph.node(`${text(1)}.mlp.c_proj.product`);
      node.input = [node.input[0]!, `${text(1)}.ln_2.row_scales`];
    },
  ],
];

const fixedFaults: readonly Fault[] = [
  [
    'a fixed scale is eight times too small, so that values are cut',
    'vision',
    (graph) => {
      multiply(graph.float32(`${vision(1)}.ln_2.fixed.scale`), 1 / 8);
    },
  ],
  [
    'fixed scales are eight times too large',
    'text',
    (graph) => {
      for (const layer of [0, 1]) {
        for (const input of ['ln_1', 'attn', 'ln_2', 'mlp.gelu.input']) {
          multiply(graph.float32(`${text(layer)}.${input}.fixed.scale`), 8);
        }
      }
    },
  ],
  [
    'a product has the fixed scale of another input',
    'text',
    (graph) => {
      graph.node(`${text(1)}.mlp.c_proj`).input[2] = `${text(1)}.attn.fixed.scale`;
    },
  ],
  [
    'a product has the zero point of another input',
    'vision',
    (graph) => {
      graph.node(`${vision(0)}.mlp.c_proj`).input[4] = `${vision(0)}.ln_2.fixed.zero_point`;
    },
  ],
];

/** What smoothing and fixed scales need to know. */
async function calibrated(checkpoint: Checkpoint): Promise<Calibration> {
  await using directory = await temporaryDirectory();
  const target = { precision: 'fp32', observed: true } as const;
  await compileModel({ checkpoint, identity, target, directory: directory.path });
  const calibrating = calibrationFor(checkpoint);
  const sets = { probes: { ...calibrating, pictures: [], texts: [] }, calibrating };
  const of = (tower: Tower) => ({
    graphPath: join(directory.path, observedGraphFiles[tower]),
    embeddingDimension: architecture.embeddingDimension,
    observed: observedInputs(tower, architecture),
    threads: 2,
    weights: 'mapped' as const,
  });
  const pictures = await encodeProbePictures(of('vision'), sets, () => {});
  const texts = await encodeProbeTexts(of('text'), sets, () => {});
  return new Map([...pictures.calibration, ...texts.calibration]);
}

const forms = [
  { form: 'with a scale for each row', faults: [...faults, ...rowFaults], calibrate: async () => new Map() },
  { form: 'with fixed scales', faults: [...faults, ...fixedFaults], calibrate: calibrated },
];

describe.each(forms)('a graph $form is refused if', ({ faults, calibrate }) => {
  const cleanup = new AsyncDisposableStack();
  let directory: string;
  let probes: Probes;
  let fp32: ProbeEmbeddings;
  let int8: ProbeEmbeddings;

  const encode = async (tower: Tower, folder: string) => {
    const of = {
      graphPath: join(folder, `${tower}.onnx`),
      embeddingDimension: architecture.embeddingDimension,
      observed: [],
      threads: 2,
      weights: 'packed',
    } as const;
    const encodeProbes = tower === 'vision' ? encodeProbePictures : encodeProbeTexts;
    return (await encodeProbes(of, { probes }, () => {})).embeddings;
  };

  beforeAll(async () => {
    directory = cleanup.use(await temporaryDirectory()).path;
    const checkpoint = randomCheckpoint(architecture, 3);
    const all = probesFor(checkpoint);
    // As many texts as choices need; all of them would take longer.
    probes = { ...all, texts: all.texts.slice(0, 200) };
    const calibration = await calibrate(checkpoint);
    const compiled = async (precision: 'fp32' | 'int8') => {
      const folder = join(directory, precision);
      await mkdir(folder);
      const target = precision === 'fp32' ? { precision } : { precision, calibration };
      const { rowProducts } = await compileModel({ checkpoint, identity, target, directory: folder });
      if (precision === 'int8') expect(rowProducts).toHaveLength(calibration.size === 0 ? 24 : 0);
      return { pictures: await encode('vision', folder), texts: await encode('text', folder) };
    };
    fp32 = await compiled('fp32');
    int8 = await compiled('int8');
  });
  afterAll(() => cleanup.disposeAsync());

  test('nothing, if nothing is wrong', () => {
    expect(comparePrecisions(probes, { fp32, int8 }, 100).report).toMatchObject({ accepted: true });
  });

  test.each([...faults])('%s (%s)', async (name, tower, spoil) => {
    const folder = join(directory, name.replaceAll(/\W/g, '-'));
    await mkdir(folder);
    const file = (part: string) => join(directory, 'int8', `${tower}.${part}`);
    const weights = await Bun.file(file('weights')).bytes();
    const graph = new Graph(await Bun.file(file('onnx')).bytes(), weights);
    spoil(graph);
    await Bun.write(join(folder, `${tower}.onnx`), graph.encode());
    await Bun.write(join(folder, `${tower}.weights`), weights);
    const embeddings = await encode(tower, folder);
    const spoiled = { ...int8, [tower === 'vision' ? 'pictures' : 'texts']: embeddings };
    const { report } = comparePrecisions(probes, { fp32, int8: spoiled }, 100);
    expect(report.accepted).toBe(false);
  });
});
