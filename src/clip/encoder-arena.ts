import type { ArenaTensor } from '../../native/onnx/worker.ts';
import type { ClipArchitecture } from './architecture.ts';

/** Larger batches only cost memory: images/s stops rising at 4 to 8. */
export const maxImageBatch = 8;
/** Labels are short: 32 of ten tokens cost the text encoder what two pictures cost the vision encoder. */
export const maxTextBatch = 32;
/** While one batch runs the next may wait complete, and as many again may be decoding. */
const pixelSlots = 2 * maxImageBatch;

/** Cache lines: neither side's writes disturb the other's. */
const ALIGNMENT = 64;

/** Where everything lies in the memory shared with the inference worker. Offsets and lengths in bytes. */
export interface EncoderArena {
  readonly bytes: number;
  /** Side of the square picture. */
  readonly resolution: number;
  readonly slots: number;
  readonly slotBytes: number;
  /** Pictures on their way to a batch: `slots` × [S, S, 3] uint8. */
  slotOffset(slot: number): number;
  /** The batch that runs: [n, S, S, 3] uint8, RGB, row-major. */
  pixels(count: number): ArenaTensor;
  /** [n, D] float32, L2-normalised. */
  imageEmbeddings(count: number): ArenaTensor;
  /** [n, length] int32. */
  inputIds(count: number, length: number): ArenaTensor;
  /** [n, D] float32, L2-normalised. */
  textEmbeddings(count: number): ArenaTensor;
}

export function layOutEncoderArena({ vision, text, embeddingDimension }: ClipArchitecture): EncoderArena {
  const resolution = vision.imageResolution;
  const slotBytes = alignUp(resolution * resolution * 3);
  let bytes = 0;
  const reserve = (length: number): number => {
    const offset = bytes;
    bytes = alignUp(bytes + length);
    return offset;
  };
  const slotsOffset = reserve(pixelSlots * slotBytes);
  const pixelsOffset = reserve(maxImageBatch * resolution * resolution * 3);
  const imageEmbeddingsOffset = reserve(maxImageBatch * embeddingDimension * 4);
  const inputIdsOffset = reserve(maxTextBatch * text.contextLength * 4);
  const textEmbeddingsOffset = reserve(maxTextBatch * embeddingDimension * 4);

  return {
    bytes,
    resolution,
    slots: pixelSlots,
    slotBytes,
    slotOffset: (slot) => slotsOffset + slot * slotBytes,
    pixels: (count) => ({
      name: 'pixels',
      type: 'uint8',
      dims: [count, resolution, resolution, 3],
      byteOffset: pixelsOffset,
    }),
    imageEmbeddings: (count) => ({
      name: 'embeddings',
      type: 'float32',
      dims: [count, embeddingDimension],
      byteOffset: imageEmbeddingsOffset,
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

function alignUp(bytes: number): number {
  return Math.ceil(bytes / ALIGNMENT) * ALIGNMENT;
}
