import { blockDifference, colourDifference, contentDifference, type Thumbnail } from './thumbnail.ts';

/**
 * PySceneDetect's adaptive detector, with the setting that scored best on public data sets. A cut is a difference that
 * stands out from the differences of the frames around it. A fast camera therefore makes no cuts.
 */
const THRESHOLD = 3.5;
/** Frames compared on either side. */
const WINDOW = 3;
/**
 * The least difference of a cut, of 255. A fast camera changes where things are, but hardly which colours occur: there
 * the colours reveal a cut.
 */
const MIN_DIFFERENCE = { content: 15, colour: 10 };

/** How a frame differs from the one before it, of 255 each. */
interface FrameDifference {
  readonly content: number;
  readonly colour: number;
}

/**
 * A frame's relation to a cut. `settled`: none of the last few frames can have begun a scene. `after`: one of them can.
 * `jump`: this frame can.
 */
export type Standing = 'settled' | 'after' | 'jump';

/** What is known after one more frame. */
export interface Judgement {
  /** The time of the frame that began a new scene; one of the last few frames. */
  readonly cutAt: number | undefined;
  readonly standing: Standing;
}

/** Finds cuts in closely spaced frames. */
interface CutDetector {
  look(timestamp: number, difference: FrameDifference): Judgement;
  /**
   * Ends a run of frames.
   * @returns the time of the last unjudged frame that began a scene
   */
  finish(): number | undefined;
}

interface Step {
  readonly timestamp: number;
  readonly difference: FrameDifference;
  /** Judges without the frames after it. */
  readonly mayBeCut: boolean;
}

export function createCutDetector(): CutDetector {
  /** The frame to judge in the middle, up to `WINDOW` on either side. */
  let steps: Step[] = [];
  /** Position of the next frame to judge. */
  let middle = 0;

  const isCut = (at: number): boolean => {
    const { difference, mayBeCut } = steps[at]!;
    const around = steps.slice(Math.max(0, at - WINDOW), at + WINDOW + 1);
    return mayBeCut && standsOut(difference, around.toSpliced(Math.min(at, WINDOW), 1), 1);
  };

  return {
    look(timestamp, difference) {
      // If all frames after it are still, its difference stands out half as much from the mean.
      const mayBeCut = standsOut(difference, steps.slice(-WINDOW), 1 / 2);
      steps.push({ timestamp, difference, mayBeCut });
      let cutAt: number | undefined;
      if (steps.length - 1 - middle >= WINDOW) {
        if (isCut(middle)) cutAt = steps[middle]!.timestamp;
        middle++;
        if (middle > WINDOW) {
          steps.shift();
          middle--;
        }
      }
      const settled = !steps.slice(-WINDOW).some((step) => step.mayBeCut);
      return { cutAt, standing: settled ? 'settled' : mayBeCut ? 'jump' : 'after' };
    },
    finish() {
      const last = steps.findLastIndex((_, at) => at >= middle && isCut(at));
      const cutAt = steps[last]?.timestamp;
      steps = [];
      middle = 0;
      return cutAt;
    },
  };
}

/** @param share of the usual threshold */
function standsOut(difference: FrameDifference, others: readonly Step[], share: number): boolean {
  return (['content', 'colour'] as const).some((kind) => {
    const mean = others.reduce((sum, step) => sum + step.difference[kind], 0) / Math.max(1, others.length);
    return difference[kind] >= MIN_DIFFERENCE[kind] && difference[kind] >= THRESHOLD * share * mean;
  });
}

/** Limits how many frames are chosen, spread over a video whose scenes are not known in advance. */
export interface FrameBudget {
  /** Whether one more frame may be chosen at this time of the video, in seconds. */
  has(timestamp: number): boolean;
  spend(): void;
}

/** The share that may be spent at once. The rest becomes available evenly over the video's duration. */
const BURST_SHARE = 1 / 4;

/**
 * Quiet stretches save frames for busy ones.
 * @param frames that may be chosen in all
 * @param seconds the video's duration
 */
export function createFrameBudget(frames: number, seconds: number): FrameBudget {
  const burst = Math.ceil(frames * BURST_SHARE);
  const perSecond = seconds > 0 ? (frames - burst) / seconds : 0;
  let spent = 0;
  return {
    has: (timestamp) => spent < Math.min(frames, burst + perSecond * Math.max(0, timestamp)),
    spend: () => {
      spent++;
    },
  };
}

/** A frame that has just been decoded. */
export interface Sighting<Capture> {
  /** Seconds. */
  readonly timestamp: number;
  readonly thumbnail: Thumbnail;
  readonly standing: Standing;
  /** A keyframe: it is coded best, and is often the only frame seen of the seconds after it. */
  readonly key: boolean;
  /** Keeps the frame. Call it before the next frame is requested. */
  capture(): Capture;
}

