import type { ArenaTensor, OnnxWorker } from '../../native/onnx/worker.ts';
import { createClipClassifier } from '../../src/classify/clip-classifier.ts';
import { softmax } from '../../src/classify/decide.ts';
import { layOutEncoderArena } from '../../src/clip/encoder-arena.ts';
import { createImageEncoder } from '../../src/clip/image-encoder.ts';
import { createLabelEncoder } from '../../src/clip/label-encoder.ts';
import { unobserved } from '../../src/engine-observer.ts';
import { ServiceError } from '../../src/errors.ts';
import type { LoadPicture } from '../../src/media/picture/picture.ts';
import { createVideoPlaces } from '../../src/media/video/video-places.ts';

const colours: Readonly<Record<string, readonly [number, number, number]>> = {
  red: [255, 25, 25],
  green: [25, 255, 25],
  blue: [25, 25, 255],
};
const normalised = (numbers: ArrayLike<number>): Float32Array => {
  const length = Math.hypot(...Array.from(numbers));
  return Float32Array.from(numbers, (value) => value / length);
};
const colourOf = (word: string) => colours[word] ?? [25, 25, 25];

/** [3] float32, L2-normalised. */
export const embeddingOf = (word: string): Float32Array => normalised(colourOf(word));

/** A picture whose squares have these colours. Its signature is a GIF's. */
export const pictureOf = (...words: readonly string[]): string => `GIF89a ${words.join('|')}`;

const tower = { width: 64, layers: 1, heads: 1 };
const arena = layOutEncoderArena(
  {
    embeddingDimension: 3,
    activation: 'quick_gelu',
    vision: { ...tower, imageResolution: 1, patchSize: 1 },
    text: { ...tower, contextLength: 7, vocabularySize: 10 },
  },
  1,
);

/** A worker whose embedding of a picture is its only pixel. */
function pixelWorker(): OnnxWorker {
  const memory = new SharedArrayBuffer(arena.bytes);
  return {
    arena: memory,
    async load() {},
    async run(_session, [input], [output]) {
      const { dims, byteOffset } = input as ArenaTensor;
      const count = dims[0] as number;
      await Bun.sleep(1);
      const pixels = new Uint8Array(memory, byteOffset, count * 3);
      const embeddings = new Float32Array(memory, (output as ArenaTensor).byteOffset, count * 3);
      for (let row = 0; row < count; row++) {
        embeddings.set(normalised(pixels.subarray(row * 3, row * 3 + 3)), row * 3);
      }
    },
    async [Symbol.asyncDispose]() {},
  };
}

/** The classifier with the real encoder. The model looks at one pixel, and pictures are lists of colours. */
export function tiledClassifier({ tiledBytes = 100 } = {}) {
  const seen = { loaded: 0, atOnce: 0, mostAtOnce: 0, thumbnails: [] as (readonly [number, number])[] };
  const loadPicture: LoadPicture = async (bytes, target, { fit = 'crop' } = {}) => {
    seen.loaded += 1;
    seen.atOnce += 1;
    seen.mostAtOnce = Math.max(seen.mostAtOnce, seen.atOnce);
    await Bun.sleep(seen.loaded % 3);
    seen.atOnce -= 1;
    const words = new TextDecoder().decode(bytes).slice('GIF89a '.length).split('|');
    if (words.includes('broken')) throw new ServiceError('image_broken', 'It is broken.');
    const pixels = words.map(colourOf);
    if (fit === 'whole') {
      target.set([0, 1, 2].map((at) => pixels.reduce((sum, pixel) => sum + pixel[at]!, 0) / pixels.length));
      return { warning: undefined };
    }
    target.set(fit === 'crop' ? pixels[Math.trunc(pixels.length / 2)]! : pixels[0]!);
    if (fit === 'crop' || pixels.length === 1) return { warning: undefined };
    const tiled = {
      width: pixels.length,
      height: 1,
      pixels: Uint8Array.from(pixels.flat()),
      tiles: pixels.length,
    };
    return { warning: undefined, tiled };
  };
  const classifier = createClipClassifier({
    model: {
      name: 'fake',
      sha256: 'f'.repeat(64),
      precision: 'fp32',
      embeddingDimension: 3,
      imageResolution: 1,
      logitScale: 100,
    },
    score: softmax(100),
    imageEncoder: createImageEncoder({ worker: pixelWorker(), copies: undefined }, arena, 2),
    labelEncoder: createLabelEncoder({
      check: (text) => text.length,
      encode: async (texts) => texts.map(embeddingOf),
    }),
    needsThumbnail: () => true,
    async encodeThumbnail({ width, height, pixels }) {
      seen.thumbnails.push([width, height]);
      return Uint8Array.from(pixels);
    },
    isIsolated: () => false,
    isolatedAtOnce: 1,
    loadPicture,
    reserveMemory: () => ({}),
    openVideo: () => Promise.reject(new Error('no video here')),
    framing: { geometry: () => ({ resizedWidth: 1, resizedHeight: 1, cropLeft: 0, cropTop: 0 }), side: 1 },
    videoPlaces: createVideoPlaces({ running: 1, memoryBytes: 1 }),
    maxCategories: 10,
    undecodedBytes: 1000,
    tiledBytes,
    noteGarbage: () => undefined,
    observer: unobserved,
  });
  return { classifier, seen };
}
