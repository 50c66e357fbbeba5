import type { Activation, ClipArchitecture } from '../../../src/clip/architecture.ts';
import type { Checkpoint } from '../../../src/clip/checkpoint/checkpoint.ts';

/**
 * CLIP's forward pass as the reference's model.py writes it, one picture or text at a time and in double
 * precision: slow, and meant to be read. The oracle of the graphs.
 */
export function referenceForward(checkpoint: Checkpoint) {
  const { architecture } = checkpoint;
  const read = (name: string): Vector => {
    const weight = checkpoint.weights.get(name);
    if (!weight) throw new Error(`no weight ${name}`);
    return Float64Array.from(weight.read());
  };
  return {
    encodeImage: (pixels: Uint8Array) => encodeImage(read, architecture, pixels),
    encodeText: (ids: readonly number[]) => encodeText(read, architecture, ids),
  };
}

type Vector = Float64Array;
/** Rows of one length. */
type Matrix = readonly Vector[];
type Read = (name: string) => Vector;

const mean = [0.48145466, 0.4578275, 0.40821073];
const standardDeviation = [0.26862954, 0.26130258, 0.27577711];

/** pixels [S, S, 3] uint8 → [D], L2-normalised */
function encodeImage(read: Read, architecture: ClipArchitecture, pixels: Uint8Array): Vector {
  const { vision, activation, embeddingDimension } = architecture;
  const { imageResolution, patchSize, width } = vision;
  const grid = imageResolution / patchSize;
  const convolution = read('visual.conv1.weight'); // [W, 3, P, P]
  const positions = split(read('visual.positional_embedding'), width); // [G² + 1, W]

  const tokens: Vector[] = [read('visual.class_embedding')]; // [G² + 1, W]
  for (let patch = 0; patch < grid * grid; patch++) {
    const top = Math.floor(patch / grid) * patchSize;
    const left = (patch % grid) * patchSize;
    const token = new Float64Array(width);
    for (let output = 0; output < width; output++) {
      let sum = 0;
      for (let channel = 0; channel < 3; channel++) {
        for (let y = 0; y < patchSize; y++) {
          for (let x = 0; x < patchSize; x++) {
            const pixel = at(pixels, ((top + y) * imageResolution + left + x) * 3 + channel);
            const normalised = (pixel / 255 - at(mean, channel)) / at(standardDeviation, channel);
            sum += normalised * at(convolution, ((output * 3 + channel) * patchSize + y) * patchSize + x);
          }
        }
      }
      token[output] = sum;
    }
    tokens.push(token);
  }
  const embedded = tokens.map((token, row) => add(token, at(positions, row)));
  const stream = transformer(
    read,
    'visual.transformer',
    vision,
    activation,
    layerNorm(read, 'visual.ln_pre', embedded),
    'full',
  );
  const pooled = layerNorm(read, 'visual.ln_post', stream.slice(0, 1)); // [1, W]
  return normalise(at(multiply(pooled, transpose(split(read('visual.proj'), embeddingDimension))), 0));
}

/** ids [L] → [D], L2-normalised */
function encodeText(read: Read, architecture: ClipArchitecture, ids: readonly number[]): Vector {
  const { text, activation, embeddingDimension } = architecture;
  const { width } = text;
  const tokenEmbedding = split(read('token_embedding.weight'), width); // [V, W]
  const positions = split(read('positional_embedding'), width); // [C, W]
  const embedded = ids.map((id, row) => add(at(tokenEmbedding, id), at(positions, row))); // [L, W]
  const stream = layerNorm(
    read,
    'ln_final',
    transformer(read, 'transformer', text, activation, embedded, 'causal'),
  );
  const endToken = ids.indexOf(Math.max(...ids));
  const pooled = [at(stream, endToken)]; // [1, W]
  return normalise(at(multiply(pooled, transpose(split(read('text_projection'), embeddingDimension))), 0));
}

/** x [L, W] → [L, W] */
function transformer(
  read: Read,
  prefix: string,
  { layers, heads }: { layers: number; heads: number },
  activation: Activation,
  x: Matrix,
  mask: 'full' | 'causal',
): Matrix {
  let stream = x;
  for (let layer = 0; layer < layers; layer++) {
    const block = `${prefix}.resblocks.${layer}`;
    const attended = attention(read, `${block}.attn`, heads, layerNorm(read, `${block}.ln_1`, stream), mask);
    stream = stream.map((row, index) => add(row, at(attended, index)));
    const hidden = linear(read, `${block}.mlp.c_fc`, layerNorm(read, `${block}.ln_2`, stream)); // [L, 4W]
    const out = linear(
      read,
      `${block}.mlp.c_proj`,
      hidden.map((row) => row.map(activation === 'quick_gelu' ? quickGelu : gelu)),
    ); // [L, W]
    stream = stream.map((row, index) => add(row, at(out, index)));
  }
  return stream;
}

