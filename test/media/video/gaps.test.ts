import { describe, expect, test } from 'bun:test';
import {
  type GapView,
  keyframeHabits,
  keyframePositions,
  packetHabits,
  suspectGap,
} from '../../../src/media/video/gaps.ts';
import { group, type PacketRecipe, packetIndex } from './packet-list.ts';

const quiet: GapView = { changed: false, blank: false };

/** Until when each gap is to be decoded. */
function suspicions(
  packets: readonly PacketRecipe[],
  view: GapView = quiet,
  codec = 'h264',
): (number | undefined)[] {
  const index = packetIndex(packets);
  const keyframes = keyframePositions(index);
  return keyframes.map((first, order) =>
    suspectGap(
      { first, end: keyframes[order + 1] ?? index.count },
      order === keyframes.length - 1 ? { ...view, changed: undefined } : view,
      { index, packets: packetHabits(codec), keyframes: keyframeHabits(index) },
    ),
  );
}

const still = { key: 10_000, other: 100 };

describe('keyframeHabits', () => {
  test('distinguishes keyframes at cuts from keyframes at fixed distances', () => {
    const lengths = (all: readonly number[]) => packetIndex(all.flatMap((length) => group(length, still)));
    expect(keyframeHabits(lengths([250, 250, 250, 90]))).toEqual({ atCuts: false, forcedAfter: 250 });
    expect(keyframeHabits(lengths([30, 250, 80, 90, 250, 61, 20]))).toEqual({
      atCuts: true,
      forcedAfter: 250,
    });
    // The longest of scenes is not the distance at which keyframes are forced.
    expect(keyframeHabits(lengths([88, 115, 100, 92, 115, 70]))).toEqual({
      atCuts: true,
      forcedAfter: undefined,
    });
    expect(keyframeHabits(lengths([500]))).toEqual({ atCuts: false, forcedAfter: undefined });
  });
});

