import { closeSync, openSync, readSync } from 'node:fs';
import { rename, stat } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { createDecoder, type DecodedFrame } from '../../../native/av/decoder.ts';
import { openDemuxer } from '../../../native/av/demuxer.ts';
import { createPictureScaler } from '../../../native/av/frame-filter.ts';
import { type Encoders, loadEncoders } from '../../../src/clip/encoders.ts';
import { familyNamed } from '../../../src/clip/family.ts';
import type { CompiledModel } from '../../../src/clip/graph/compiled-model.ts';
import { recogniseVideo, SNIFFED_BYTES } from '../../../src/media/sniff.ts';
import { cacheFolder } from '../cache-folder.ts';

/** What the model sees in a video. */
export interface EveryFrame {
  /** In seconds, ascending. */
  readonly times: readonly number[];
  /** Until the last frame has been shown. */
  readonly seconds: number;
  /** Only some frames a second were looked at, because the video is long. */
  readonly isSampled: boolean;
  /** Cosine with each frame, in the order of `times`. */
  similarities(category: string): Promise<Float64Array>;
}

/** Looks at all frames of videos; what it has found once is kept in the cache folder. */
export interface FrameViewer extends AsyncDisposable {
  look(path: string): Promise<EveryFrame>;
}

const LONG_SECONDS = 150;
const SAMPLES_PER_SECOND = 8;
const MAX_PIXELS = 8192 * 4352;

interface Found {
  readonly times: readonly number[];
  readonly seconds: number;
  readonly isSampled: boolean;
  /** Of each frame the place of its embedding: frames with the same pixels share one. */
  readonly places: readonly number[];
}

export async function createFrameViewer(compiled: CompiledModel): Promise<FrameViewer> {
  const encoders = await loadEncoders(compiled, { threads: availableParallelism() });
  const labels = new Map<string, Promise<Float32Array>>();
  const embeddingOf = (category: string) => {
    const known = labels.get(category);
    if (known) return known;
    const embedding = encoders.labelEncoder.encode([category], ['{}']).then(([only]) => only as Float32Array);
    labels.set(category, embedding);
    return embedding;
  };
  const dimension = compiled.architecture.embeddingDimension;
  return {
    async look(path) {
      const { size, mtimeMs } = await stat(path);
      const key = Bun.hash(`${path} ${size} ${mtimeMs} ${compiled.sha256} ${compiled.precision}`).toString(
        36,
      );
      const base = join(await cacheFolder('regret', 'frames'), key);
      if (!(await Bun.file(`${base}.json`).exists())) await lookAtAll(path, base, { compiled, encoders });
      const { times, seconds, isSampled, places }: Found = await Bun.file(`${base}.json`).json();
      const embeddings = new Float32Array(await Bun.file(`${base}.f32`).arrayBuffer());
      return {
        times,
        seconds,
        isSampled,
        async similarities(category) {
          const label = await embeddingOf(category);
          return Float64Array.from(places, (place) => {
            let sum = 0;
            for (let at = 0; at < dimension; at++) sum += label[at]! * embeddings[place * dimension + at]!;
            return sum;
          });
        },
      };
    },
    [Symbol.asyncDispose]: () => encoders[Symbol.asyncDispose](),
  };
}

interface Model {
  readonly compiled: CompiledModel;
  readonly encoders: Encoders;
}

async function lookAtAll(path: string, base: string, { compiled, encoders }: Model): Promise<void> {
  const side = compiled.architecture.vision.imageResolution;
  using video = openWhole(path);
  const { width, height } = video.track.shownSize;
  const placement = { ...familyNamed(compiled.family).placePicture(width, height, side), side };
  using scaler = createPictureScaler(placement, video.track.orientation);
  const isSampled = secondsOf(path) > LONG_SECONDS;
  const shortest = isSampled ? 1 / SAMPLES_PER_SECOND : 0;
  const times: number[] = [];
  const places: number[] = [];
  const embeddings: Promise<Float32Array>[] = [];
  let previous: Buffer | undefined;
  let end = 0;
  for (const { frame, time, seconds } of video.frames()) {
    end = Math.max(end, time + seconds);
    if (frame.damaged || time < (times.at(-1) ?? Number.NEGATIVE_INFINITY) + shortest - 1e-6) continue;
    const pixels = Buffer.from(scaler.scale(frame));
    if (!previous?.equals(pixels)) {
      using slot = await encoders.imageEncoder.acquireSlot();
      slot.pixels.set(pixels);
      embeddings.push(slot.encode());
      previous = pixels;
    }
    times.push(time);
    places.push(embeddings.length - 1);
  }
  const flat = Float32Array.from((await Promise.all(embeddings)).flatMap((embedding) => [...embedding]));
  const unfinished = `${base}.${process.pid}`;
  await Bun.write(`${base}.f32`, flat);
  await Bun.write(unfinished, JSON.stringify({ times, places, seconds: end, isSampled } satisfies Found));
  await rename(unfinished, `${base}.json`);
}

/**
 * Decodes all of a video with all cores and drops the frames.
 * @returns processor time in seconds
 */
export function decodeWhole(path: string): number {
  using video = openWhole(path);
  const before = process.cpuUsage();
  for (const _ of video.frames());
  const { user, system } = process.cpuUsage(before);
  return (user + system) / 1e6;
}

/** A video whose frames are decoded one after another, without leaving any out. */
function openWhole(path: string) {
  using stack = new DisposableStack();
  const container = containerOf(path);
  const demuxer = stack.use(openDemuxer({ path, container, ignoreEdits: false }));
  const { track, startTime } = demuxer;
  if (!track?.codec) throw new Error(`${path} has no video track that the service decodes.`);
  const decoder = stack.use(
    createDecoder(demuxer, track.codec, {
      skip: 'nothing',
      threads: availableParallelism(),
      maximumPixels: MAX_PIXELS,
    }),
  );
  const owned = stack.move();
  return {
    track,
    *frames() {
      const timed = (frame: DecodedFrame) => ({
        frame,
        time: (frame.pts ?? 0) * track.secondsPerTick - startTime,
        seconds: Number(frame.native.duration) * track.secondsPerTick,
      });
      while (demuxer.next()) for (const frame of decoder.decode(demuxer)) yield timed(frame);
      for (const frame of decoder.flush()) yield timed(frame);
    },
    [Symbol.dispose]: () => owned.dispose(),
  };
}

function secondsOf(path: string): number {
  using demuxer = openDemuxer({ path, container: containerOf(path), ignoreEdits: false });
  let last = 0;
  while (demuxer.next()) last = Math.max(last, demuxer.head.pts);
  return last * (demuxer.track?.secondsPerTick ?? 0);
}

function containerOf(path: string) {
  const beginning = new Uint8Array(SNIFFED_BYTES);
  const descriptor = openSync(path, 'r');
  try {
    const sniffed = recogniseVideo(beginning.subarray(0, readSync(descriptor, beginning)));
    if ('container' in sniffed) return sniffed.container;
  } finally {
    closeSync(descriptor);
  }
  throw new Error(`${path} is no video that the service accepts.`);
}
