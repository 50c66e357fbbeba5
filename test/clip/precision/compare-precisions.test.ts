import { describe, expect, test } from 'bun:test';
import { comparePrecisions, type ProbeEmbeddings } from '../../../src/clip/precision/compare-precisions.ts';
import type { Probes } from '../../../src/clip/precision/probes.ts';

/** Ten labels, each an axis of its own; pictures that point at one of them. */
const axes = Array.from({ length: 10 }, (_, axis) =>
  Float32Array.from({ length: 11 }, (_, index) => (index === axis ? 1 : 0)),
);
const probes = (pictures: number): Probes => ({
  side: 1,
  positions: 2,
  pictures: Array.from({ length: pictures }, (_, index) => ({
    name: `p${index}`,
    pixels: new Uint8Array(3),
  })),
  texts: axes.map((_, index) => ({ text: `label ${index}`, ids: Int32Array.of(1, 2) })),
});

/** Turned from one axis towards another by an angle in radians. */
function turned(from: number, to: number, angle: number): Float32Array {
  return Float32Array.from({ length: 11 }, (_, index) =>
    index === from ? Math.cos(angle) : index === to ? Math.sin(angle) : 0,
  );
}
/** The eleventh axis is no label. */
const away = (label: number, angle: number) => turned(label, 10, angle);
const same = (count: number, picture: Float32Array) => Array.from({ length: count }, () => picture);
const compare = (fp32: ProbeEmbeddings, int8: ProbeEmbeddings) =>
  comparePrecisions(probes(fp32.pictures.length), { fp32, int8 }, 100);

describe('comparePrecisions', () => {
  test('accepts equal embeddings', () => {
    const fp32 = { pictures: [away(0, 0.2), away(3, 0.5)], texts: axes };
    const { report, disagreements } = compare(fp32, fp32);
    expect(report).toEqual({
      pictures: { count: 2, meanCosine: 1, minCosine: 1 },
      texts: { count: 10, meanCosine: 1, minCosine: 1 },
      bestLabels: { clear: 2, agreeing: 2 },
      fp32Products: [],
      rowProducts: [],
      accepted: true,
      reasons: [],
    });
    expect(disagreements).toEqual([]);
  });

  test('refuses a mean cosine below 0.999, of pictures as of texts', () => {
    const angle = Math.acos(0.998);
    const fp32 = { pictures: [away(0, 0), away(1, 0)], texts: axes };
    const pictures = compare(fp32, { pictures: [away(0, angle), away(1, angle)], texts: axes });
    expect(pictures.report).toMatchObject({
      pictures: { meanCosine: 0.998, minCosine: 0.998 },
      accepted: false,
      reasons: ['the mean cosine of pictures is 0.998, below 0.999'],
    });
    const texts = compare(fp32, {
      pictures: fp32.pictures,
      texts: axes.map((_, label) => away(label, angle)),
    });
    expect(texts.report.reasons).toEqual(['the mean cosine of texts is 0.998, below 0.999']);
  });

  test('refuses a single cosine below 0.997', () => {
    const fp32 = { pictures: same(20, away(0, 0)), texts: axes };
    const int8 = { ...fp32, pictures: fp32.pictures.with(7, away(0, Math.acos(0.99))) };
    const { report, pictures } = compare(fp32, int8);
    expect(report).toMatchObject({
      accepted: false,
      reasons: ['the lowest cosine of pictures is 0.99, below 0.997'],
    });
    expect(pictures[7]).toEqual({ picture: 'p7', cosine: 0.99 });
  });

  test('refuses where one clear best label differs', () => {
    // 45° between two labels, 0.6° to this side and then to the other: clear, and hardly a difference.
    const one = turned(0, 1, Math.PI / 4 - 0.01);
    const other = turned(0, 1, Math.PI / 4 + 0.01);
    const fp32 = { pictures: same(200, one), texts: axes };
    const { report, disagreements } = compare(fp32, { ...fp32, pictures: fp32.pictures.with(7, other) });
    expect(report).toMatchObject({
      pictures: { meanCosine: 1 },
      bestLabels: { clear: 200, agreeing: 199 },
      accepted: false,
      reasons: ['only 199 of 200 clear best labels agree'],
    });
    expect(disagreements).toEqual([{ picture: 'p7', labels: 10, fp32: 'label 0', int8: 'label 1' }]);
  });

  test('chooses among each ten labels, and among all', () => {
    const texts = Array.from({ length: 30 }, (_, label) => turned(label % 10, 10, label < 10 ? 0.2 : 0.6));
    const many: Probes = {
      ...probes(1),
      texts: texts.map((_, index) => ({ text: `label ${index}`, ids: Int32Array.of(1, 2) })),
    };
    const fp32 = { pictures: [turned(4, 10, 0.2)], texts };
    const { report } = comparePrecisions(many, { fp32, int8: fp32 }, 100);
    expect(report.bestLabels).toEqual({ clear: 4, agreeing: 4 });
  });

  test('does not count choices that are not clear to fp32 either', () => {
    const undecided = (sign: 1 | -1) => turned(0, 1, Math.PI / 4 + sign * 0.005);
    const fp32 = { pictures: same(5, undecided(1)), texts: axes };
    const { report } = compare(fp32, { ...fp32, pictures: same(5, undecided(-1)) });
    expect(report).toMatchObject({ bestLabels: { clear: 0, agreeing: 0 }, accepted: true });
  });

  test('refuses NaN', () => {
    const fp32 = { pictures: [away(0, 0)], texts: axes };
    const broken = new Float32Array(11).fill(Number.NaN);
    expect(() => compare(fp32, { pictures: [broken], texts: axes })).not.toThrow();
    expect(compare(fp32, { pictures: [broken], texts: axes }).report.accepted).toBe(false);
  });
});
