import { describe, expect, test } from 'bun:test';
import { keyframePositions, planDecoding } from '../../../src/media/video/gaps.ts';
import { group, type PacketRecipe, packetIndex } from './packet-list.ts';

const still = { key: 10_000, other: 100 };
const all = Number.POSITIVE_INFINITY;

function plan(packets: readonly PacketRecipe[], budget: number) {
  const index = packetIndex(packets);
  const keyframes = keyframePositions(index).filter((position) => !index.hidden[position]);
  return planDecoding(index, keyframes, budget);
}

const groups = (count: number, length: number) =>
  Array.from({ length: count }, () => group(length, still)).flat();

describe('planDecoding', () => {
  test('decodes all in one run where that is affordable', () => {
    expect(plan(groups(4, 50), 200)).toEqual({
      keyframes: [],
      runs: [{ first: 0, end: 200 }],
      unseenSeconds: 0,
    });
    expect(plan(groups(400, 50), all).runs).toEqual([{ first: 0, end: 20_000 }]);
  });

  test('decodes keyframes alone where they are close', () => {
    const { keyframes, runs, unseenSeconds } = plan(groups(5, 5), all);
    expect(keyframes).toEqual([0, 5, 10, 15, 20]);
    expect(runs).toEqual([]);
    expect(unseenSeconds).toBe(0);
  });

  test('decodes gaps with a packet that stands out first', () => {
    const packets = [...groups(10, 100), ...group(100, still, { 40: 700 }), ...groups(9, 100)];
    const { runs, keyframes, unseenSeconds } = plan(packets, 200);
    expect(runs).toContainEqual({ first: 1000, end: 1100 });
    expect(keyframes).toHaveLength(18);
    expect(keyframes).not.toContain(1000);
    expect(unseenSeconds).toBeCloseTo(18 * 4, 5);
  });

  test('spreads the other half of what it may decode', () => {
    const { runs } = plan(groups(100, 100), 2000);
    const packets = runs.reduce((sum, { first, end }) => sum + end - first, 0);
    expect(packets).toBe(2000);
    for (const quarter of [0, 1, 2, 3]) {
      const inQuarter = runs.filter(({ first }) => Math.floor(first / 2500) === quarter);
      expect(inQuarter.length).toBeGreaterThan(0);
    }
  });

  test('decodes the beginning of a gap that is too long', () => {
    expect(plan(group(1000, still), 300)).toEqual({
      keyframes: [],
      runs: [{ first: 0, end: 300 }],
      unseenSeconds: 28,
    });
  });

  test('begins at a hidden keyframe where frames after it are shown', () => {
    const packets = group(100, still).map((packet, at) => (at < 30 ? { ...packet, hidden: true } : packet));
    expect(plan([...packets, ...group(50, still)], all).runs).toEqual([{ first: 0, end: 150 }]);
  });

  test('decodes all where no packet is a keyframe', () => {
    expect(
      plan(
        group(100, still).map(({ bytes }) => ({ bytes })),
        all,
      ),
    ).toEqual({
      keyframes: [],
      runs: [{ first: 0, end: 100 }],
      unseenSeconds: 0,
    });
  });
});
