import type { ArenaTensor } from '../../native/onnx/worker.ts';
import type { ClipArchitecture } from './architecture.ts';

/** Larger batches only cost memory: images/s stops rising at 4 to 8. */
export const MAX_IMAGE_BATCH = 8;
/** Labels are short: 32 of ten tokens cost as much as two pictures. */
export const MAX_TEXT_BATCH = 32;
/** One batch waits while another runs; the same number of pictures is being decoded. */
const PIXEL_SLOTS = 2 * MAX_IMAGE_BATCH;

/** In bytes: a cache line, so that two threads never write to the same one. */
const ALIGNMENT = 64;

interface EmbeddingTensor extends ArenaTensor {
  readonly dims: readonly [count: number, dimension: number];
}

/** Layout of the memory shared with the inference worker. Offsets and lengths in bytes. */
export interface EncoderArena {
  readonly bytes: number;
  /** Side of the square picture, in pixels. */
  readonly resolution: number;
  readonly slots: number;
  readonly slotBytes: number;
  /** Pictures on their way to a batch: `slots` × [S, S, 3] uint8. */
  slotOffset(slot: number): number;
  /** A lane's running batch: [n, S, S, 3] uint8, RGB, row-major. */
  pixels(count: number, lane: number): ArenaTensor;
  /** A lane's results: [n, D] float32, L2-normalised. */
  imageEmbeddings(count: number, lane: number): EmbeddingTensor;
  /** [n, length] int32. */
  inputIds(count: number, length: number): ArenaTensor;
  /** [n, D] float32, L2-normalised. */
  textEmbeddings(count: number): EmbeddingTensor;
}

/** @param lanes batches of pictures that may run at the same time */
export function layOutEncoderArena(
  { vision, text, embeddingDimension }: ClipArchitecture,
  lanes: number,
): EncoderArena {
  const resolution = vision.imageResolution;
  const slotBytes = alignUp(resolution * resolution * 3);
  let bytes = 0;
  const reserve = (length: number): number => {
    const offset = bytes;
    bytes = alignUp(bytes + length);
    return offset;
  };
  const slotsOffset = reserve(PIXEL_SLOTS * slotBytes);
  const batchBytes = alignUp(MAX_IMAGE_BATCH * resolution * resolution * 3);
  const pixelsOffset = reserve(lanes * batchBytes);
  const resultBytes = alignUp(MAX_IMAGE_BATCH * embeddingDimension * 4);
  const imageEmbeddingsOffset = reserve(lanes * resultBytes);
  const inputIdsOffset = reserve(MAX_TEXT_BATCH * text.contextLength * 4);
  const textEmbeddingsOffset = reserve(MAX_TEXT_BATCH * embeddingDimension * 4);

  return {
    bytes,
    resolution,
    slots: PIXEL_SLOTS,
    slotBytes,
    slotOffset: (slot) => slotsOffset + slot * slotBytes,
    pixels: (count, lane) => ({
      name: 'pixels',
      type: 'uint8',
      dims: [count, resolution, resolution, 3],
      byteOffset: pixelsOffset + lane * batchBytes,
    }),
    imageEmbeddings: (count, lane) => ({
      name: 'embeddings',
      type: 'float32',
      dims: [count, embeddingDimension],
      byteOffset: imageEmbeddingsOffset + lane * resultBytes,
    }),
    inputIds: (count, length) => ({
      name: 'input_ids',
      type: 'int32',
      dims: [count, length],
      byteOffset: inputIdsOffset,
    }),
    textEmbeddings: (count) => ({
      name: 'embeddings',
      type: 'float32',
      dims: [count, embeddingDimension],
      byteOffset: textEmbeddingsOffset,
    }),
  };
}

/** Copies the rows of a [count, D] float32 tensor out of the arena, before the next batch overwrites it. */
export function copyRows(
  arena: SharedArrayBuffer,
  { byteOffset, dims: [count, width] }: EmbeddingTensor,
): Float32Array[] {
  return Array.from({ length: count }, (_, row) =>
    new Float32Array(arena, byteOffset + row * width * 4, width).slice(),
  );
}

function alignUp(bytes: number): number {
  return Math.ceil(bytes / ALIGNMENT) * ALIGNMENT;
}
