import type { Range } from '../media/video/video.ts';
import { takeTurns } from '../turns.ts';
import type { WorkContext } from '../work-context.ts';
import type { BackgroundMatch, FrameRanking, FrameScore, Moment } from './classifier.ts';
import { similarityOf } from './decide.ts';
import { matchBackground, type RankOptions, scoresAgainst } from './ranking.ts';

/** A frame, as its embedding of 2 KB for each tile. */
export interface EncodedFrame {
  readonly timestamp: number;
  /** [tiles, D] float32, row-major; each row is L2-normalised. */
  readonly embedding: Float32Array;
}

interface CloserLook {
  /** How many of the best frames of each category are looked around at, at most. */
  readonly peaks: number;
  /** How far before and after each of them, in seconds. */
  readonly reach: number;
  /** The least distance of two frames, in seconds; 0: every frame. */
  readonly step: number;
}

/** What is looked at around the best frames, one after another. */
export const CLOSER_LOOKS: readonly CloserLook[] = [
  { peaks: 4, reach: 1, step: 1 / 5 },
  { peaks: 1, reach: 1 / 5, step: 0 },
];
/** Of a category's range of similarities, the part in which frames may be close to the best one. */
const CLOSE_SHARE = 1 / 4;

/** Frames closer than this are one candidate. */
const CANDIDATE_SECONDS = 1;
/** A category holds where its similarity is in this part of its range. */
const HOLDING_SHARE = 1 / 3;

interface LookOptions extends CloserLook {
  readonly duration: number;
  readonly frameRate: number;
  /** That may still be looked at. */
  readonly maximumFrames: number;
}

/**
 * Chooses the parts of the video around each category's best frames, up to the frames beside them.
 * @param frames in time order
 * @returns ranges, the most important first, and how many of them would be too many frames
 */
export async function closerLook(
  frames: readonly EncodedFrame[],
  labels: readonly Float32Array[],
  { peaks, reach, step, duration, frameRate, maximumFrames }: LookOptions,
  { signal }: WorkContext,
): Promise<{ readonly ranges: readonly Range[]; readonly leftOut: number }> {
  /** The indices of frames, by how good they are for a category. */
  const places = Array.from({ length: peaks }, () => new Set<number>());
  if (frames.length === 0) return { ranges: [], leftOut: 0 };
  const turns = takeTurns(signal);
  for (const label of labels) {
    const similarities = similaritiesOf(frames, label);
    for (const [place, index] of bestPeaks(similarities, peaks).entries()) places[place]?.add(index);
    if (turns.isOver) await turns.next();
  }
  const ranges: Range[] = [];
  let left = maximumFrames;
  let leftOut = 0;
  for (const index of new Set(places.flatMap((indices) => [...indices]))) {
    const { timestamp } = frames[index]!;
    const start = Math.max(timestamp - reach, frames[index - 1]?.timestamp ?? 0);
    const end = Math.min(timestamp + reach, frames[index + 1]?.timestamp ?? duration);
    const count = Math.round((end - start) * Math.min(frameRate, 1 / step)) - 2;
    if (count < 1) continue;
    if (count > left) {
      leftOut++;
      continue;
    }
    left -= count;
    ranges.push([start, end, step]);
  }
  return { ranges, leftOut };
}

/** The best frame, and others that are almost as good. */
function bestPeaks(similarities: Float64Array, count: number): number[] {
  const order = byWorth(similarities);
  const [most, least] = [similarities[order[0]!]!, similarities[order.at(-1)!]!];
  const level = most - (most - least) * CLOSE_SHARE;
  return order.slice(0, count).filter((index) => similarities[index]! >= level);
}

/**
 * Indices, the largest value first; ties in time order.
 * @param passing those with 1 come before those with 0
 */
function byWorth(similarities: Float64Array, passing?: Uint8Array): number[] {
  return [...similarities.keys()].sort(
    (a, b) => (passing ? passing[b]! - passing[a]! : 0) || similarities[b]! - similarities[a]! || a - b,
  );
}

function areApart(frames: readonly EncodedFrame[], a: number, b: number): boolean {
  return Math.abs(frames[a]!.timestamp - frames[b]!.timestamp) >= CANDIDATE_SECONDS;
}

function similaritiesOf(frames: readonly EncodedFrame[], label: Float32Array): Float64Array {
  return Float64Array.from(frames, ({ embedding }) => similarityOf(label, embedding));
}

/** The limit is of the best frames, and of the moments. */
interface FrameRankOptions extends RankOptions {
  readonly duration: number;
}

/**
 * Ranks the frames for every category. Of frames within a second, only the best is a candidate: a closer look at a part
 * of the video does not change the scores.
 * @param frames in time order
 */
export async function rankFrames(
  frames: readonly EncodedFrame[],
  categories: { readonly names: readonly string[]; readonly embeddings: readonly Float32Array[] },
  { score, limit, duration, background }: FrameRankOptions,
  { signal }: WorkContext,
): Promise<readonly FrameRanking[]> {
  const turns = takeTurns(signal);
  const rankings: FrameRanking[] = [];
  const matches: BackgroundMatch[] = [];
  for (const { embedding } of background ? frames : []) {
    if (background) matches.push(matchBackground(embedding, background));
    if (turns.isOver) await turns.next();
  }
  const matchOf = (index: number) => matches[index]!;
  for (const [order, category] of categories.names.entries()) {
    const similarities = similaritiesOf(frames, categories.embeddings[order]!);
    const against = background && scoresAgainst(similarities, background, matchOf);
    const candidates: number[] = [];
    for (const index of byWorth(similarities, against?.passing)) {
      if (candidates.every((other) => areApart(frames, other, index))) candidates.push(index);
    }
    const scores = against
      ? candidates.map((index) => against.scores[index]!)
      : score(Float64Array.from(candidates, (index) => similarities[index]!));
    rankings.push({
      category,
      frames: candidates.slice(0, limit).map(
        (index, place): FrameScore => ({
          timestamp: frames[index]!.timestamp,
          score: scores[place]!,
          similarity: similarities[index]!,
          ...(against && { background: matchOf(index) }),
        }),
      ),
      moments: momentsOf(frames, similarities, { duration, passing: against?.passing }).slice(0, limit),
    });
    if (turns.isOver) await turns.next();
  }
  return rankings;
}

interface MomentOptions {
  readonly duration: number;
  /** [frames] 1 where the category beats the background. Undefined: it does not compete with it. */
  readonly passing: Uint8Array | undefined;
}

/** Runs of frames in which a category holds, the one with the best frame first. */
function momentsOf(
  frames: readonly EncodedFrame[],
  similarities: Float64Array,
  { duration, passing }: MomentOptions,
): Moment[] {
  const most = similarities.reduce((a, b) => Math.max(a, b));
  const least = similarities.reduce((a, b) => Math.min(a, b));
  const level = most - (most - least) * HOLDING_SHARE;
  const moments: Moment[] = [];
  let open: Omit<Moment, 'end'> | undefined;
  const close = ({ start, ...best }: Omit<Moment, 'end'>, end: number) =>
    moments.push({ start, end, ...best });
  for (const [index, { timestamp }] of frames.entries()) {
    const similarity = similarities[index]!;
    if (similarity < level || passing?.[index] === 0) {
      if (open) close(open, timestamp);
      open = undefined;
    } else if (!open) {
      open = { start: timestamp, timestamp, similarity };
    } else if (similarity > open.similarity) {
      open = { ...open, timestamp, similarity };
    }
  }
  if (open) close(open, Math.max(duration, open.start));
  return moments.sort((a, b) => b.similarity - a.similarity);
}
