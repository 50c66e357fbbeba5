import { tilesOf } from '../../classify/decide.ts';
import { MAX_PICTURE_TILES } from '../../contract/options.ts';

/**
 * An embedding, one of each tile, in the form that the index stores: whole numbers of 16 bits and their scale, so that a million of
 * CLIP's need 1 GB, not 2. A number is off by at most half of 1/32767 of the largest one, and a similarity by some
 * millionths. The command line answers from this form only, so the first answer, which encodes the picture, and every
 * later one have the same digits.
 *
 * Layout of a tile, little-endian as all systems that this runs on: checksum uint32, scale float32, numbers int16 × D.
 */
export type StoredEmbedding = Uint8Array;

const HEAD_BYTES = 8;
const LARGEST = 32767;

/** Reads and writes embeddings of one dimension, a million in a second. */
export interface EmbeddingCoder {
  /**
   * @param embedding [tiles, D], each row L2-normalised
   * @param salt of the picture: an entry that has come to another picture is as damaged as one with other bits
   */
  store(embedding: Float32Array, salt: number): StoredEmbedding;
  /**
   * @param room receives the embedding; the largest picture has room in it
   * @returns the part of it that is filled, [tiles, D]; undefined: the entry is damaged, or of another picture or model
   */
  load(stored: StoredEmbedding, salt: number, room: Float32Array): Float32Array | undefined;
}

export function createEmbeddingCoder(dimension: number): EmbeddingCoder {
  // Views are made once: making them for every embedding would take most of the time.
  const bytes = new Uint8Array(HEAD_BYTES + 2 * dimension);
  const checked = bytes.subarray(4);
  const checksum = new Uint32Array(bytes.buffer, 0, 1);
  const scale = new Float32Array(bytes.buffer, 4, 1);
  const numbers = new Int16Array(bytes.buffer, HEAD_BYTES);

  const storeTile = (embedding: Float32Array, salt: number): void => {
    const step = embedding.reduce((most, value) => Math.max(most, Math.abs(value)), 0) / LARGEST;
    let squares = 0;
    for (let index = 0; index < dimension; index++) {
      const number = step > 0 ? Math.round(embedding[index]! / step) : 0;
      numbers[index] = number;
      squares += number * number;
    }
    // With it, the length is 1 again: rounding changes the direction only.
    scale[0] = squares > 0 ? 1 / Math.sqrt(squares) : 0;
    checksum[0] = Bun.hash.xxHash32(checked, salt);
  };

  /** @returns whether the tile in `bytes` is intact and has been read */
  const loadTile = (salt: number, room: Float32Array, at: number): boolean => {
    if (checksum[0] !== Bun.hash.xxHash32(checked, salt)) return false;
    const step = scale[0]!;
    for (let index = 0; index < dimension; index++) room[at + index] = numbers[index]! * step;
    return true;
  };

  return {
    store(embedding, salt) {
      const tiles = tilesOf(embedding, dimension);
      const stored = new Uint8Array(tiles.length * bytes.length);
      for (const [order, tile] of tiles.entries()) {
        storeTile(tile, saltOfTile(salt, order, tiles.length));
        stored.set(bytes, order * bytes.length);
      }
      return stored;
    },
    load(stored, salt, room) {
      const tiles = stored.length / bytes.length;
      if (!Number.isInteger(tiles) || tiles === 0 || tiles * dimension > room.length) return undefined;
      for (let order = 0; order < tiles; order++) {
        bytes.set(tiles === 1 ? stored : stored.subarray(order * bytes.length, (order + 1) * bytes.length));
        if (!loadTile(saltOfTile(salt, order, tiles), room, order * dimension)) return undefined;
      }
      return tiles * dimension === room.length ? room : room.subarray(0, tiles * dimension);
    },
  };
}

/** Another one for each place, so that no tile of a picture can be missing or in another's place. */
function saltOfTile(salt: number, order: number, tiles: number): number {
  return tiles === 1 ? salt : (salt ^ (tiles * MAX_PICTURE_TILES + order)) >>> 0;
}
