import { describe, expect, test } from 'bun:test';
import { chooseKeyframes } from '../../../src/media/video/video-session.ts';
import { group, packetIndex } from './packet-list.ts';

const bytes = { key: 1000, other: 10 };
const repeat = (count: number, length: number) =>
  Array.from({ length: count }, () => group(length, bytes)).flat();

describe('chooseKeyframes', () => {
  test('takes every keyframe of a usual video', () => {
    expect(chooseKeyframes(packetIndex(repeat(4, 50)), 512)).toEqual([0, 50, 100, 150]);
  });

  test('takes no more than eight a second', () => {
    const chosen = chooseKeyframes(packetIndex(repeat(250, 1)), 512);
    expect(chosen.slice(0, 4)).toEqual([0, 3, 6, 9]);
  });

  test('takes only as many of a long video as are useful', () => {
    // Two hours with a keyframe every half second.
    const chosen = chooseKeyframes(packetIndex(repeat(14_400, 1), 0.5), 512);
    expect(chosen.length).toBeLessThanOrEqual(8 * 512);
    expect(chosen.length).toBeGreaterThan(2 * 512);
  });

  test('takes no hidden keyframe', () => {
    const packets = repeat(3, 20).map((packet, at) => (at < 30 ? { ...packet, hidden: true } : packet));
    expect(chooseKeyframes(packetIndex(packets), 512)).toEqual([40]);
  });
});
