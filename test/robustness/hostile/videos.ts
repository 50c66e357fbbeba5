import { readFileSync } from 'node:fs';
import { makeVideo, manyScenes, type VideoRecipe } from '../../fixtures/videos.ts';
import type { Random } from '../random.ts';
import { mutate } from './mutate.ts';

const scenes = manyScenes(3, 0.8);
const small = { width: 96, height: 64, frameRate: 10 } as const;

const recipes: Readonly<Record<string, Omit<VideoRecipe, 'scenes'>>> = {
  'h264.mp4': { options: { preset: 'veryfast', g: '8' } },
  'without-cuts.mp4': { options: { preset: 'veryfast', sc_threshold: '0' } },
  'faststart.mp4': { muxerOptions: { movflags: '+faststart' }, rotation: 90 },
  'fragments.mp4': { muxerOptions: { movflags: 'frag_keyframe+empty_moov' } },
  'edit-list.mp4': { timeOf: (index) => index * 100 - 500 },
  'hevc.mp4': { encoder: 'libx265', options: { preset: 'ultrafast', 'x265-params': 'log-level=none' } },
  'av1.mp4': { encoder: 'libsvtav1', options: { preset: '12' } },
  'mpeg4.mp4': { encoder: 'mpeg4', options: { bf: '2' } },
  'h264.avi': { container: 'avi', options: { preset: 'veryfast', g: '8' } },
  'mpeg4.avi': { container: 'avi', encoder: 'mpeg4', options: { g: '8' } },
  'mjpeg.avi': { container: 'avi', encoder: 'mjpeg', options: {}, matrix: 'bt601', range: 'full' },
  'h264.ts': { container: 'mpegts', options: { preset: 'veryfast', g: '8' } },
  'hevc.ts': {
    container: 'mpegts',
    encoder: 'libx265',
    options: { preset: 'ultrafast', 'x265-params': 'log-level=none' },
  },
  'h264.m2ts': { container: 'mpegts', muxerOptions: { mpegts_m2ts_mode: '1' } },
  'mpeg4.3gp': { container: '3gp', encoder: 'mpeg4', options: { g: '8' } },
  'vp9.webm': {
    encoder: 'libvpx-vp9',
    container: 'webm',
    options: { deadline: 'realtime', 'cpu-used': '8' },
  },
};

/** A sound video that mutations start from. */
export interface SmallVideo {
  readonly name: string;
  readonly bytes: Uint8Array;
}

/** Every codec and the kinds of files that take another way through the demuxers; some KB each. */
export function loadVideos(): readonly SmallVideo[] {
  return Object.entries(recipes).map(([name, recipe]) => ({
    name,
    bytes: readFileSync(makeVideo({ scenes, ...small, ...recipe }).path),
  }));
}

/** Damages a video: its bits, its length, or the boxes that say what lies where. */
export function mutateVideo({ bytes }: SmallVideo, random: Random): Uint8Array {
  switch (random.below(4)) {
    case 0:
      return bytes.slice(0, random.below(bytes.length));
    case 1:
      return flipBits(bytes, random);
    case 2:
      return mutate(bytes, random);
    default:
      return breakBoxes(bytes, random);
  }
}

function flipBits(bytes: Uint8Array, random: Random): Uint8Array {
  const flipped = Uint8Array.from(bytes);
  for (let left = 1 + random.below(50); left > 0; left--) {
    const at = random.below(flipped.length);
    flipped[at] = flipped[at]! ^ (1 << random.below(8));
  }
  return flipped;
}

const boxTypes = [
  ...['ftyp', 'moov', 'mvhd', 'trak', 'tkhd', 'edts', 'elst', 'mdia', 'mdhd', 'hdlr', 'minf', 'dinf', 'dref'],
  ...['stbl', 'stsd', 'avc1', 'avcC', 'hev1', 'hvcC', 'av01', 'av1C', 'mp4v', 'esds', 'stts', 'ctts', 'stss'],
  ...['stsc', 'stsz', 'stco', 'moof', 'mfhd', 'traf', 'tfhd', 'tfdt', 'trun', 'mvex', 'trex', 'mdat', 'colr'],
  ...['RIFF', 'LIST', 'hdrl', 'avih', 'strl', 'strh', 'strf', 'indx', 'movi', '00dc', 'idx1', 'JUNK'],
];
/** Where sizes overflow, end, or mean something else (0: until the end; 1: in 64 bits). */
const extremes = [0, 1, 7, 8, 9, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff];
/** A full box's version, flags, and the first of its counts and entries. */
const FIELDS_BYTES = 32;

/** Writes other sizes into some boxes' heads, and other numbers into what they begin with. */
function breakBoxes(bytes: Uint8Array, random: Random): Uint8Array {
  const broken = Buffer.from(bytes);
  const boxes = boxTypes.map((type) => broken.indexOf(type, 4, 'latin1')).filter((at) => at > 0);
  if (boxes.length === 0) return mutate(bytes, random);
  for (let left = 1 + random.below(3); left > 0; left--) {
    const type = random.pick(boxes);
    const field = random.chance(0.5) ? type - 4 : type + 4 + 4 * random.below(FIELDS_BYTES / 4);
    if (field + 4 > broken.length) continue;
    const near = broken.readUInt32BE(field) + random.below(17) - 8;
    broken.writeUInt32BE((random.chance(0.5) ? near : random.pick(extremes)) >>> 0, field);
  }
  return broken;
}