/** A frame that represents a scene, or some seconds of a long one. The receiver disposes the capture. */
export interface ChosenFrame<Capture> {
  readonly timestamp: number;
  /** Counts scenes from 0. */
  readonly scene: number;
  readonly capture: Capture;
}

/** Goes through a video's frames in time order and chooses those worth looking at. */
export interface SceneTracker<Capture> extends Disposable {
  /** Scenes so far. */
  readonly scenes: number;
  /** No frame of the current stretch can be chosen yet. */
  readonly seeking: boolean;
  /** @returns the frame chosen for the stretch that this frame ended, if any */
  look(sighting: Sighting<Capture>): ChosenFrame<Capture> | undefined;
  /**
   * A new scene began at some time between these two, in seconds; the frames that follow show it.
   * @returns the frame chosen for the scene that ended, if any
   */
  cut(earliest: number, latest: number): ChosenFrame<Capture> | undefined;
  /** Ends the video. */
  finish(): ChosenFrame<Capture> | undefined;
}

/** Shorter stretches are not scenes. PySceneDetect has 0.6; frames that are left out may hide the difference. */
const MIN_SECONDS = 0.5;
/** Seconds between the frames of a long scene. */
const LONG_SECONDS = 8;
/** Frames closer than this are too similar to compare. */
const CANDIDATE_SECONDS = 0.2;
/** How many times better a later frame must be to replace an earlier one. */
const WORTHWHILE = 1.6;
/** Without a cut, this difference, of 255, makes a new stretch: a cross-fade or a long pan. */
const DRIFTED_DIFFERENCE = 20;
/** A picture that changes less than this in the given time is at rest, of 255. */
const RESTING = { difference: 6, seconds: 0.2 };
/** Where nothing rests, frames are chosen at this distance: a fast camera, or a strobe of very short scenes. */
const RESTLESS_SECONDS = 2;

/** Frames that differ less count as the same, in the mean and in any eighth of the picture, of 255. */
const DUPLICATE = { content: 3, block: 16 };

/** Black, white and one-coloured pictures have less contrast than this, of 255. */
const BLANK_CONTRAST = 4;
/** The factor on a frame's quality if it is blank, beside a cut, or in fast motion or a cross-fade. */
const BLANK = 0.1;
const UNSETTLED = 0.3;
const RESTLESS = 0.5;

export function isBlank({ contrast }: Thumbnail): boolean {
  return contrast < BLANK_CONTRAST;
}

/**
 * Whether a new scene began between two frames that are too far apart to see it. A moving camera
 * changes where things are, but much less which colours occur.
 */
export function isSparseCut(a: Thumbnail, b: Thumbnail): boolean {
  return contentDifference(a, b) >= 20 && colourDifference(a, b) >= 12;
}

interface Candidate<Capture> {
  readonly timestamp: number;
  readonly thumbnail: Thumbnail;
  readonly quality: number;
  /** Something moved fast, or changed, while the frame was shown. */
  readonly restless: boolean;
  readonly capture: Capture;
}