describe('suspectGap', () => {
  test('trusts a gap in which nothing happens', () => {
    expect(suspicions([...group(250, still), ...group(250, still), ...group(100, still)])).toEqual([
      undefined,
      undefined,
      undefined,
    ]);
  });

  test('suspects a packet as heavy as a keyframe, and decodes until what it shows has settled', () => {
    const [until] = suspicions([...group(250, still, { 100: 9000 }), ...group(250, still)]);
    expect(until).toBeCloseTo(100 * 0.04 + 0.5, 5);
  });

  test('decodes until the last of several', () => {
    const [until] = suspicions([
      ...group(250, still, { 60: 9000, 100: 7000, 140: 9000 }),
      ...group(250, still),
    ]);
    expect(until).toBeCloseTo(140 * 0.04 + 0.5, 5);
  });

  test('suspects a light packet that stands out from both sides', () => {
    const [until] = suspicions([...group(250, still, { 100: 400 }), ...group(250, still)]);
    expect(until).toBeCloseTo(4.5, 5);
  });

  test('does not suspect motion that begins', () => {
    const moving = Object.fromEntries(Array.from({ length: 149 }, (_, index) => [index + 101, 600]));
    expect(suspicions([...group(250, still, moving), ...group(250, still)])[0]).toBeUndefined();
  });

  test('does not suspect a scene that lasts beyond the next keyframe', () => {
    expect(suspicions([...group(250, still, { 240: 9000 }), ...group(250, still)])[0]).toBeUndefined();
  });

  test('decodes no gap that is too short for a scene', () => {
    expect(suspicions([...group(12, still, { 3: 9000 }), ...group(12, still)])[0]).toBeUndefined();
  });

  test('suspects a change without a keyframe', () => {
    const changed = { ...quiet, changed: true };
    const active = { key: 10_000, other: 300 };
    const [until] = suspicions(
      [...group(250, active), ...group(250, active), ...group(250, active)],
      changed,
    );
    expect(until).toBeCloseTo(10, 5);
    // Keyframes at cuts explain it.
    const cuts = [30, 90, 250, 80, 250, 61].flatMap((length) => group(length, active));
    expect(suspicions(cuts, changed).slice(0, 2)).toEqual([undefined, undefined]);
    // Also where one was due anyway, as long as nothing looks like a cross-fade.
    expect(suspicions(cuts, changed)[2]).toBeUndefined();
    const fade = Object.fromEntries(Array.from({ length: 25 }, (_, index) => [index + 100, 480]));
    const faded = [30, 90, 250, 80, 250, 61].flatMap((length) =>
      group(length, active, length === 250 ? fade : {}),
    );
    expect(suspicions(faded, changed)[2]).toBeDefined();
    expect(suspicions(faded)[2]).toBeUndefined();
  });

  test('does not suspect a slide show with slides of equal length', () => {
    const slides = [1, 2, 3].flatMap(() => group(150, { key: 10_000, other: 12 }));
    expect(suspicions(slides, { ...quiet, changed: true })).toEqual([undefined, undefined, undefined]);
  });

  test('suspects a busy second: a cross-fade', () => {
    const fadeAt = (position: number) =>
      Object.fromEntries(Array.from({ length: 25 }, (_, index) => [index + position, 800]));
    const [until] = suspicions([...group(250, still, fadeAt(100)), ...group(250, still)]);
    // The busy second is over at 5 s; what it leads to has to be seen.
    expect(until).toBeGreaterThan(5.5);
    expect(until).toBeLessThan(6.5);
    // What the last second leads to is seen in the next keyframe.
    expect(suspicions([...group(250, still, fadeAt(225)), ...group(250, still)])[0]).toBeUndefined();
  });

  test('needs stronger signs where keyframes are at cuts', () => {
    const cuts = [30, 90, 200, 80, 150, 61].map((length) => group(length, { key: 10_000, other: 1000 }));
    expect(suspicions(cuts.flat())).toEqual(cuts.map(() => undefined));
    const disguised = [
      ...cuts.slice(0, 2).flat(),
      ...group(200, { key: 10_000, other: 1000 }, { 20: 9000 }),
      ...cuts.slice(3).flat(),
    ];
    expect(suspicions(disguised)[2]).toBeCloseTo((30 + 90 + 20) * 0.04 + 0.5, 5);
  });

  test('decodes a gap whose keyframe is not shown', () => {
    const hidden = group(50, still).map((packet) => ({ ...packet, hidden: true }));
    const [until] = suspicions([...hidden, ...group(50, still)]);
    expect(until).toBeCloseTo(2, 5);
  });

  test('looks for a better frame after a blank keyframe, if something follows', () => {
    const blank = { ...quiet, blank: true };
    const [until] = suspicions(
      [...group(250, { key: 300, other: 100 }, { 30: 5000 }), ...group(250, still)],
      blank,
    );
    expect(until).toBeCloseTo(10, 5);
    expect(
      suspicions([...group(250, { key: 300, other: 20 }), ...group(250, still)], blank)[0],
    ).toBeUndefined();
  });

  test('decodes minutes of much change', () => {
    const [until] = suspicions(group(1000, { key: 10_000, other: 300 }));
    expect(until).toBeCloseTo(40, 5);
    expect(suspicions(group(1000, { key: 10_000, other: 12 }))).toEqual([undefined]);
  });

  test('expects regular heavy packets and early bytes in AV1 and VP9', () => {
    const pyramid = Object.fromEntries(Array.from({ length: 15 }, (_, index) => [(index + 1) * 16, 2500]));
    const packets = [...group(250, still, pyramid), ...group(250, still, pyramid)];
    expect(suspicions(packets, quiet, 'av1')[0]).toBeUndefined();
    const cut = [...group(250, still, { ...pyramid, 96: 9000 }), ...group(250, still, pyramid)];
    expect(suspicions(cut, quiet, 'av1')[0]).toBeCloseTo(96 * 0.04 + 1.3 + 0.5, 5);
  });
});
