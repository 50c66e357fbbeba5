/**
 * PySceneDetect's adaptive detector with the setting that did best on public data sets: a cut's difference
 * stands out from those of the frames around it, so that a fast camera makes none.
 */
const THRESHOLD = 3.5;
/** Frames looked at on either side. */
const WINDOW = 3;
/**
 * Least difference of a cut, of 255, however quiet it is around it. What is where changes all the time
 * under a fast camera, which colours there are does not: there these tell a cut.
 */
const LEAST = { content: 15, colour: 10 };

/** How a frame differs from the one before it, of 255 each. */
export interface FrameDifference {
  readonly content: number;
  readonly colour: number;
}

/**
 * How a frame stands to a cut: `settled` if none of the last few frames can have begun a scene, `after` if one
 * of them can, `jump` if it is this one.
 */
export type Standing = 'settled' | 'after' | 'jump';

/** What is known after one more frame. */
export interface Judgement {
  /** The time of a frame that began a new scene: one of the last few. */
  readonly cutAt: number | undefined;
  readonly standing: Standing;
}

/** Finds cuts in frames that follow closely upon each other. */
export interface CutDetector {
  look(timestamp: number, difference: FrameDifference): Judgement;
  /**
   * The frames end here, or are interrupted.
   * @returns the time of the last frame of those not judged yet that began a scene
   */
  finish(): number | undefined;
}

interface Step {
  readonly timestamp: number;
  readonly difference: FrameDifference;
  /** Whatever comes after it. */
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
      // The frames after it may all be still: then its difference stands out half as much from the mean.
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