export function createSceneTracker<Capture extends Disposable>(budget: FrameBudget): SceneTracker<Capture> {
  let scene = 0;
  let sceneStart: number | undefined;
  /** Start of the current stretch of the scene, which needs a frame. */
  let start = 0;
  let best: Candidate<Capture> | undefined;
  /** A frame of this stretch, or of the next one after a cut that is not certain yet. */
  let tentative: Candidate<Capture> | undefined;
  let considered = Number.NEGATIVE_INFINITY;
  /** A recent frame, and one from before it. */
  let recent: Moment | undefined;
  let earlier: Moment | undefined;
  let lastChosen: Moment | undefined;
  /** From this time on, all scenes were too short to count. */
  let servedUntil = 0;
  /** A frame of a scene too short to count, for videos without any longer scene. */
  let spare: Candidate<Capture> | undefined;

  const choose = (): ChosenFrame<Capture> | undefined => {
    const candidate = best;
    best = undefined;
    if (!candidate) return undefined;
    const { timestamp, thumbnail, capture } = candidate;
    const known = lastChosen && isDuplicate(lastChosen.thumbnail, thumbnail);
    if (known || !budget.has(timestamp)) {
      drop(candidate);
      return undefined;
    }
    lastChosen = { timestamp, thumbnail };
    budget.spend();
    drop(spare);
    spare = undefined;
    return { timestamp, scene, capture };
  };

  const begin = (timestamp: number) => {
    start = timestamp;
    considered = Number.NEGATIVE_INFINITY;
  };

  /** Whether this frame ends the stretch although no cut was seen. */
  const outgrown = ({ timestamp, thumbnail, standing, key }: Sighting<Capture>): boolean => {
    const length = timestamp - start;
    if (length >= LONG_SECONDS) return true;
    if (standing !== 'settled' || !best || length < MIN_SECONDS) return false;
    if (contentDifference(best.thumbnail, thumbnail) < DRIFTED_DIFFERENCE) return false;
    if (length >= (key ? RESTLESS_SECONDS / 2 : RESTLESS_SECONDS)) return true;
    // If the stretch began in a transition, this frame replaces the one from there.
    return !best.restless && rests(timestamp, thumbnail) === true;
  };

  /** Undefined: unknown, because the frames are too far apart. */
  const rests = (timestamp: number, thumbnail: Thumbnail): boolean | undefined => {
    for (const moment of [recent, earlier]) {
      if (!moment) continue;
      const age = timestamp - moment.timestamp;
      const alike = contentDifference(moment.thumbnail, thumbnail) < RESTING.difference;
      if (alike && age >= RESTING.seconds) return true;
      if (!alike && age <= 3 * RESTING.seconds) return false;
    }
    return undefined;
  };

  const remember = (timestamp: number, thumbnail: Thumbnail) => {
    if (recent && timestamp - recent.timestamp < RESTING.seconds) return;
    earlier = recent;
    recent = { timestamp, thumbnail };
  };

  const consider = (sighting: Sighting<Capture>) => {
    const { timestamp, thumbnail, standing, key } = sighting;
    if (standing !== 'settled') {
      // It may belong to another scene than `best`.
      const fresh = !tentative || timestamp - tentative.timestamp >= CANDIDATE_SECONDS;
      if (standing === 'jump' || !fresh) return;
      const quality = qualityOf(thumbnail) * UNSETTLED;
      drop(tentative);
      tentative = { timestamp, thumbnail, quality, restless: true, capture: sighting.capture() };
      return;
    }
    if (best && !key && timestamp - considered < CANDIDATE_SECONDS) return;
    considered = timestamp;
    const restless = !key && rests(timestamp, thumbnail) === false;
    const quality = qualityOf(thumbnail) * (restless ? RESTLESS : 1);
    if (best && quality < best.quality * WORTHWHILE) return;
    drop(best);
    best = { timestamp, thumbnail, quality, restless, capture: sighting.capture() };
  };

  return {
    get scenes() {
      return scene + 1;
    },
    get seeking() {
      return !best;
    },
    look(sighting) {
      const { timestamp, thumbnail } = sighting;
      if (sceneStart === undefined) {
        sceneStart = timestamp;
        start = timestamp;
        servedUntil = timestamp;
      }
      let chosen: ChosenFrame<Capture> | undefined;
      if (outgrown(sighting)) {
        chosen = choose();
        servedUntil = timestamp;
        begin(timestamp);
      }
      consider(sighting);
      remember(timestamp, thumbnail);
      return chosen;
    },
    cut(earliest, latest) {
      const starved = latest - servedUntil >= RESTLESS_SECONDS;
      if (latest - start >= MIN_SECONDS || starved) {
        servedUntil = latest;
      } else {
        if (spare || lastChosen) drop(best);
        else spare = best;
        best = undefined;
      }
      const chosen = choose();
      if (latest - (sceneStart ?? latest) >= MIN_SECONDS) scene++;
      sceneStart = earliest;
      begin(earliest);
      if (tentative && tentative.timestamp >= latest) best = tentative;
      else drop(tentative);
      tentative = undefined;
      recent = undefined;
      earlier = undefined;
      return chosen;
    },
    finish() {
      if (!best) {
        best = tentative ?? spare;
        if (tentative) tentative = undefined;
        else spare = undefined;
      }
      return choose();
    },
    [Symbol.dispose]() {
      for (const candidate of [best, tentative, spare]) drop(candidate);
      best = undefined;
      tentative = undefined;
      spare = undefined;
    },
  };
}

function drop(candidate: Candidate<Disposable> | undefined): void {
  candidate?.capture[Symbol.dispose]();
}

interface Moment {
  readonly timestamp: number;
  readonly thumbnail: Thumbnail;
}

/** Detail counts most. A blank frame counts almost nothing. */
function qualityOf(thumbnail: Thumbnail): number {
  return (1 + thumbnail.detail) * (isBlank(thumbnail) ? BLANK : 1);
}

function isDuplicate(a: Thumbnail, b: Thumbnail): boolean {
  return contentDifference(a, b) < DUPLICATE.content && blockDifference(a, b) < DUPLICATE.block;
}
