/**
 * PySceneDetect's adaptive detector with the setting that did best on public data sets: a cut's difference
 * stands out from those of the frames around it, so that a fast camera makes none.
 */
const THRESHOLD = 3.5;
/** Frames looked at on either side. */
const WINDOW = 3;
/** Least difference of a cut, of 255, however quiet it is around it. */
const MINIMUM_DIFFERENCE = 15;

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
  /** @param difference of this frame to the one before it, of 255 */
  look(timestamp: number, difference: number): Judgement;
  /** The frames end here, or are interrupted: cuts among the last few that nothing speaks against. */
  finish(): number | undefined;
}

interface Step {
  readonly timestamp: number;
  readonly difference: number;
}

export function createCutDetector(): CutDetector {
  /** The frame to judge in the middle, up to `WINDOW` on either side. */
  let steps: Step[] = [];
  /** Position of the next frame to judge. */
  let middle = 0;

  const judge = (at: number): boolean => {
    const { difference } = steps[at] as Step;
    if (difference < MINIMUM_DIFFERENCE) return false;
    const around = steps
      .slice(Math.max(0, at - WINDOW), at + WINDOW + 1)
      .filter((_, index, all) => all[index] !== steps[at]);
    const mean = around.reduce((sum, step) => sum + step.difference, 0) / Math.max(1, around.length);
    return difference >= THRESHOLD * mean;
  };

  return {
    look(timestamp, difference) {
      steps.push({ timestamp, difference });
      let cutAt: number | undefined;
      if (steps.length - 1 - middle >= WINDOW) {
        if (judge(middle)) cutAt = (steps[middle] as Step).timestamp;
        middle++;
        if (middle > WINDOW) {
          steps.shift();
          middle--;
        }
      }
      const settled = steps.slice(-WINDOW).every((step) => step.difference < MINIMUM_DIFFERENCE);
      return { cutAt, standing: settled ? 'settled' : difference < MINIMUM_DIFFERENCE ? 'after' : 'jump' };
    },
    finish() {
      let cutAt: number | undefined;
      for (let at = middle; at < steps.length; at++) if (judge(at)) cutAt = (steps[at] as Step).timestamp;
      steps = [];
      middle = 0;
      return cutAt;
    },
  };
}
