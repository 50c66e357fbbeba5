import { describe, expect, test } from 'bun:test';
import { AvError } from '../../../native/av/av-error.ts';
import { type Container, type Demuxer, type MediaSource, openDemuxer } from '../../../native/av/demuxer.ts';
import { makeVideo, sceneColours } from '../../fixtures/videos.ts';

const recipe = { scenes: [{ colour: 'red', seconds: 2 }] } as const;

function source(path: string, container: Container = 'mov'): MediaSource {
  return { path, container, ignoreEdits: false };
}

function heads(demuxer: Demuxer): { pts: number; dts: number; key: boolean; hidden: boolean }[] {
  const all = [];
  while (demuxer.next()) {
    const { pts, dts, key, hidden } = demuxer.head;
    all.push({ pts, dts, key, hidden });
  }
  return all;
}

describe('openDemuxer', () => {
  test('describes the track as it is shown', () => {
    const { path } = makeVideo({ ...recipe, rotation: 90, pixelAspect: [2, 1] });
    using demuxer = openDemuxer(source(path));
    expect(demuxer.track).toMatchObject({
      codec: 'h264',
      codedSize: { width: 320, height: 180 },
      shownSize: { width: 180, height: 640 },
      pixelAspect: 2,
      orientation: { mirrored: false, turns: 1 },
    });
    expect(demuxer.track?.frameRate).toBeCloseTo(25, 0);
    expect(Object.keys(sceneColours)).toContain('red');
  });

  test.each([
    [{ bits: 8, chroma: '4:2:0' }, 1.5],
    [{ bits: 10, chroma: '4:2:0' }, 3],
    [{ bits: 8, chroma: '4:4:4' }, 3],
  ] as const)('knows the memory of a frame in %p', (form, bytesPerPixel) => {
    const { path } = makeVideo({ ...recipe, ...form });
    using demuxer = openDemuxer(source(path));
    const { frameBytes, codedSize } = demuxer.track!;
    expect(frameBytes / (codedSize.width * codedSize.height)).toBeWithin(bytesPerPixel, 1.1 * bytesPerPixel);
  });

  test('names a codec that is not accepted, but does not offer it', () => {
    const { path } = makeVideo({ ...recipe, encoder: 'mpeg2video', options: { strict: 'experimental' } });
    using demuxer = openDemuxer(source(path));
    expect(demuxer.track).toMatchObject({ codec: undefined, codecName: 'mpeg2video' });
  });

  test('opens only the named container', () => {
    const { path } = makeVideo(recipe);
    expect(() => openDemuxer(source(path, 'matroska'))).toThrow(AvError);
  });

  test('opens no playlist and no address', async () => {
    const { path } = makeVideo(recipe);
    const playlist = `${path}.m3u8`;
    await Bun.write(playlist, `#EXTM3U\n#EXTINF:1,\n${path}\n`);
    expect(() => openDemuxer(source(playlist))).toThrow(AvError);
    expect(() => openDemuxer(source('http://127.0.0.1:1/video.mp4'))).toThrow(AvError);
    expect(() => openDemuxer(source(`concat:${path}`))).toThrow(AvError);
  });

  for (const container of ['mp4', 'matroska'] as const) {
    test(`returns to a keyframe by its times in ${container}`, () => {
      const options = { preset: 'veryfast', g: '10', bf: '3' };
      const { path } = makeVideo({ ...recipe, container, options });
      using demuxer = openDemuxer(source(path, container === 'mp4' ? 'mov' : 'matroska'));
      const all = heads(demuxer);
      const keyframes = all.filter(({ key }) => key);
      expect(keyframes.length).toBeGreaterThan(3);
      for (const keyframe of [...keyframes].reverse()) {
        demuxer.seek(keyframe);
        do demuxer.next();
        while (demuxer.head[demuxer.identity] !== keyframe[demuxer.identity]);
        expect(demuxer.head.key).toBe(true);
      }
    });
  }

  test('skips everything but keyframes, by their decoding times', () => {
    const { path } = makeVideo({ ...recipe, options: { preset: 'veryfast', g: '10', bf: '3' } });
    using demuxer = openDemuxer(source(path));
    const keyframes = heads(demuxer).filter(({ key }) => key);
    using again = openDemuxer(source(path));
    again.keyframesOnly();
    expect(heads(again).map(({ dts }) => dts)).toEqual(keyframes.map(({ dts }) => dts));
  });

  test('reports which frames an edit list hides, or ignores the list', () => {
    const { path } = makeVideo({ ...recipe, timeOf: (index) => index * 40 - 400 });
    using demuxer = openDemuxer(source(path));
    const hidden = heads(demuxer).filter((head) => head.hidden);
    expect(hidden.length).toBe(10);
    using again = openDemuxer({ ...source(path), ignoreEdits: true });
    expect(heads(again).some((head) => head.hidden)).toBe(false);
  });
});
