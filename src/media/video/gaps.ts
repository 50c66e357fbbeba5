import type { PacketIndex } from './video-file.ts';

/** Frames closer than this are not compared: five to eight a second are. */
export const SAMPLE_SECONDS = 0.119;
/** Between keyframes closer than this, nothing needs to be decoded. */
const SHORT_GAP_SECONDS = 2.5 * SAMPLE_SECONDS;
/** An event as long as this may hide in a gap that is not decoded. */
export const UNSEEN_SECONDS = 2;
/** The share of the packets to decode that is for the most suspicious gaps. The others are spread evenly. */
const SUSPICIOUS_SHARE = 1 / 2;
/** Packets as light as this share of a gap's packets are usual. Codecs make one of four to sixteen frames heavier. */
const USUAL_SHARE = 0.95;

const GOLDEN_RATIO = (Math.sqrt(5) - 1) / 2;

/** Packets to decode one after another. Positions in the packet index: the first is a keyframe, the end is not decoded. */
export interface Run {
  readonly first: number;
  readonly end: number;
}

/** What to decode of a video. */
export interface DecodingPlan {
  /** Keyframes that are decoded alone: positions in the packet index, ascending. */
  readonly keyframes: readonly number[];
  /** Ascending, without overlaps. */
  readonly runs: readonly Run[];
  /** The duration of what is neither decoded nor close to a decoded keyframe. */
  readonly unseenSeconds: number;
}

/** Positions of the keyframes, ascending. */
export function keyframePositions({ keys }: Pick<PacketIndex, 'keys'>): number[] {
  const positions: number[] = [];
  for (let at = keys.indexOf(1); at >= 0; at = keys.indexOf(1, at + 1)) positions.push(at);
  return positions;
}

/**
 * Chooses the gaps between keyframes that are decoded: first those with the heaviest packets, then evenly.
 * @param keyframes to decode in any case, ascending
 * @param packets that may be decoded in the gaps
 */
export function planDecoding(
  index: PacketIndex,
  keyframes: readonly number[],
  packets: number,
): DecodingPlan {
  const gaps = gapsBetween(index, keyframes);
  const secondsOf = ({ first, end }: Run) => timeAt(index, end) - index.timestamps[first]!;
  const worth = gaps.filter((gap) => secondsOf(gap) > SHORT_GAP_SECONDS || index.hidden[gap.first]);
  const chosen = new Map<number, Run>();
  let left = packets;
  /** @returns false: the packets are used up */
  const choose = (gap: Run): boolean => {
    if (!chosen.has(gap.first)) {
      const end = Math.min(gap.end, gap.first + Math.floor(left));
      if (end > gap.first + 1) chosen.set(gap.first, { first: gap.first, end });
      left -= end - gap.first;
    }
    return left >= 1;
  };
  for (const gap of inTurn(index, worth, packets)) if (!choose(gap)) break;

  const runs = [...chosen.values()].sort((a, b) => a.first - b.first);
  const unseen = gaps.map((gap) => {
    const run = chosen.get(gap.first);
    return secondsOf(gap) - (run ? secondsOf(run) : 0);
  });
  return {
    keyframes: keyframes.filter((position) => !chosen.has(position)),
    runs: joined(runs),
    unseenSeconds: unseen.reduce((sum, seconds) => sum + (seconds > UNSEEN_SECONDS ? seconds : 0), 0),
  };
}

/** When a position's frame appears; the end of the video for the position after its last one. */
export function timeAt({ timestamps, count, end }: PacketIndex, position: number): number {
  return position < count ? timestamps[position]! : end;
}

/** The first position where decoding can begin. Some files mark no keyframe at all. */
export function firstKeyframe({ keys }: PacketIndex): number {
  return Math.max(0, keys.indexOf(1));
}

/** From each keyframe to the next. */
function gapsBetween(index: PacketIndex, keyframes: readonly number[]): Run[] {
  const first = firstKeyframe(index);
  const starts = keyframes[0] === first ? keyframes : [first, ...keyframes];
  return starts.map((start, order) => ({ first: start, end: starts[order + 1] ?? index.count }));
}

/** Gaps in the order in which they are worth decoding. Some come twice. */
function* inTurn(index: PacketIndex, gaps: readonly Run[], packets: number): Generator<Run> {
  const all = gaps.reduce((sum, { first, end }) => sum + end - first, 0);
  if (all > packets) {
    const suspicious = gaps
      .map((gap) => ({ gap, suspicion: suspicionOf(index, gap) }))
      .sort((a, b) => b.suspicion - a.suspicion);
    let left = packets * SUSPICIOUS_SHARE;
    for (const { gap } of suspicious) {
      if (gap.end - gap.first > left) continue;
      left -= gap.end - gap.first;
      yield gap;
    }
    // Multiples of the golden ratio, without their whole parts, are spread evenly, however many there are.
    const starts = gaps.map(({ first }) => index.timestamps[first]!);
    for (let turn = 1; turn <= gaps.length; turn++) {
      const time = index.start + (index.end - index.start) * ((turn * GOLDEN_RATIO) % 1);
      const order = starts.findLastIndex((start) => start <= time);
      if (order >= 0) yield gaps[order]!;
    }
  }
  yield* gaps;
}

/** How much the heaviest packet of a gap stands out from its usual ones: what appears needs bytes. */
function suspicionOf({ sizes }: PacketIndex, { first, end }: Run): number {
  const sorted = sizes.slice(first + 1, end).sort();
  const usual = sorted[Math.floor(sorted.length * USUAL_SHARE) - 1] ?? 0;
  return (sorted.at(-1) ?? 0) / Math.max(1, usual);
}

function joined(runs: readonly Run[]): Run[] {
  const all: Run[] = [];
  for (const run of runs) {
    const last = all.at(-1);
    if (last?.end === run.first) all[all.length - 1] = { first: last.first, end: run.end };
    else all.push(run);
  }
  return all;
}
