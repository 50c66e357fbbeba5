import { colourDifference, contentDifference, type Thumbnail } from './thumbnail.ts';

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
/** Between frames that are further apart than this, in seconds, both must differ by this. */
const SPARSE = { seconds: 0.5, content: 20, colour: 12 };
/** Shorter stretches are not scenes. PySceneDetect has 0.6; frames that are left out may hide the difference. */
const MIN_SECONDS = 0.5;

interface Step {
  readonly timestamp: number;
  /** From the frame before, of 255. */
  readonly content: number;
  readonly colour: number;
}

/** Counts the scenes of a video. */
export interface SceneCounter {
  /** Takes the next frame, in time order. */
  look(timestamp: number, thumbnail: Thumbnail): void;
  /** @returns the number of scenes */
  finish(): number;
}

export function createSceneCounter(): SceneCounter {
  let scenes = 1;
  let sceneStart: number | undefined;
  let last: { readonly timestamp: number; readonly thumbnail: Thumbnail } | undefined;
  /** Of closely spaced frames. */
  let steps: Step[] = [];

  const cut = (timestamp: number) => {
    if (timestamp - (sceneStart ?? timestamp) >= MIN_SECONDS) scenes++;
    sceneStart = timestamp;
  };
  const settle = () => {
    for (const [at, { timestamp }] of steps.entries()) if (isCut(steps, at)) cut(timestamp);
    steps = [];
  };

  return {
    look(timestamp, thumbnail) {
      sceneStart ??= timestamp;
      if (last) {
        const content = contentDifference(last.thumbnail, thumbnail);
        const colour = colourDifference(last.thumbnail, thumbnail);
        if (timestamp - last.timestamp <= SPARSE.seconds) {
          steps.push({ timestamp, content, colour });
        } else {
          settle();
          if (content >= SPARSE.content && colour >= SPARSE.colour) cut(timestamp);
        }
      }
      last = { timestamp, thumbnail };
    },
    finish() {
      settle();
      return scenes;
    },
  };
}

/** @param at position of the step to judge */
function isCut(steps: readonly Step[], at: number): boolean {
  const around = steps.slice(Math.max(0, at - WINDOW), at + WINDOW + 1).filter((step) => step !== steps[at]);
  return (['content', 'colour'] as const).some((kind) => {
    const mean = around.reduce((sum, step) => sum + step[kind], 0) / Math.max(1, around.length);
    const difference = steps[at]![kind];
    return difference >= MIN_DIFFERENCE[kind] && difference >= THRESHOLD * mean;
  });
}
