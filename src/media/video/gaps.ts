import type { PacketIndex } from './video-file.ts';

/** Packets between two keyframes. They are not decoded unless a scene may hide there. */
export interface Gap {
  /** Positions in the packet index: the keyframe that begins it, and the one that ends it or the count. */
  readonly first: number;
  readonly end: number;
}

/** What the decoded keyframes show about a gap. */
export interface GapView {
  /** Whether the keyframes around it differ; undefined: there is only one. */
  readonly changed: boolean | undefined;
  /** The first keyframe is almost empty: black, white or one colour. */
  readonly blank: boolean;
}

/** How a codec spreads its bytes over frames. */
export interface PacketHabits {
  /** Every window of this length has a reference frame. */
  readonly windowSeconds: number;
  /** How long before a frame is shown its bytes may be stored. */
  readonly aheadSeconds: number;
}

/** Where an encoder placed keyframes in the whole file. */
interface KeyframeHabits {
  /** Keyframes are where scenes begin, not only at fixed distances. */
  readonly atCuts: boolean;
  /** Packets after which a keyframe is forced; undefined: unknown. */
  readonly forcedAfter: number | undefined;
}

/** What is known of the whole file before its frames are decoded. */
interface FileHabits {
  readonly index: PacketIndex;
  readonly packets: PacketHabits;
  readonly keyframes: KeyframeHabits;
}

/** Longer gaps are decoded as far as the budget allows: examining more packets than this needs over 100 MB. */
const MAX_PACKETS = 1_000_000;
/** A shorter scene need not be found. */
const MIN_SCENE_SECONDS = 0.7;
/** Seconds after a cut until its frame is certainly shown in full quality. */
const SETTLING_SECONDS = 0.5;
/** A cross-fade may continue for this time after a busy second. */
const FADED_SETTLING_SECONDS = 1;
/** A longer gap is decoded even without suspicion if its bytes suffice for a frame every 10 s. */
const BLIND_SECONDS = { gap: 15, perKeyframe: 10 };
/** The least duration of two cross-fades with a scene between them. */
const FADED_SCENE_SECONDS = 1.2;
/** Their least bytes, as a share of a keyframe's. A slide show with slides of equal length has less. */
const FADED_SCENE_BYTES = 0.25;

/**
 * How heavy a packet must be to reveal a cut, as shares of the lighter keyframe and of the usual packets
 * of its gap. Measured cuts without a keyframe: 0.36 to 7 keyframes, 1.8 to 28 times the usual packet with
 * x264, x265, MPEG-4 and rate control of all kinds; 1.65 with SVT-AV1. Where keyframes are at
 * cuts, one is missing only if the last one is too close, and then the packet is almost as large as a keyframe.
 */
const HEAVY = { ofKeyframe: 0.2, ofUsual: 1.6, ofAround: 3 };
const HEAVY_BESIDE_KEYFRAMES = { ofKeyframe: 0.5, ofUsual: 2.5, ofAround: 5 };

/**
 * Between scenes that an encoder can predict from each other (one colour and another, text on the same
 * background) a cut is light, but still a spike: it stands out from the windows on both of its sides,
 * where motion that begins or ends does not.
 */
const WINDOWS_AROUND = 6;

/**
 * If the usual packet has at least this share of the keyframe's bytes, a strict bit rate or noise hides cuts. No later
 * keyframe shows a scene that hides in the file's last gap.
 */
const TELLING_NOTHING = 0.35;

/**
 * A cross-fade has no heavy packet but a busy second: several times the bytes of the gap's usual second, and enough for
 * a new picture.
 */
const BUSY = { ofKeyframe: 1, ofUsual: 2 };
const BUSY_BESIDE_KEYFRAMES = { ofKeyframe: 1, ofUsual: 3 };
/**
 * If the picture has changed and the keyframe was due anyway, less reveals a cross-fade. Measured: 1.5 to 16 times the
 * usual second for fades, 1.25 for a moving camera with as much change.
 */
