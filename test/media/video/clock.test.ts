import { describe, expect, test } from 'bun:test';
import { join } from 'node:path';
import { lookIntoFile } from '../../../src/media/video/video-file.ts';
import { makePaintedVideo, type VideoForm, videoFolder } from '../../fixtures/videos.ts';
import { type Muxing, muxTogether } from '../../fixtures/videos-muxed.ts';
import { encodeSilence } from '../../fixtures/videos-sound.ts';

const FRAMES = 50;

/** The times at which frames are shown, in display order. */
async function timesOf(path: string): Promise<number[]> {
  const { index } = await lookIntoFile(path, 100, async () => undefined);
  return [...index.timestamps].filter((_, at) => !index.hidden[at]).sort((a, b) => a - b);
}

function picture(name: string, form: Partial<VideoForm>): string {
  const paintings = Array.from({ length: FRAMES }, (_, index) => ({
    background: [(index * 5) % 256, 100, 100] as const,
  }));
  return makePaintedVideo(`clock ${name}`, form, paintings);
}

const pictures = {
  'without B-frames': picture('without B-frames', { options: { preset: 'veryfast', bf: '0' } }),
  'with B-frames': picture('with B-frames', { options: { preset: 'veryfast', bf: '3', b_strategy: '0' } }),
};
const sound = join(videoFolder(), 'clock sound.mp4');
encodeSilence(sound, 3);

const containers: Readonly<Record<string, Muxing>> = {
  MP4: { muxer: 'mp4' },
  MOV: { muxer: 'mov' },
  'fragmented MP4': { muxer: 'mp4', options: { movflags: 'frag_keyframe+empty_moov+delay_moov' } },
  Matroska: { muxer: 'matroska' },
  'MPEG-TS': { muxer: 'mpegts' },
  M2TS: { muxer: 'mpegts', options: { mpegts_m2ts_mode: '1' } },
  '3GP': { muxer: '3gp' },
};

/** How much later than in the source files picture and sound begin. */
const shifts = [
  { name: 'both at zero', pictureMs: 0, soundMs: 0 },
  { name: 'sound that begins earlier', pictureMs: 2000, soundMs: 0 },
  { name: 'a picture that begins earlier', pictureMs: 0, soundMs: 700 },
  { name: 'both late', pictureMs: 3000, soundMs: 1000 },
];

/** The AAC encoder's first packet holds this much before the sound. Some containers count it, some do not. */
const PRIMING_SECONDS = 1024 / 44_100;

describe('time 0 is the start of the earliest track', () => {
  for (const [container, muxing] of Object.entries(containers)) {
    for (const [kind, video] of Object.entries(pictures)) {
      for (const { name, pictureMs, soundMs } of shifts) {
        test(`in ${container} ${kind}, with ${name}`, async () => {
          const path = join(videoFolder(), `clock ${container} ${kind} ${name}`);
          muxTogether(path, video, sound, { ...muxing, pictureMs, soundMs });
          const expected = (pictureMs - Math.min(pictureMs, soundMs)) / 1000;
          const times = await timesOf(path);
          expect(times.length).toBe(FRAMES);
          expect(times[0]! - expected).toBeWithin(-0.0006, PRIMING_SECONDS + 0.0006);
          for (const [order, time] of times.entries()) expect(time - times[0]!).toBeCloseTo(order / 25, 3);
        });
      }
    }
  }

  test('in AVI, whose frames are shown when the decoder returns them', async () => {
    for (const [encoder, options, late] of [
      ['libx264', { preset: 'veryfast', bf: '0' }, 0],
      ['libx264', { preset: 'veryfast', bf: '3', b_strategy: '0' }, 2],
      ['mpeg4', { bf: '0' }, 0],
      ['mpeg4', { bf: '2', b_strategy: '0' }, 1],
      ['mjpeg', {}, 0],
    ] as const) {
      const range = encoder === 'mjpeg' ? 'full' : 'limited';
      const path = picture(`AVI ${encoder} ${late}`, { container: 'avi', encoder, options, range });
      const times = (await timesOf(path)).map((time) => Math.round(time * 25));
      expect([encoder, times]).toEqual([encoder, Array.from({ length: FRAMES }, (_, at) => at + late)]);
    }
  });

  test('where the decoding delay is not edited away', async () => {
    // The picture with B-frames is shown two frames after its decoding begins, the sound at once.
    for (const options of [{ use_editlist: '0' }, { movflags: 'frag_keyframe+empty_moov' }]) {
      const path = join(videoFolder(), `clock ${Object.keys(options)}`);
      muxTogether(path, pictures['with B-frames'], sound, { muxer: 'mp4', options });
      expect((await timesOf(path))[0]).toBe(0.08);
    }
  });
});
