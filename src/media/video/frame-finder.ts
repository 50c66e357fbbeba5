import { type DecodingPlan, type Run, timeAt } from './gaps.ts';
import { createSceneCounter } from './scene-tracker.ts';
import { difference, type Thumbnail } from './thumbnail.ts';
import type { PacketIndex } from './video-file.ts';

/** A decoded frame that the decoder still owns. Use it before the next frame is requested. */
export interface SeenFrame<Capture> {
  readonly timestamp: number;
  /** Parts of it could not be decoded. */
  readonly damaged: boolean;
  thumbnail(): Thumbnail;
  /** Keeps the frame. */
  capture(): Capture;
}

/** The decoder of a file. Both of its generators may be active at once. */
export interface FrameSource<Capture> {
  /** Decodes the given keyframes in order. Damaged ones are left out. */
  keyframes(positions: readonly number[]): Generator<SeenFrame<Capture> & { readonly position: number }>;
  /** Decodes frames from a keyframe on, until the caller stops. */
  from(position: number): Generator<SeenFrame<Capture>>;
}

/** A frame that is worth looking at. The receiver disposes the capture. */
export interface ChosenFrame<Capture> {
  readonly timestamp: number;
  readonly capture: Capture;
}

/** A step through the video. */
interface FinderStep<Capture> {
  /** The time reached, in seconds. */
  readonly seconds: number;
  readonly chosen?: ChosenFrame<Capture>;
}

/** Frames that differ less from each other, of 255, are not both chosen within a second. */
const NEW_DIFFERENCE = 12;
/** Frames that differ less than this are the same. */
export const SAME_DIFFERENCE = 1;
/** A frame is compared with this number of the frames chosen last. */
const COMPARED = 4;
/** Frames that may be chosen at once. The fewer are left of them, the more must a frame differ. */
const BURST = 24;
/** Damaged frames that are kept in case that all are damaged. */
const MAX_SPARES = 8;

interface Choice<Capture> {
  readonly index: PacketIndex;
  readonly plan: DecodingPlan;
  readonly source: FrameSource<Capture>;
  readonly maximumFrames: number;
  /** Frames closer than this are not compared. */
  readonly sampleSeconds: number;
}

/**
 * Decodes what is planned, in time order, and chooses the frames that differ from those chosen before.
 * @returns the number of scenes
 */
export function* chooseFrames<Capture extends Disposable>({
  index,
  plan,
  source,
  maximumFrames,
  sampleSeconds,
}: Choice<Capture>): Generator<FinderStep<Capture>, { readonly scenes: number }> {
  using spares = new DisposableStack();
  const damaged: ChosenFrame<Capture>[] = [];
  const novelty = createNovelty(maximumFrames, secondsSeen(index, plan));
  const counter = createSceneCounter();
  let last = Number.NEGATIVE_INFINITY;

  /** @param distance the least distance from the frame before, in seconds */
  const look = (frame: SeenFrame<Capture>, distance: number): FinderStep<Capture> => {
    const { timestamp } = frame;
    const step = { seconds: timestamp };
    if (timestamp <= last || timestamp - last < distance) return step;
    if (frame.damaged) {
      const isNext = timestamp - (damaged.at(-1)?.timestamp ?? Number.NEGATIVE_INFINITY) >= 1;
      if (novelty.chosen === 0 && damaged.length < MAX_SPARES && isNext)
        damaged.push({ timestamp, capture: spares.use(frame.capture()) });
      return step;
    }
    last = timestamp;
    const thumbnail = frame.thumbnail();
    counter.look(timestamp, thumbnail);
    return novelty.isNew(timestamp, thumbnail)
      ? { seconds: timestamp, chosen: { timestamp, capture: frame.capture() } }
      : step;
  };
  function* walk({ first, end }: Run): Generator<FinderStep<Capture>> {
    const [from, until] = [index.timestamps[first]!, timeAt(index, end)];
    for (const frame of source.from(first)) {
      if (end < index.count && frame.timestamp >= until) break;
      // Frames that are shown before their keyframe depend on frames that were not decoded.
      if (first === 0 || frame.timestamp >= from) yield look(frame, sampleSeconds);
    }
  }

  const runs = [...plan.runs];
  for (const key of source.keyframes(plan.keyframes)) {
    while (runs[0] && runs[0].first < key.position) yield* walk(runs.shift()!);
    yield look(key, 0);
  }
  for (const run of runs) yield* walk(run);
  if (novelty.chosen === 0) {
    spares.move();
    for (const chosen of damaged) yield { seconds: index.end, chosen };
  }
  return { scenes: counter.finish() };
}

/** A keyframe that is decoded alone counts as a second, or as the time to the frame before it. */
function secondsSeen(index: PacketIndex, { keyframes, runs }: DecodingPlan): number {
  const walked = runs.reduce((sum, { first, end }) => sum + timeAt(index, end) - index.timestamps[first]!, 0);
  return Math.min(index.end - index.start, walked + keyframes.length);
}

/**
 * Chooses frames that differ from those chosen before, and one a second as long as anything changes. Quiet stretches save
 * frames for busy ones. A short video may have every frame chosen that differs: the model decides best.
 * @param frames that may be chosen in all
 * @param seconds that are looked at
 */
export function createNovelty(frames: number, seconds: number) {
  const burst = Math.min(BURST, Math.max(1, frames / 4));
  const perSecond = (frames - burst) / Math.max(1, seconds);
  const recent: Thumbnail[] = [];
  let credit = burst;
  let chosen = 0;
  let chosenAt = Number.NEGATIVE_INFINITY;
  let last = Number.NEGATIVE_INFINITY;
  return {
    /** How many frames it has chosen. */
    get chosen() {
      return chosen;
    },
    /** Call it in time order. */
    isNew(timestamp: number, thumbnail: Thumbnail): boolean {
      credit = Math.min(burst, credit + perSecond * Math.min(1, timestamp - last));
      last = timestamp;
      if (credit < 1 || chosen >= frames) return false;
      const differences = recent.map((other) => difference(other, thumbnail));
      const isDue = timestamp - chosenAt >= 1 && (differences.at(-1) ?? 255) >= SAME_DIFFERENCE;
      if (!isDue && Math.min(...differences) < (NEW_DIFFERENCE * burst) / credit) return false;
      credit--;
      chosen++;
      chosenAt = timestamp;
      recent.push(thumbnail);
      if (recent.length > COMPARED) recent.shift();
      return true;
    },
  };
}