const BUSY_BEFORE_DUE_KEYFRAME = { ofKeyframe: 0.25, ofUsual: 1.4 };

export function packetHabits(codec: string): PacketHabits {
  // AV1 and VP9 send frames of up to a second ahead in one packet.
  return codec === 'av1' || codec === 'vp9'
    ? { windowSeconds: 0.7, aheadSeconds: 1.3 }
    : { windowSeconds: 0.25, aheadSeconds: 0 };
}

/** Positions of the keyframes, ascending. */
export function keyframePositions({ keys }: Pick<PacketIndex, 'keys'>): number[] {
  const positions: number[] = [];
  for (let at = keys.indexOf(1); at >= 0; at = keys.indexOf(1, at + 1)) positions.push(at);
  return positions;
}

/** Most files have a keyframe at the beginning of each scene, or keyframes at fixed distances. */
export function keyframeHabits(index: Pick<PacketIndex, 'keys' | 'count'>): KeyframeHabits {
  const positions = keyframePositions(index);
  const distances = positions.map((at, order) => (positions[order + 1] ?? index.count) - at);
  // The last distance ends with the file.
  const whole = distances.length > 1 ? distances.slice(0, -1) : distances;
  const longest = whole.reduce((most, distance) => Math.max(most, distance), 0);
  const early = whole.filter((distance) => distance < 0.9 * longest).length;
  // Scenes of similar length look the same, but then the longest is close to the usual length.
  const usual = median(whole);
  const regular = whole.filter((distance) => distance === longest).length >= 2;
  const forced = regular && (longest >= 2 * usual || longest === usual);
  return {
    atCuts: early >= 2 && early >= 0.3 * whole.length,
    forcedAfter: forced ? longest : undefined,
  };
}

/**
 * Decides from the packets alone whether a scene may hide in a gap.
 * @returns the time up to which the gap must be decoded, in seconds; undefined: not at all
 */
export function suspectGap(
  gap: Gap,
  view: GapView,
  { index, packets, keyframes }: FileHabits,
): number | undefined {
  const { timestamps } = index;
  const start = timestamps[gap.first]!;
  const end = gap.end < index.count ? timestamps[gap.end]! : index.end;
  // The first frame is not shown.
  if (index.hidden[gap.first]) return end;
  const closed = gap.end < index.count;
  // The next keyframe shows a scene that lasts beyond it.
  const latestStart = closed ? end - MIN_SCENE_SECONDS + 0.1 : end;
  if (latestStart <= start || gap.end - gap.first < 2) return undefined;

  if (gap.end - gap.first > MAX_PACKETS) return end;
  const steps = stepsInOrder(index, gap);
  const keyframe = Math.min(
    index.sizes[gap.first]!,
    closed ? index.sizes[gap.end]! : Number.POSITIVE_INFINITY,
  );
  if (view.blank && steps.some((step) => step.size > keyframe)) return end;
  const bytes = steps.reduce((sum, step) => sum + step.size, 0);
  const mayBeFaded = end - start >= FADED_SCENE_SECONDS;
  if (view.changed && !keyframes.atCuts && mayBeFaded && bytes >= FADED_SCENE_BYTES * keyframe) return end;
  const active = bytes * BLIND_SECONDS.perKeyframe >= keyframe * (end - start);
  if (active && end - start > BLIND_SECONDS.gap) return end;

  // Light packets are ignored: few other packets depend on them.
  const most = windows(steps, packets.windowSeconds, Math.max);
  const usual = median(most.map(({ value }) => value));
  if (!closed && !keyframes.atCuts && usual >= TELLING_NOTHING * keyframe) return end;

  const heavy = keyframes.atCuts ? HEAVY_BESIDE_KEYFRAMES : HEAVY;
  const around = usualAround(most);
  const lastCut = steps.findLast(
    (step) =>
      step.earliest <= latestStart &&
      ((step.size >= heavy.ofKeyframe * keyframe && step.size >= heavy.ofUsual * usual) ||
        step.size >= heavy.ofAround * around(step.timestamp)),
  );
  const wasDue = view.changed && gap.end - gap.first === keyframes.forcedAfter;
  const besideKeyframes = wasDue ? BUSY_BEFORE_DUE_KEYFRAME : BUSY_BESIDE_KEYFRAMES;
  const busy = keyframes.atCuts ? besideKeyframes : BUSY;
  const fadedAt = mayBeFaded ? lastBusySecond(steps, keyframe, busy, latestStart) : undefined;
  const until = Math.max(
    lastCut ? lastCut.timestamp + packets.aheadSeconds + SETTLING_SECONDS : start,
    fadedAt === undefined ? start : fadedAt + FADED_SETTLING_SECONDS,
  );
  return until > start ? Math.min(end, until) : undefined;
}

