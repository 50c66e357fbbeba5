/**
 * An embedding in the form that the index stores: whole numbers of 16 bits and their scale, so that a million of
 * CLIP's need 1 GB, not 2. A number is off by at most half of `scale`, which is the largest number / 32767: for CLIP
 * about 0.00001. The command line answers from this form only, so the first answer, which encodes the picture, and
 * every later one have the same digits.
 *
 * Layout, little-endian: checksum uint32, scale float32, numbers int16 × D.
 */
export type StoredEmbedding = Uint8Array;

const HEAD_BYTES = 8;
const LARGEST = 32767;

/** @param salt of the picture: an entry that has come to another picture is as damaged as one with other bits */
export function storeEmbedding(embedding: Float32Array, salt: number): StoredEmbedding {
  const stored = new Uint8Array(HEAD_BYTES + 2 * embedding.length);
  const scale = Math.fround(embedding.reduce((most, value) => Math.max(most, Math.abs(value)), 0) / LARGEST);
  const numbers = new Int16Array(stored.buffer, HEAD_BYTES);
  if (scale > 0) {
    // Rounding the scale to float32 may carry the largest number past the limit.
    for (const [index, value] of embedding.entries()) {
      numbers[index] = Math.max(-LARGEST, Math.min(LARGEST, Math.round(value / scale)));
    }
  }
  const head = new DataView(stored.buffer);
  head.setFloat32(4, scale, true);
  head.setUint32(0, checksumOf(stored, salt), true);
  return stored;
}

/** @returns whether `embedding` has been filled; false: the entry is damaged, or of another picture or model */
export function loadEmbedding(stored: StoredEmbedding, salt: number, embedding: Float32Array): boolean {
  if (stored.length !== HEAD_BYTES + 2 * embedding.length) return false;
  // SQLite's memory need not be aligned.
  const aligned = stored.byteOffset % 4 === 0 ? stored : stored.slice();
  const head = new DataView(aligned.buffer, aligned.byteOffset, HEAD_BYTES);
  if (head.getUint32(0, true) !== checksumOf(aligned, salt)) return false;
  const scale = head.getFloat32(4, true);
  const numbers = new Int16Array(aligned.buffer, aligned.byteOffset + HEAD_BYTES, embedding.length);
  for (let index = 0; index < embedding.length; index++) embedding[index] = numbers[index]! * scale;
  return true;
}

function checksumOf(stored: StoredEmbedding, salt: number): number {
  return Bun.hash.xxHash32(stored.subarray(4), salt);
}
