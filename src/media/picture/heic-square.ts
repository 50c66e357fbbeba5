import { AvError } from '../../../native/av/av-error.ts';
import type { HeldFrame } from '../../../native/av/decoder.ts';
import { createRowReader, createStillDecoder } from '../../../native/av/still-decoder.ts';
import type { Rectangle } from '../../../native/geometry.ts';
import { DecodeError } from '../../../native/image/builtin-decoder.ts';
import { type HeicPicture, type HevcGrid, joined, readHeicPicture } from './format/heic.ts';
import { blendWith, type SquareTask, unpremultiplyAlpha } from './picture.ts';
import { resizeRows } from './resample/resample.ts';

/**
 * Decodes a HEIC picture, turns it upright, resizes it and cuts the square out of it, as the reference does. Tiles are
 * decoded row by row, and only those that the square depends on. Only the process that decodes pictures may call it.
 * @param target receives the square, [S, S, 3] u8 RGB, row-major; all of the resized picture, if there are several
 * @throws DecodeError
 */
export function decodeHeicSquare(
  bytes: Uint8Array,
  { place, background }: SquareTask,
  target: Uint8Array,
): void {
  const picture = readHeicPicture(bytes);
  using rows = createPictureRows(bytes, picture, blendWith(background));
  const { shown, orientation } = picture;
  try {
    resizeRows(
      rows.open,
      {
        covered: shown,
        place,
        orientation,
        ...(picture.alpha && !background && { finish: unpremultiplyAlpha }),
      },
      target,
    );
  } catch (fault) {
    if (!(fault instanceof AvError)) throw fault;
    throw new DecodeError(fault.isOutOfMemory ? 'too_large' : 'broken', fault.message, { cause: fault });
  }
}

/** The rows of a part of a picture, from top to bottom. */
interface Rows extends Disposable {
  /** @param part in the shown part's pixels. The result reads the next row, [width, 4] u8 RGBA. */
  open(part: Rectangle): (row: Uint8Array) => void;
}

/** Rows of a picture; if it has an opacity, blended. */
function createPictureRows(
  bytes: Uint8Array,
  { colour, alpha, isPremultiplied, shown }: HeicPicture,
  blend: (pixels: Uint8Array) => void,
): Rows {
  const colourRows = createGridRows(bytes, colour);
  // An opacity has full range, whatever its stream says.
  const alphaRows =
    alpha &&
    createGridRows(bytes, {
      ...alpha,
      colours: { primaries: UNSPECIFIED, transfer: UNSPECIFIED, matrix: UNSPECIFIED, fullRange: true },
    });
  return {
    open(part) {
      const inGrid = { ...part, left: shown.left + part.left, top: shown.top + part.top };
      const readColour = colourRows.open(inGrid);
      if (!alphaRows) return readColour;
      const readAlpha = alphaRows.open(inGrid);
      const opacity = new Uint8Array(part.width * 4);
      return (row) => {
        readColour(row);
        readAlpha(opacity);
        for (let at = 0; at < row.length; at += 4) row[at + 3] = opacity[at]!;
        if (isPremultiplied) unpremultiplyAlpha(row);
        blend(row);
      };
    },
    [Symbol.dispose]() {
      colourRows[Symbol.dispose]();
      alphaRows?.[Symbol.dispose]();
    },
  };
}

const UNSPECIFIED = 2;

/** Rows of a grid of tiles, in its pixels. */
function createGridRows(bytes: Uint8Array, { columns, tile, tiles, colours }: HevcGrid): Rows {
  const decoder = createStillDecoder({ size: tile, colours });
  const reader = createRowReader(tile);
  const rowBytes = tile.width * 4;

  const decode = (row: number, column: number): HeldFrame => {
    const { configuration, data } = tiles[row * columns + column]!;
    return decoder.decode(bytes.subarray(configuration.start, configuration.end), joined(bytes, data));
  };

  /** Bands of a row of tiles, each with one piece of every tile from one column to another. */
  function* bandsOf(row: number, first: number, last: number): Generator<readonly Uint8Array[]> {
    if (first === last) {
      using frame = decode(row, first);
      for (const band of reader.read(frame)) yield [band];
      return;
    }
    // The reader cannot alternate between frames. Tiles are small, so a row of them fits into memory.
    yield Array.from({ length: last - first + 1 }, (_, index) => {
      using frame = decode(row, first + index);
      return Buffer.concat([...reader.read(frame)]);
    });
  }

  function* rowsOf({ left, top, width }: Rectangle): Generator<(target: Uint8Array) => void> {
    const first = Math.trunc(left / tile.width);
    const last = Math.trunc((left + width - 1) / tile.width);
    const from = left - first * tile.width;
    let y = Math.trunc(top / tile.height) * tile.height;
    for (let row = y / tile.height; ; row++) {
      for (const band of bandsOf(row, first, last)) {
        for (let at = 0; at < band[0]!.length; at += rowBytes, y++) {
          if (y >= top) yield (target) => copyRow(band, { at, from: from * 4, rowBytes }, target);
        }
      }
    }
  }

  let rows: Generator<(target: Uint8Array) => void> | undefined;
  return {
    open(part) {
      const current = rowsOf(part);
      rows = current;
      return (target) => current.next().value(target);
    },
    [Symbol.dispose]() {
      rows?.return(undefined);
      reader[Symbol.dispose]();
      decoder[Symbol.dispose]();
    },
  };
}

/**
 * Copies a row that lies in several tiles.
 * @param place in bytes: where the row begins in each tile's pixels, what is left out of the first one, a tile's width
 */
function copyRow(
  tiles: readonly Uint8Array[],
  { at, from, rowBytes }: { readonly at: number; readonly from: number; readonly rowBytes: number },
  target: Uint8Array,
): void {
  let to = 0;
  for (const [index, pixels] of tiles.entries()) {
    const start = index === 0 ? from : 0;
    const count = Math.min(rowBytes - start, target.length - to);
    target.set(pixels.subarray(at + start, at + start + count), to);
    to += count;
  }
}
