import { rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { FFmpegError, FormatContext, Packet, Rational } from 'node-av/lib';
import { encodeVideo, type VideoForm } from '../../fixtures/videos-encode.ts';
import { cacheFolder } from '../cache-folder.ts';

/** A film that costs its sender nothing. */
export interface SkipFilm {
  readonly width: number;
  readonly height: number;
  readonly frames: number;
  readonly seconds: number;
}

/** After so many frames x264's numbers of frames begin again, so that frames can be repeated from there. */
const PERIOD = 16;
const TICKS_PER_SECOND = 90_000;

/**
 * The film, made once and kept.
 * @returns the file's path
 */
export async function skipFilm(film: SkipFilm): Promise<string> {
  const { width, height, frames, seconds } = film;
  const path = join(await cacheFolder('videos'), `skip-${width}x${height}-${frames}-${seconds}.mp4`);
  if (!(await Bun.file(path).exists())) {
    const partial = `${path}.${process.pid}.all`;
    await makeSkipFilm(partial, film);
    await rename(partial, path);
  }
  return path;
}

/** Makes a film whose frames say no more than “as before”: some 12 bytes each, but each decoded in full. */
export async function makeSkipFilm(path: string, film: SkipFilm): Promise<void> {
  const period = `${path}.once.mp4`;
  try {
    encodePeriod(period, film);
    repeatPeriod(period, path, film);
  } finally {
    await rm(period, { force: true });
  }
}

/** A keyframe and a period of frames in which nothing changes. */
function encodePeriod(path: string, { width, height }: SkipFilm): void {
  const form: VideoForm = {
    width,
    height,
    bits: 8,
    matrix: 'bt709',
    range: 'limited',
    encoder: 'libx264',
    chroma: '4:2:0',
    // Runs of skipped blocks are one number without CABAC.
    options: {
      preset: 'ultrafast',
      'x264-params': 'keyint=infinite:scenecut=0:bframes=0:ref=1:cabac=0:weightp=0:qp=40:threads=2',
    },
    container: 'mp4',
    muxerOptions: {},
    transfer: 'bt709',
    untagged: false,
    rotation: 0,
    pixelAspect: [1, 1],
    timeOf: (index) => index * 40,
  };
  const grey = new Uint16Array((width * height * 3) / 2).fill(128);
  encodeVideo(
    path,
    form,
    Array.from({ length: PERIOD + 1 }, () => grey),
  );
}

function repeatPeriod(source: string, target: string, { frames, seconds }: SkipFilm): void {
  const input = new FormatContext();
  check(input.openInputSync(source, null, null), 'open input');
  check(input.findStreamInfoSync(), 'read the streams');
  const original = input.streams[0];
  if (!original) throw new Error(`${source} has no stream.`);
  const packets = Array.from({ length: PERIOD + 1 }, () => {
    const packet = new Packet();
    packet.alloc();
    check(input.readFrameSync(packet), 'read');
    return packet;
  });
  const output = new FormatContext();
  check(output.allocOutputContext2(null, 'mp4', target), 'alloc output');
  const stream = output.newStream(null);
  check(original.codecpar.copy(stream.codecpar), 'parameters');
  stream.timeBase = new Rational(1, TICKS_PER_SECOND);
  check(output.openOutputSync(), 'open output');
  check(output.writeHeaderSync(null), 'header');
  const ticks = BigInt(Math.round((seconds * stream.timeBase.den) / (frames * stream.timeBase.num)));
  using writing = new Packet();
  writing.alloc();
  for (let frame = 0; frame < frames; frame++) {
    const packet = packets[frame === 0 ? 0 : 1 + ((frame - 1) % PERIOD)] as Packet;
    check(writing.ref(packet), 'refer');
    writing.pts = BigInt(frame) * ticks;
    writing.dts = writing.pts;
    writing.duration = ticks;
    writing.streamIndex = stream.index;
    check(output.writeFrameSync(writing), 'write');
    writing.unref();
  }
  check(output.writeTrailerSync(), 'trailer');
  output.closeOutputSync();
  output.freeContext();
  input.closeInputSync();
}

function check(code: number, what: string): void {
  FFmpegError.throwIfError(code, what);
}
