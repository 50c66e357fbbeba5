import { expect, test } from 'bun:test';
import { softmax } from '../../src/classify/decide.ts';
import { createVideoSearch } from '../../src/classify/video-search.ts';
import { unobserved } from '../../src/engine-observer.ts';
import { openVideo } from '../../src/media/video/video.ts';
import { createVideoPlaces } from '../../src/media/video/video-places.ts';
import { openVideoSession } from '../../src/media/video/video-session.ts';
import { categoryOf, quickRecipes } from '../bench/regret/clip-recipes.ts';
import { madeClip } from '../bench/regret/made-clip.ts';
import { quantile, regretOf, truthOf } from '../bench/regret/regret.ts';
import { sceneColours } from '../fixtures/videos.ts';
import { framing } from '../media/video/look-at.ts';

const PAIRS = 20;
const colours = Object.entries(sceneColours);
const labels = colours.map(([name]) => categoryOf(name));

/** How much of a picture has each colour: the model of this test. */
function embed(pixels: Uint8Array): Float32Array {
  const shares = new Float32Array(colours.length + 1);
  shares[colours.length] = pixels.length / 30;
  for (let at = 0; at < pixels.length; at += 3) {
    for (const [order, [, colour]] of colours.entries()) {
      const distance = Math.hypot(...colour.map((value, channel) => value - pixels[at + channel]!));
      if (distance < 60) shares[order]! += 1 - distance / 60;
    }
  }
  const norm = Math.hypot(...shares);
  return shares.map((share) => share / norm);
}

const axis = (order: number) => new Float32Array(colours.length + 1).fill(0).fill(1, order, order + 1);

const search = createVideoSearch({
  openVideo: (path, options) => openVideo(path, { ...options, limits: { videoSeconds: 3600 }, threads: 2 }),
  framing: { geometry: framing.geometry, side: framing.side },
  places: createVideoPlaces({ running: 1, memoryBytes: 900 * 1024 ** 2 }),
  score: softmax(100),
  imageEncoder: {
    async acquireSlot() {
      const pixels = new Uint8Array(framing.side ** 2 * 3);
      return { pixels, encode: async () => embed(pixels), [Symbol.dispose]: () => undefined };
    },
  },
  encodeLabels: async (categories) => categories.labels.map((label) => axis(labels.indexOf(label))),
  backgroundOf: async () => undefined,
  observer: unobserved,
});

/** The embeddings of all frames that differ, with their times. */
async function everyFrame(path: string) {
  using session = await openVideoSession(path, { videoSeconds: 3600, threads: 2 }, async () => undefined);
  const { width, height, duration } = session.description;
  const steps = [
    ...session.find({ ...framing.geometry(width, height), side: framing.side }, framing.maximumFrames, true),
    ...session.refine([[0, duration, 0]]),
  ];
  return steps.flatMap(({ frame }) =>
    frame ? [{ time: frame.timestamp, embedding: embed(frame.pixels) }] : [],
  );
}

test('the winner is the best of all frames, or nearly so, whatever happens in the video', async () => {
  const regrets: number[] = [];
  const { signal } = new AbortController();
  for (const recipe of quickRecipes(PAIRS)) {
    const path = await madeClip(recipe);
    const frames = await everyFrame(path);
    const asked = recipe.events.map(({ colour }) => categoryOf(colour));
    await using found = await search(path, { labels: asked }, {}, { signal });
    for (const { category, frames: ranked } of found.rankings) {
      const order = labels.indexOf(category);
      const truth = truthOf(
        frames.map(({ time }) => time),
        Float64Array.from(frames, ({ embedding }) => embedding[order]!),
      );
      regrets.push(regretOf(truth, ranked[0]!.similarity));
    }
  }
  expect(regrets.length).toBeGreaterThanOrEqual(PAIRS);
  expect(quantile(regrets, 0.5)).toBeLessThanOrEqual(0.01);
  expect(quantile(regrets, 0.9)).toBeLessThanOrEqual(0.05);
  expect(quantile(regrets, 1)).toBeLessThanOrEqual(0.15);
}, 120_000);