/** nn.MultiheadAttention: x [L, W] → [L, W] */
function attention(read: Read, name: string, heads: number, x: Matrix, mask: 'full' | 'causal'): Matrix {
  const width = at(x, 0).length;
  const headWidth = width / heads;
  const bias = read(`${name}.in_proj_bias`); // [3W]
  const projected = multiply(x, split(read(`${name}.in_proj_weight`), width)).map((row) => add(row, bias)); // [L, 3W]
  const joined = x.map(() => new Float64Array(width)); // [L, W]
  for (let head = 0; head < heads; head++) {
    const part = (offset: number): Matrix =>
      projected.map((row) => row.slice(offset + head * headWidth, offset + (head + 1) * headWidth)); // [L, W/H]
    const queries = part(0);
    const keys = part(width);
    const values = part(2 * width);
    multiply(queries, keys).forEach((similarities, row) => {
      const seen = mask === 'causal' ? similarities.slice(0, row + 1) : similarities;
      softmax(seen.map((value) => value / Math.sqrt(headWidth))).forEach((weight, position) => {
        at(values, position).forEach((value, channel) => {
          const target = at(joined, row);
          target[head * headWidth + channel] = at(target, head * headWidth + channel) + weight * value;
        });
      });
    });
  }
  return linear(read, `${name}.out_proj`, joined);
}

/** nn.Linear: x [L, in] → [L, out]; the weight is [out, in] */
function linear(read: Read, name: string, x: Matrix): Matrix {
  const bias = read(`${name}.bias`);
  return multiply(x, split(read(`${name}.weight`), at(x, 0).length)).map((row) => add(row, bias));
}

/** x · mᵀ: [L, K] and [M, K] → [L, M] */
function multiply(x: Matrix, m: Matrix): Matrix {
  return x.map((row) => Float64Array.from(m, (other) => dot(row, other)));
}

function layerNorm(read: Read, name: string, x: Matrix): Matrix {
  const scale = read(`${name}.weight`);
  const bias = read(`${name}.bias`);
  return x.map((row) => {
    const average = row.reduce((sum, value) => sum + value, 0) / row.length;
    const variance = row.reduce((sum, value) => sum + (value - average) ** 2, 0) / row.length;
    return row.map((value, index) => {
      return ((value - average) / Math.sqrt(variance + 1e-5)) * at(scale, index) + at(bias, index);
    });
  });
}

function softmax(values: Vector): Vector {
  const highest = Math.max(...values);
  const exponentials = values.map((value) => Math.exp(value - highest));
  const total = exponentials.reduce((sum, value) => sum + value, 0);
  return exponentials.map((value) => value / total);
}

function quickGelu(value: number): number {
  return value / (1 + Math.exp(-1.702 * value));
}

function gelu(value: number): number {
  return (value / 2) * (1 + errorFunction(value / Math.SQRT2));
}

/** erf x = 2/√π · exp(−x²) · Σ 2ⁿ x²ⁿ⁺¹ / (2n+1)!!, whose terms all have one sign. */
function errorFunction(x: number): number {
  if (Math.abs(x) > 6) return Math.sign(x);
  let term = x;
  let sum = x;
  for (let n = 1; Math.abs(term) > 1e-17 * Math.abs(sum); n++) {
    term *= (2 * x * x) / (2 * n + 1);
    sum += term;
  }
  return (2 / Math.sqrt(Math.PI)) * Math.exp(-x * x) * sum;
}

function normalise(vector: Vector): Vector {
  const length = Math.sqrt(dot(vector, vector));
  return vector.map((value) => value / length);
}

export function dot(a: ArrayLike<number>, b: ArrayLike<number>): number {
  let sum = 0;
  for (let index = 0; index < a.length; index++) sum += at(a, index) * at(b, index);
  return sum;
}

function add(a: Vector, b: Vector): Vector {
  return a.map((value, index) => value + at(b, index));
}

/** [R·C] → R rows of C */
function split(values: Vector, length: number): Matrix {
  return Array.from({ length: values.length / length }, (_, row) =>
    values.subarray(row * length, (row + 1) * length),
  );
}

function transpose(matrix: Matrix): Matrix {
  return Array.from(at(matrix, 0), (_, column) => Float64Array.from(matrix, (row) => at(row, column)));
}

function at<T>(list: ArrayLike<T>, index: number): T {
  if (index >= list.length) throw new Error(`index ${index} of ${list.length}`);
  return list[index] as T;
}
