import type { Planes } from '../../fixtures/videos-paint.ts';
import { randomNumbers } from '../random-numbers.ts';
import { type Canvas, type Ellipse, MARGIN, paintCanvas, paintView, type Size, type View } from './canvas.ts';

export interface Footage extends Size {
  readonly framesPerSecond: number;
  readonly seconds: number;
  /** Mean length of a scene; each is from half to one and a half times that. */
  readonly sceneSeconds: number;
  /** Standard deviation of the noise that each frame has of its own, of 255. */
  readonly noise: number;
}

/** Photographs that scenes are made of. */
const CANVASES = 6;
/** Things that move in front of each. */
const THINGS = 4;
/** The hand that holds the camera, in pixels of 1080 lines and in turns a second. */
const SHAKE = { amplitude: 3, frequency: 1.3 };

/**
 * Films made-up photographs: a hand-held camera pans over one of them while things with a pattern of their own
 * pass before it, with a sensor's noise; then comes a hard cut to the next. Nothing moves by whole pixels, so
 * that an encoder has as much left to code between keyframes as in ordinary footage.
 */
export function* film(footage: Footage): Generator<Planes> {
  const { width, height, framesPerSecond, seconds, sceneSeconds } = footage;
  const canvases = Array.from({ length: CANVASES }, (_, seed) => paintCanvas(seed + 1, footage));
  const next = randomNumbers(7);
  const noise = createNoise(footage.noise);
  const total = seconds * framesPerSecond;
  for (let scene = 0, done = 0; done < total; scene++) {
    const length = Math.round(sceneSeconds * framesPerSecond * (1 + next() / 2));
    const pan = createPan(canvases[scene % CANVASES] as Canvas, footage, next);
    const things = Array.from({ length: THINGS }, (_, order) =>
      createThing(canvases[(scene + order + 1) % CANVASES] as Canvas, footage, next),
    );
    for (let index = 0; index < length && done < total; index++, done++) {
      const time = index / framesPerSecond;
      const frame: Planes = new Uint16Array((width * height * 3) / 2);
      paintView(frame, footage, pan(time, index / length));
      for (const thing of things) {
        const { view, ellipse } = thing(time);
        paintView(frame, footage, view, ellipse);
      }
      noise(frame.subarray(0, width * height), done);
      yield frame;
    }
  }
}

function createTint(next: () => number): View['tint'] {
  return [Math.round(24 * next()), Math.round(24 * next())];
}

function createPan(canvas: Canvas, { width, height }: Size, next: () => number) {
  const tint = createTint(next);
  const room = { x: width * (MARGIN - 1) - 8, y: height * (MARGIN - 1) - 8 };
  const [from, to] = [
    { x: (1 + next()) / 2, y: (1 + next()) / 2 },
    { x: (1 + next()) / 2, y: (1 + next()) / 2 },
  ];
  const amplitude = (SHAKE.amplitude * height) / 1080;
  return (time: number, progress: number): View => {
    const angle = 2 * Math.PI * SHAKE.frequency * time;
    const at = (a: number, b: number, range: number, shake: number) =>
      Math.min(range, Math.max(0, (a + (b - a) * progress) * range + amplitude * shake));
    return {
      canvas,
      tint,
      left: at(from.x, to.x, room.x, Math.sin(angle)),
      top: at(from.y, to.y, room.y, Math.cos(1.7 * angle)),
    };
  };
}

/** Something that swings through the picture, taking its pattern along. */
function createThing(canvas: Canvas, { width, height }: Size, next: () => number) {
  const tint = createTint(next);
  const shape = { width: height * (0.3 + 0.15 * next()), height: height * (0.45 + 0.2 * next()) };
  const start = 6 * next();
  const speed = 0.6 + 0.4 * next();
  return (time: number): { readonly view: View; readonly ellipse: Ellipse } => {
    const angle = start + speed * time;
    const x = (width / 2) * (1 + 0.8 * Math.sin(angle));
    const y = (height / 2) * (1 + 0.4 * Math.cos(1.3 * angle));
    // The canvas moves as the thing does: what is at its middle stays there.
    const left = Math.max(0, Math.min(width * (MARGIN - 1) - 8, width * 0.1 + (width / 2 - x) * 0.12));
    const top = Math.max(0, Math.min(height * (MARGIN - 1) - 8, height * 0.1 + (height / 2 - y) * 0.12));
    return { view: { canvas, tint, left, top }, ellipse: { x, y, ...shape } };
  };
}

const NOISES = 1 << 16;

/** @returns adds noise to a frame's luma; each number of a frame has its own */
export function createNoise(deviation: number) {
  const next = randomNumbers(99);
  // The sum of two even distributions from -1 to 1 deviates by 0.816.
  const noise = Int8Array.from({ length: 2 * NOISES }, () =>
    Math.round((deviation / 0.816) * (next() + next())),
  );
  return (luma: Planes, frame: number): void => {
    let from = (frame * 7919) % NOISES;
    for (let at = 0; at < luma.length; at += NOISES, from = (from + 104_729) % NOISES) {
      const end = Math.min(luma.length, at + NOISES) - at;
      for (let index = 0; index < end; index++) {
        luma[at + index] = Math.min(240, Math.max(16, luma[at + index]! + noise[from + index]!));
      }
    }
  };
}
