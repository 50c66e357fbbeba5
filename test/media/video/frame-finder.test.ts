import { describe, expect, test } from 'bun:test';
import { chooseFrames, type FrameSource, type SeenFrame } from '../../../src/media/video/frame-finder.ts';
import { keyframePositions, packetHabits } from '../../../src/media/video/gaps.ts';
import { createFrameBudget } from '../../../src/media/video/scene-tracker.ts';
import type { Thumbnail } from '../../../src/media/video/thumbnail.ts';
import { group, type PacketRecipe, packetIndex } from './packet-list.ts';
import { striped } from './thumbnails.ts';

const still = { key: 10_000, other: 20 };
const red = striped([200, 40, 40]);
const green = striped([40, 200, 40]);
const blue = striped([40, 40, 200]);

interface Outcome {
  readonly timestamps: number[];
  readonly scenes: number;
  /** Positions from which everything was decoded, and how many frames of it. */
  readonly runs: { from: number; frames: number }[];
}

/** Looks at a film whose every frame is known. */
function find(
  packets: readonly PacketRecipe[],
  film: (timestamp: number) => Thumbnail,
  options: { readonly damaged?: readonly number[]; readonly maximumFrames?: number } = {},
): Outcome {
  const { damaged = [], maximumFrames = 512 } = options;
  const index = packetIndex(packets);
  const runs: Outcome['runs'] = [];
  const seen = (position: number): SeenFrame<Disposable> => {
    const timestamp = index.timestamps[position]!;
    return { timestamp, thumbnail: film(timestamp), capture: () => ({ [Symbol.dispose]: () => undefined }) };
  };
  const source: FrameSource<Disposable> = {
    *keyframes(positions) {
      for (const position of positions)
        if (!damaged.includes(position)) yield { ...seen(position), position };
    },
    *from(position) {
      const run = { from: position, frames: 0 };
      runs.push(run);
      for (let at = position; at < index.count; at++) {
        run.frames++;
        if (!index.hidden[at] && !damaged.includes(at)) yield seen(at);
      }
    },
  };
  const budget = createFrameBudget(maximumFrames, index.end);
  const positions = keyframePositions(index).filter((at) => !index.hidden[at]);
  const steps = chooseFrames({ index, positions, source, budget, habits: packetHabits('h264') });
  const timestamps: number[] = [];
  let step = steps.next();
  for (; !step.done; step = steps.next()) if (step.value.chosen) timestamps.push(step.value.chosen.timestamp);
  return { timestamps, scenes: step.value.scenes, runs };
}

describe('chooseFrames', () => {
  test('decodes keyframes only where they show everything', () => {
    const outcome = find([...group(100, still), ...group(100, still)], (timestamp) =>
      timestamp < 4 ? red : blue,
    );
    expect(outcome).toEqual({ timestamps: [0, 4], scenes: 2, runs: [] });
  });

  test('finds a scene between two keyframes, and stops decoding when it has seen it', () => {
    const packets = [...group(250, still, { 75: 9000, 100: 9000 }), ...group(250, still)];
    const film = (timestamp: number) => (timestamp >= 3 && timestamp < 4 ? green : red);
    const { timestamps, scenes, runs } = find(packets, film);
    expect(timestamps.some((timestamp) => timestamp >= 3 && timestamp < 4)).toBe(true);
    expect(scenes).toBe(3);
    expect(runs.length).toBe(1);
    expect(runs[0]?.frames).toBeLessThan(125);
  });

  test('finds what follows the last keyframe', () => {
    const film = (timestamp: number) => (timestamp < 8 ? red : blue);
    const { timestamps, scenes } = find(group(250, still, { 200: 9000 }), film);
    expect(timestamps.length).toBe(2);
    expect(timestamps[1]).toBeGreaterThanOrEqual(8);
    expect(scenes).toBe(2);
  });

  test('decodes around a keyframe that is damaged', () => {
    const packets = [1, 2, 3].flatMap(() => group(50, still));
    const film = (timestamp: number) => (timestamp >= 2 && timestamp < 4 ? green : red);
    const { timestamps, runs } = find(packets, film, { damaged: [50] });
    expect(runs.map(({ from }) => from)).toEqual([0]);
    expect(timestamps.some((timestamp) => timestamp >= 2 && timestamp < 4)).toBe(true);
  });

  test('decodes everything where no packet is a keyframe', () => {
    const packets = group(100, still).map(({ bytes }) => ({ bytes }));
    const { timestamps, scenes } = find(packets, (timestamp) => (timestamp < 2 ? red : blue));
    expect(timestamps.length).toBe(2);
    expect(scenes).toBe(2);
  });

  test('sees the shown frames of a group whose keyframe is hidden by an edit list', () => {
    const packets = group(100, still).map((packet, at) => (at < 30 ? { ...packet, hidden: true } : packet));
    const { timestamps } = find([...packets, ...group(50, still)], (timestamp) =>
      timestamp < 4 ? red : blue,
    );
    expect(timestamps[0]).toBeCloseTo(1.2, 5);
    expect(timestamps.length).toBe(2);
  });

  test('stops decoding when no more frames may be chosen', () => {
    const packets = Array.from({ length: 20 }, () => group(50, still, { 20: 9000 })).flat();
    const film = (timestamp: number) => [red, green, blue][Math.floor(timestamp) % 3]!;
    const outcome = find(packets, film, { maximumFrames: 4 });
    expect(outcome.timestamps.length).toBeLessThanOrEqual(4);
    expect(outcome.runs.length).toBeLessThan(15);
  });
});
