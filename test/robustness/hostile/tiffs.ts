import { type TiffVariant, tiffOf } from '../../media/sample-tiffs.ts';

/** Samples of a pixel; they are a pattern. */
const pattern =
  (count: number, bits = 8) =>
  (x: number, y: number): readonly number[] =>
    Array.from({ length: count }, (_, index) => ((x * 7 + y * 3 + index * 50) * 257) & (2 ** bits - 1));

const plain: TiffVariant = {
  ...{ width: 61, height: 47, photometric: 2, bits: 8 },
  samples: pattern(3),
};
const extra = (count: number, bits: 8 | 16 = 8) => ({
  bits,
  samples: pattern(3 + count, bits),
  extraSamples: new Array<number>(count).fill(0),
});
const differences = { compression: 'deflate', hasDifferences: true } as const;

const layouts: Readonly<Record<string, Partial<TiffVariant>>> = {
  'tiled.tiff': { tile: [16, 16] },
  'planar.tiff': { isPlanar: true },
  'planar-tiles.tiff': { isPlanar: true, tile: [16, 16] },
  'planar-whole-tiles.tiff': { isPlanar: true, tile: [16, 16], width: 64, height: 48 },
  'planar-deflated-tiles.tiff': { isPlanar: true, tile: [32, 32], compression: 'deflate' },
  'extra-channel.tiff': extra(1),
  'extra-channels-predictor.tiff': { ...extra(2), ...differences },
  'predictor.tiff': differences,
  'sixteen-bits.tiff': { bits: 16, samples: pattern(3, 16) },
  'sixteen-bits-predictor.tiff': { ...extra(1, 16), ...differences },
  'grey-extra.tiff': { photometric: 1, samples: pattern(2), extraSamples: [0], tile: [16, 16] },
  'grey-sixteen-planar.tiff': {
    ...{ photometric: 1, bits: 16, samples: pattern(2, 16), extraSamples: [0], isPlanar: true },
  },
};

/** Every layout in which a decoder's arithmetic of planes, tiles, samples and rows may go wrong. */
export function tiffLayouts(): readonly { readonly name: string; readonly bytes: Uint8Array }[] {
  return Object.entries(layouts).map(([name, layout]) => ({ name, bytes: tiffOf({ ...plain, ...layout }) }));
}
