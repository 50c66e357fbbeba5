import { type Gap, keyframeHabits, type PacketHabits, suspectGap } from './gaps.ts';
import {
  type ChosenFrame,
  createCutDetector,
  createSceneTracker,
  type FrameBudget,
  isBlank,
  isSparseCut,
  type SceneTracker,
  type Standing,
} from './scene-tracker.ts';
import { colourDifference, contentDifference, type Thumbnail } from './thumbnail.ts';
import type { PacketIndex } from './video-file.ts';

/** A decoded frame that the decoder still owns. */
export interface SeenFrame<Capture> {
  readonly timestamp: number;
  readonly thumbnail: Thumbnail;
  /** Keeps the frame. Call it before the next frame is requested. */
  capture(): Capture;
}

/** The decoder of a file. Both of its generators may be active at once. */
export interface FrameSource<Capture> {
  /** Decodes the given keyframes in order. Damaged ones are left out. */
  keyframes(positions: readonly number[]): Generator<SeenFrame<Capture> & { readonly position: number }>;
  /** Decodes all reference frames from a keyframe on, until the caller stops. */
  from(position: number): Generator<SeenFrame<Capture>>;
}

/** A step through the video. */
interface FinderStep<Capture> {
  /** The time reached, in seconds. */
  readonly seconds: number;
  readonly chosen: ChosenFrame<Capture> | undefined;
}

/** Frames further apart than this are compared like pictures of two scenes. */
const SPARSE_SECONDS = 0.3;

/** Frames closer than this need not all be compared: half of a screen recording's, or of a phone's slow motion. */
const DENSE_SECONDS = 0.06;

interface Seen {
  readonly timestamp: number;
  readonly thumbnail: Thumbnail;
}

/** What frames are chosen from. */
interface Choice<Capture> {
  readonly index: PacketIndex;
  /** The keyframes to decode, ascending. */
  readonly positions: readonly number[];
  readonly source: FrameSource<Capture>;
  readonly budget: FrameBudget;
  readonly habits: PacketHabits;
}

/**
 * Chooses the frames of a video that are worth looking at. Decodes the keyframes, and the frames between two keyframes
 * only where a scene may hide.
 */
export function* chooseFrames<Capture extends Disposable>({
  index,
  positions,
  source,
  budget,
  habits,
}: Choice<Capture>): Generator<FinderStep<Capture>, { readonly scenes: number }> {
  using tracker = createSceneTracker<Capture>(budget);
  const keyframes = keyframeHabits(index);
  let last: Seen | undefined;
  let lastKey: (Seen & { readonly position: number }) | undefined;

  /** Decodes the frames between two keyframes as far as needed. */
  function* explore(gap: Gap, changed: boolean | undefined, unseen: boolean): Generator<FinderStep<Capture>> {
    if (!budget.has(index.timestamps[gap.first] ?? 0)) return;
    const view = { changed, blank: lastKey !== undefined && isBlank(lastKey.thumbnail) };
    const until = unseen
      ? Number.POSITIVE_INFINITY
      : suspectGap(gap, view, { index, packets: habits, keyframes });
    if (until === undefined) return;
    const end = gap.end < index.count ? index.timestamps[gap.end]! : Number.POSITIVE_INFINITY;
    const walk = createWalk(tracker, last);
    for (const frame of source.from(gap.first)) {
      if (frame.timestamp >= end || (frame.timestamp > until && walk.satisfied)) break;
      yield* walk.look(frame);
    }
    yield* walk.finish();
    last = walk.last;
  }

  for (const key of source.keyframes(positions)) {
    const first = lastKey?.position ?? firstKeyframe(index);
    if (first < key.position) {
      const changed = lastKey && isSparseCut(lastKey.thumbnail, key.thumbnail);
      const unseen =
        positions.some((position) => position > first && position < key.position) || lastKey === undefined;
      yield* explore({ first, end: key.position }, changed, unseen);
    }
    let chosen: ChosenFrame<Capture> | undefined;
    if (last && isSparseCut(last.thumbnail, key.thumbnail))
      chosen = tracker.cut(last.timestamp, key.timestamp);
    if (chosen) yield { seconds: key.timestamp, chosen };
    yield { seconds: key.timestamp, chosen: tracker.look({ ...key, standing: 'settled', key: true }) };
    last = key;
    lastKey = key;
  }
  yield* explore(
    { first: lastKey?.position ?? firstKeyframe(index), end: index.count },
    undefined,
    lastKey === undefined,
  );
  yield { seconds: index.end, chosen: tracker.finish() };
  return { scenes: tracker.scenes };
}

/** The first position where decoding can begin. Some files mark no keyframe at all. */
function firstKeyframe({ keys }: PacketIndex): number {
  return Math.max(0, keys.indexOf(1));
}

/** Goes through closely spaced frames. */
function createWalk<Capture extends Disposable>(tracker: SceneTracker<Capture>, start: Seen | undefined) {
  const detector = createCutDetector();
  let last = start;
  let standing: Standing = 'settled';

  function* cut(earliest: number | undefined, latest: number | undefined): Generator<FinderStep<Capture>> {
    if (earliest === undefined || latest === undefined) return;
    const chosen = tracker.cut(earliest, latest);
    if (chosen) yield { seconds: latest, chosen };
  }

  function* finish(): Generator<FinderStep<Capture>> {
    const cutAt = detector.finish();
    yield* cut(cutAt, cutAt);
  }

  return {
    get last() {
      return last;
    },
    /** The current stretch needs no further frame. */
    get satisfied() {
      return standing === 'settled' && !tracker.seeking;
    },
    *look(frame: SeenFrame<Capture>): Generator<FinderStep<Capture>> {
      const { timestamp, thumbnail } = frame;
      standing = 'settled';
      if (last) {
        // The keyframe again, or a frame shown before it.
        if (timestamp <= last.timestamp) return;
        if (timestamp - last.timestamp > SPARSE_SECONDS) {
          yield* finish();
          if (isSparseCut(last.thumbnail, thumbnail)) yield* cut(last.timestamp, timestamp);
        } else if (timestamp - last.timestamp < DENSE_SECONDS) {
          return;
        } else {
          const judgement = detector.look(timestamp, {
            content: contentDifference(last.thumbnail, thumbnail),
            colour: colourDifference(last.thumbnail, thumbnail),
          });
          standing = judgement.standing;
          yield* cut(judgement.cutAt, judgement.cutAt);
        }
      }
      last = { timestamp, thumbnail };
      yield { seconds: timestamp, chosen: tracker.look({ ...frame, standing, key: false }) };
    },
    finish,
  };
}
