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
const LEAST = { content: 15, colour: 10 };

/** How a frame differs from the one before it, of 255 each. */
export interface FrameDifference {
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
export interface CutDetector {
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
    const { difference, mayBeCut } = steps[at] as Step;
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
        if (isCut(middle)) cutAt = (steps[middle] as Step).timestamp;
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
    return difference[kind] >= LEAST[kind] && difference[kind] >= THRESHOLD * share * mean;
  });
}
