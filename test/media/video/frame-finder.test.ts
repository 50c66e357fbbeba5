import { describe, expect, test } from 'bun:test';
import fc from 'fast-check';
import {
  chooseFrames,
  createNovelty,
  type FrameSource,
  type SeenFrame,
} from '../../../src/media/video/frame-finder.ts';
import { keyframePositions, planDecoding, SAMPLE_SECONDS } from '../../../src/media/video/gaps.ts';
import type { Thumbnail } from '../../../src/media/video/thumbnail.ts';
import { group, type PacketRecipe, packetIndex } from './packet-list.ts';
import { flat, striped } from './thumbnails.ts';

const still = { key: 10_000, other: 20 };
const red = striped([200, 40, 40]);
const green = striped([40, 200, 40]);
const blue = striped([40, 40, 200]);

interface Outcome {
  readonly timestamps: number[];
  readonly scenes: number;
  /** How many frames were decoded in runs, and compared. */
  readonly walked: number;
  readonly compared: number;
  /** Captures that were neither handed out nor disposed of. */
  readonly held: number;
}

interface FilmOptions {
  readonly isDamaged?: (timestamp: number) => boolean;
  readonly maximumFrames?: number;
  readonly packets?: number;
}

/** Looks at a film whose every frame is known. */
function find(
  packets: readonly PacketRecipe[],
  film: (timestamp: number) => Thumbnail,
  { isDamaged = () => false, maximumFrames = 320, packets: affordable = 1e9 }: FilmOptions = {},
): Outcome {
  const index = packetIndex(packets);
  let [walked, compared, held] = [0, 0, 0];
  const seen = (position: number): SeenFrame<Disposable> => {
    const timestamp = index.timestamps[position]!;
    return {
      timestamp,
      damaged: isDamaged(timestamp),
      thumbnail() {
        compared++;
        return film(timestamp);
      },
      capture() {
        held++;
        return { [Symbol.dispose]: () => held-- };
      },
    };
  };
  const source: FrameSource<Disposable> = {
    *keyframes(positions) {
      for (const position of positions) yield { ...seen(position), position };
    },
    *from(position) {
      for (let at = position; at < index.count; at++) {
        walked++;
        if (!index.hidden[at]) yield seen(at);
      }
    },
  };
  const keyframes = keyframePositions(index).filter((at) => !index.hidden[at]);
  const plan = planDecoding(index, keyframes, affordable);
  const steps = chooseFrames({ index, plan, source, maximumFrames, sampleSeconds: SAMPLE_SECONDS });
  const timestamps: number[] = [];
  let step = steps.next();
  for (; !step.done; step = steps.next()) {
    const { chosen } = step.value;
    if (!chosen) continue;
    timestamps.push(chosen.timestamp);
    chosen.capture[Symbol.dispose]();
  }
  return { timestamps, scenes: step.value.scenes, walked, compared, held };
}

describe('chooseFrames', () => {
  test('chooses one frame of what does not change', () => {
    expect(find(group(500, still), () => red)).toMatchObject({ timestamps: [0], scenes: 1, held: 0 });
  });

  test('compares eight frames a second at most', () => {
    const { walked, compared } = find(group(500, still), () => red);
    expect(walked).toBe(500);
    expect(compared).toBeLessThanOrEqual(500 * 0.04 * 8.5);
  });

  test('chooses what is new, as soon as it is there and when it is gone', () => {
    const film = (timestamp: number) => (timestamp >= 3 && timestamp < 3.5 ? green : red);
    const { timestamps, scenes } = find(group(250, still), film);
    expect(timestamps.some((timestamp) => timestamp >= 3 && timestamp < 3.5)).toBe(true);
    expect(scenes).toBe(3);
  });

  test('chooses a frame a second where little changes', () => {
    const film = (timestamp: number) => flat([100 + 0.6 * timestamp, 100, 100 + timestamp]);
    const { timestamps } = find(group(500, still), film);
    expect(timestamps.length).toBeGreaterThan(8);
    expect(timestamps.length).toBeLessThan(21);
  });

  test('sees runs and keyframes in time order', () => {
    const packets = Array.from({ length: 20 }, () => group(50, still)).flat();
    const film = (timestamp: number) => [red, green, blue][Math.floor(timestamp / 2 + 1e-6) % 3]!;
    const { timestamps, walked } = find(packets, film, { packets: 200 });
    expect(walked).toBeLessThan(220);
    expect(timestamps).toEqual([...timestamps].sort((a, b) => a - b));
    expect(new Set(timestamps.map((timestamp) => Math.floor(timestamp / 2 + 1e-6))).size).toBe(20);
  });

  test('chooses damaged frames only if there are no others', () => {
    const film = (timestamp: number) => [red, green, blue][Math.floor(timestamp) % 3]!;
    const packets = group(250, still);
    const some = find(packets, film, { isDamaged: (timestamp) => timestamp < 9 });
    expect(some.timestamps.length).toBeGreaterThan(0);
    expect(some.timestamps.every((timestamp) => timestamp >= 9)).toBe(true);
    expect(some.held).toBe(0);
    const all = find(packets, film, { isDamaged: () => true });
    expect(all.timestamps.length).toBeGreaterThan(3);
    expect(all.held).toBe(0);
  });
});

describe('createNovelty', () => {
  test('never chooses more frames than allowed', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 100 }),
        fc.array(fc.tuple(fc.double({ min: 0, max: 1000, noNaN: true }), fc.nat(255)), { maxLength: 500 }),
        (frames, looks) => {
          const novelty = createNovelty(frames, 1000);
          for (const [timestamp, value] of looks.sort(([a], [b]) => a - b)) {
            novelty.isNew(timestamp, flat([value, value, value]));
          }
          expect(novelty.chosen).toBeLessThanOrEqual(frames);
          expect(novelty.chosen).toBeGreaterThanOrEqual(Math.min(1, looks.length));
        },
      ),
    );
  });

  test('spreads the frames over a long video that changes all the time', () => {
    const novelty = createNovelty(100, 1000);
    const chosen: number[] = [];
    for (let step = 0; step < 8000; step++) {
      if (novelty.isNew(step / 8, striped([(step * 37) % 256, (step * 91) % 256, 90]))) chosen.push(step / 8);
    }
    expect(chosen.length).toBeGreaterThan(80);
    for (const quarter of [0, 1, 2, 3]) {
      const inQuarter = chosen.filter((time) => time >= quarter * 250 && time < (quarter + 1) * 250);
      expect(inQuarter.length).toBeGreaterThan(15);
    }
  });

  test('notices what is small in a picture that changes all the time', () => {
    const novelty = createNovelty(320, 60);
    const chosen: number[] = [];
    for (let step = 0; step < 480; step++) {
      const time = step / 8;
      const isEvent = time >= 30 && time < 30.5;
      const thumbnail = isEvent ? striped([30, 230, 30], step) : striped([120, 120, 120], step);
      if (novelty.isNew(time, thumbnail)) chosen.push(time);
    }
    expect(chosen.some((time) => time >= 30 && time < 30.5)).toBe(true);
  });
});
