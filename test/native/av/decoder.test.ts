import { describe, expect, test } from 'bun:test';
import { AvError } from '../../../native/av/av-error.ts';
import { createDecoder, type DecoderOptions, holdFrame } from '../../../native/av/decoder.ts';
import { openDemuxer } from '../../../native/av/demuxer.ts';
import { createPictureScaler, createThumbnailer } from '../../../native/av/frame-filter.ts';
import { makePaintedVideo, makeVideo, sceneColours, type VideoRecipe } from '../../fixtures/videos.ts';

const recipe: VideoRecipe = {
  scenes: [{ colour: 'red', seconds: 2 }],
  options: { preset: 'veryfast', g: '10', bf: '3', b_strategy: '0' },
};
const defaults: DecoderOptions = { skip: 'nothing', threads: 1, maximumPixels: 1e6 };

function decodeAll(path: string, options: Partial<DecoderOptions> = {}): { pts: number[]; failures: number } {
  using demuxer = openDemuxer({ path, container: 'mov', ignoreEdits: false });
  if (options.skip === 'nonkey') demuxer.keyframesOnly();
  using decoder = createDecoder(demuxer, demuxer.track!.codec!, { ...defaults, ...options });
  const pts: number[] = [];
  while (demuxer.next()) for (const frame of decoder.decode(demuxer)) pts.push(frame.pts!);
  for (const frame of decoder.flush()) pts.push(frame.pts!);
  return { pts, failures: decoder.failures };
}

describe('createDecoder', () => {
  const { path } = makeVideo(recipe);

  test('decodes every frame, in the order in which they are shown', () => {
    for (const threads of [1, 2, 4]) {
      const { pts, failures } = decodeAll(path, { threads });
      expect(pts.length).toBe(50);
      expect(pts).toEqual([...pts].sort((a, b) => a - b));
      expect(failures).toBe(0);
    }
  });

  test('leaves out frames without dependents, or all but keyframes', () => {
    const all = decodeAll(path).pts;
    const referenced = decodeAll(path, { skip: 'nonreference' }).pts;
    expect(referenced.length).toBeLessThan(35);
    expect(referenced.every((pts) => all.includes(pts))).toBe(true);
    expect(decodeAll(path, { skip: 'nonkey' }).pts.length).toBe(5);
  });

  test('keeps the order of HEVC keyframes that are decoded alone', () => {
    const options = { preset: 'ultrafast', 'x265-params': 'log-level=none:keyint=10:open-gop=1' };
    const hevc = makeVideo({
      ...recipe,
      scenes: [{ colour: 'red', seconds: 14 }],
      encoder: 'libx265',
      options,
    });
    using demuxer = openDemuxer({ path: hevc.path, container: 'mov', ignoreEdits: false });
    using decoder = createDecoder(demuxer, 'hevc', { ...defaults, skip: 'nonkey', alone: true });
    demuxer.keyframesOnly();
    let keyframes = 0;
    while (demuxer.next()) {
      const { pts } = demuxer.head;
      const frames = [];
      for (const frame of decoder.decode(demuxer)) frames.push(frame.pts);
      expect(frames).toEqual([pts]);
      keyframes++;
    }
    expect(keyframes).toBeGreaterThan(30);
  });

  test('allocates no memory for frames above the limit', () => {
    expect(() => decodeAll(path, { maximumPixels: 320 * 180 - 1 })).toThrow(AvError);
  });

  test('starts anew after a reset', () => {
    using demuxer = openDemuxer({ path, container: 'mov', ignoreEdits: false });
    using decoder = createDecoder(demuxer, 'h264', defaults);
    const decode = () => {
      let frames = 0;
      while (demuxer.next()) for (const _ of decoder.decode(demuxer)) frames++;
      for (const _ of decoder.flush()) frames++;
      return frames;
    };
    expect(decode()).toBe(50);
    demuxer.seek({ pts: 0, dts: -1e6 });
    decoder.reset();
    expect(decode()).toBe(50);
  });
});

describe('a frame', () => {
  test('stays as it was while it is held', () => {
    const { path } = makeVideo({
      scenes: [
        { colour: 'red', seconds: 0.4 },
        { colour: 'blue', seconds: 0.4 },
      ],
    });
    using demuxer = openDemuxer({ path, container: 'mov', ignoreEdits: false });
    using decoder = createDecoder(demuxer, 'h264', defaults);
    using thumbnailer = createThumbnailer({ width: 64, height: 36 });
    using stack = new DisposableStack();
    const held: ReturnType<typeof holdFrame>[] = [];
    while (demuxer.next())
      for (const frame of decoder.decode(demuxer)) held.push(stack.use(holdFrame(frame)));
    for (const frame of decoder.flush()) held.push(stack.use(holdFrame(frame)));
    expect(held.length).toBe(20);
    const [red, , blue] = thumbnailer.make(held[0]!).pixels;
    expect(red! - blue!).toBeGreaterThan(100);
  });

  test('becomes the square that the model takes, cut and turned', () => {
    const { path } = makeVideo({
      scenes: [{ colour: 'green', seconds: 0.2 }],
      rotation: 90,
      motion: 'none',
      grain: 0,
    });
    using demuxer = openDemuxer({ path, container: 'mov', ignoreEdits: false });
    using decoder = createDecoder(demuxer, 'h264', defaults);
    const placement = { resizedWidth: 32, resizedHeight: 56, cropLeft: 0, cropTop: 12, side: 32 };
    using scaler = createPictureScaler(placement, demuxer.track!.orientation);
    let pixels: Uint8Array | undefined;
    while (demuxer.next()) for (const frame of decoder.decode(demuxer)) pixels ??= scaler.scale(frame);
    for (const frame of decoder.flush()) pixels ??= scaler.scale(frame);
    expect(pixels?.length).toBe(32 * 32 * 3);
    for (let at = 0; at < pixels!.length; at++) {
      expect(Math.abs(pixels![at]! - sceneColours.green[at % 3]!)).toBeLessThanOrEqual(4);
    }
  });

  test('keeps the resolution of its colours where it is made smaller', () => {
    const side = 224;
    const stripes = 56;
    const patches = Array.from({ length: stripes }, (_, order) => ({
      left: (2 * order) / (2 * stripes),
      right: (2 * order + 1) / (2 * stripes),
      top: 0,
      bottom: 1,
      colour: sceneColours.orange,
    }));
    const path = makePaintedVideo(
      'stripes',
      { width: 2 * side, height: 2 * side, options: { qp: '0', preset: 'ultrafast' } },
      [{ background: sceneColours.blue, patches }],
    );
    using demuxer = openDemuxer({ path, container: 'mov', ignoreEdits: false });
    using decoder = createDecoder(demuxer, 'h264', defaults);
    const placement = { resizedWidth: side, resizedHeight: side, cropLeft: 0, cropTop: 0, side };
    using scaler = createPictureScaler(placement, demuxer.track!.orientation);
    let pixels: Uint8Array | undefined;
    while (demuxer.next()) for (const frame of decoder.decode(demuxer)) pixels ??= scaler.scale(frame);
    for (const frame of decoder.flush()) pixels ??= scaler.scale(frame);
    // Stripes of two pixels.
    for (let column = 0; column < side; column++) {
      const colour = sceneColours[column % 4 < 2 ? 'orange' : 'blue'];
      const at = (100 * side + column) * 3;
      for (const channel of [0, 1, 2]) {
        expect(Math.abs(pixels![at + channel]! - colour[channel]!)).toBeLessThanOrEqual(8);
      }
    }
  });
});
