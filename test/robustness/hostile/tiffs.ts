import { deflateSync } from 'node:zlib';
import { concat, uint32le } from '../../media/sample-pictures.ts';

export interface TiffLayout {
  readonly width: number;
  readonly height: number;
  readonly bits: 8 | 16;
  /** Samples of a pixel beyond those of its colour. */
  readonly extraSamples: number;
  readonly grey: boolean;
  /** Each sample's plane for itself. */
  readonly planar: boolean;
  /** Side of a tile, in pixels; strips of 16 rows where it is left out. */
  readonly tile?: number;
  /** Differences between neighbours instead of samples. */
  readonly predictor: boolean;
  readonly compressed: boolean;
}

const ROWS_A_STRIP = 16;
const SHORT = 3;
const LONG = 4;

/** A TIFF in any of the layouts that libraries read seldom, and differently; its pixels are a pattern. */
export function makeTiff(layout: TiffLayout): Uint8Array {
  const { width, height, bits, extraSamples, grey, planar, tile, predictor, compressed } = layout;
  const samples = (grey ? 1 : 3) + extraSamples;
  const blockWidth = tile ?? width;
  const blockHeight = tile ?? ROWS_A_STRIP;
  const blocks: Uint8Array[] = [];
  for (let plane = 0; plane < (planar ? samples : 1); plane++) {
    for (let top = 0; top < height; top += blockHeight) {
      for (let left = 0; left < width; left += blockWidth) {
        const rows = tile ? tile : Math.min(blockHeight, height - top);
        const length = blockWidth * rows * (planar ? 1 : samples) * (bits / 8);
        const pixels = Uint8Array.from({ length }, (_, at) => (at * 7 + top * 3 + left + plane * 50) & 0xff);
        blocks.push(compressed ? new Uint8Array(deflateSync(pixels)) : pixels);
      }
    }
  }
  const offsets: number[] = [];
  let at = 8;
  for (const block of blocks) {
    offsets.push(at);
    at += block.length;
  }
  const counts = blocks.map(({ length }) => length);
  const entries: (readonly [tag: number, type: number, values: readonly number[]])[] = [
    [256, LONG, [width]],
    [257, LONG, [height]],
    [258, SHORT, new Array<number>(samples).fill(bits)],
    [259, SHORT, [compressed ? 8 : 1]],
    [262, SHORT, [grey ? 1 : 2]],
    ...(tile ? [] : [[273, LONG, offsets] as const]),
    [277, SHORT, [samples]],
    ...(tile
      ? []
      : ([
          [278, LONG, [ROWS_A_STRIP]],
          [279, LONG, counts],
        ] as const)),
    [284, SHORT, [planar ? 2 : 1]],
    [317, SHORT, [predictor ? 2 : 1]],
    ...(tile
      ? ([
          [322, LONG, [tile]],
          [323, LONG, [tile]],
          [324, LONG, offsets],
          [325, LONG, counts],
        ] as const)
      : []),
    ...(extraSamples > 0 ? [[338, SHORT, new Array<number>(extraSamples).fill(0)] as const] : []),
  ];
  const directory: Uint8Array[] = [concat([entries.length & 0xff, entries.length >> 8])];
  const later: Uint8Array[] = [];
  let laterAt = at + 2 + 12 * entries.length + 4;
  for (const [tag, type, values] of entries) {
    const content = concat(
      ...values.map((value) => (type === SHORT ? [value & 0xff, value >> 8] : uint32le(value))),
    );
    const inPlace = content.length <= 4;
    directory.push(
      concat([tag & 0xff, tag >> 8, type, 0], uint32le(values.length)),
      inPlace ? concat(content, new Uint8Array(4 - content.length)) : concat(uint32le(laterAt)),
    );
    if (inPlace) continue;
    later.push(content);
    laterAt += content.length;
  }
  return concat('II*\0', uint32le(at), ...blocks, ...directory, uint32le(0), ...later);
}

/** Every layout in which a decoder's arithmetic of planes, tiles, samples and rows may go wrong. */
export function tiffLayouts(): readonly { readonly name: string; readonly bytes: Uint8Array }[] {
  const plain: TiffLayout = {
    ...{ width: 61, height: 47, bits: 8, extraSamples: 0 },
    ...{ grey: false, planar: false, predictor: false, compressed: false },
  };
  const layouts: Readonly<Record<string, Partial<TiffLayout>>> = {
    'tiled.tiff': { tile: 16 },
    'planar.tiff': { planar: true },
    'planar-tiles.tiff': { planar: true, tile: 16 },
    'planar-whole-tiles.tiff': { planar: true, tile: 16, width: 64, height: 48 },
    'planar-deflated-tiles.tiff': { planar: true, tile: 32, compressed: true },
    'extra-channel.tiff': { extraSamples: 1 },
    'extra-channels-predictor.tiff': { extraSamples: 2, predictor: true, compressed: true },
    'predictor.tiff': { predictor: true, compressed: true },
    'sixteen-bits.tiff': { bits: 16 },
    'sixteen-bits-predictor.tiff': { bits: 16, predictor: true, compressed: true, extraSamples: 1 },
    'grey-extra.tiff': { grey: true, extraSamples: 1, tile: 16 },
    'grey-sixteen-planar.tiff': { grey: true, bits: 16, planar: true, extraSamples: 1 },
  };
  return Object.entries(layouts).map(([name, layout]) => ({
    name,
    bytes: makeTiff({ ...plain, ...layout }),
  }));
}