interface Step {
  readonly timestamp: number;
  /** The earliest of the frames that depend on it but are shown before it. One of them may show its scene first. */
  readonly earliest: number;
  readonly size: number;
}

/** No codec shows more frames before one that is decoded earlier; tables may claim any number. */
const MAX_REORDERED = 64;

/** A gap's packets without keyframes, in display order. */
function stepsInOrder({ timestamps, sizes, keys }: PacketIndex, { first, end }: Gap): Step[] {
  const steps: Step[] = [];
  for (let at = first + 1; at < end; at++) {
    if (keys[at]) continue;
    const timestamp = timestamps[at]!;
    let earliest = timestamp;
    const last = Math.min(end, at + 1 + MAX_REORDERED);
    for (let next = at + 1; next < last && timestamps[next]! < timestamp; next++) {
      earliest = Math.min(earliest, timestamps[next]!);
    }
    steps.push({ timestamp, earliest, size: sizes[at]! });
  }
  return steps.sort((a, b) => a.timestamp - b.timestamp);
}

/** @returns the end of the last busy second that leaves time for a scene before the next keyframe */
function lastBusySecond(
  steps: readonly Step[],
  keyframe: number,
  busy: typeof BUSY,
  latestEnd: number,
): number | undefined {
  const sums = windows(steps, 1, (sum, size) => sum + size);
  const most = windows(steps, 1, Math.max);
  // A single heavy packet does not make a busy second.
  const seconds = sums.map(({ value }, at) => value - most[at]!.value);
  const usual = median(seconds);
  const last = seconds.findLastIndex(
    (sum, at) =>
      sums[at]!.start <= latestEnd - 1 && sum >= busy.ofKeyframe * keyframe && sum >= busy.ofUsual * usual,
  );
  return sums[last]?.end;
}

interface Window {
  readonly start: number;
  readonly end: number;
  /** The joined sizes of its packets. */
  value: number;
}

function windows(steps: readonly Step[], seconds: number, join: (a: number, b: number) => number): Window[] {
  const joined: Window[] = [];
  for (const { timestamp, size } of steps) {
    const window = joined.at(-1);
    if (window && timestamp < window.end) window.value = join(window.value, size);
    else joined.push({ start: timestamp, end: timestamp + seconds, value: size });
  }
  return joined;
}

/**
 * The usual value before and after a time, without the time's own window: the larger of both. Times must be requested in
 * descending order. Each window is computed once: there may be a hundred thousand of them.
 */
function usualAround(most: readonly Window[]): (timestamp: number) => number {
  let own = most.length - 1;
  let known: number | undefined;
  return (timestamp) => {
    while (own >= 0 && most[own]!.start > timestamp) {
      own--;
      known = undefined;
    }
    known ??= usualBeside(most, own);
    return known;
  };
}

function usualBeside(most: readonly Window[], own: number): number {
  const before = most.slice(Math.max(0, own - WINDOWS_AROUND), Math.max(0, own));
  const after = most.slice(own + 1, own + 1 + WINDOWS_AROUND);
  const sides = [before, after].filter((side) => side.length > 0);
  if (sides.length === 0) return Number.POSITIVE_INFINITY;
  return Math.max(...sides.map((side) => median(side.map(({ value }) => value))));
}

function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[values.length >> 1] ?? 0;
}
