import type { DecodedFrame } from '../../../native/av/decoded-frame.ts';
import { createDecoder, type Decoder } from '../../../native/av/decoder.ts';
import { type Demuxer, type MediaSource, openDemuxer } from '../../../native/av/demuxer.ts';
import { createThumbnailer } from '../../../native/av/thumbnailer.ts';
import type { VideoCodec, VideoTrack } from '../../../native/av/track.ts';
import type { FrameSource, SeenFrame } from './frame-finder.ts';
import { goToPacket, readOnTo } from './go-to-packet.ts';
import type { PacketIndex } from './packet-index.ts';
import { makeThumbnail, thumbnailSize } from './thumbnail.ts';

/** A file that has been looked into. */
export interface VideoFile {
  readonly source: MediaSource;
  readonly codec: VideoCodec;
  readonly track: VideoTrack;
  readonly index: PacketIndex;
}

export interface DecodingLimits {
  readonly threads: number;
  readonly maximumPixels: number;
}

/** What has been decoded, and what of it was damaged. */
export interface DecodingTally {
  /** Packets given to a decoder. */
  packets: number;
  frames: number;
  damaged: number;
}

/** A file's frames as libav decodes them. */
export interface NativeFrameSource<Capture> extends FrameSource<Capture>, Disposable {}

/**
 * @param capture takes from a frame what is needed of a chosen one; it is told how many packets had to be
 * decoded from the keyframe on until the frame came
 */
export function createFrameSource<Capture>(
  file: VideoFile,
  limits: DecodingLimits,
  tally: DecodingTally,
  capture: (frame: DecodedFrame, packetsDecoded: number) => Capture,
): NativeFrameSource<Capture> {
  using stack = new DisposableStack();
  const { index, track } = file;
  const small = thumbnailSize(track.codedSize.width, track.codedSize.height);
  const thumbnailer = stack.use(createThumbnailer(small.width, small.height));
  const open = (skip: 'nonkey' | 'nonreference'): { demuxer: Demuxer; decoder: Decoder } => {
    const demuxer = owned.use(openDemuxer(file.source));
    const alone = skip === 'nonkey' && file.codec === 'hevc';
    return { demuxer, decoder: owned.use(createDecoder(demuxer, file.codec, { ...limits, skip, alone })) };
  };
  /** Opened only if it is needed: most videos show everything in their keyframes. */
  let walking: { demuxer: Demuxer; decoder: Decoder } | undefined;

  const see = (frame: DecodedFrame, timestamp: number, packetsDecoded: number): SeenFrame<Capture> => {
    tally.frames++;
    if (frame.damaged) tally.damaged++;
    return {
      timestamp,
      thumbnail: makeThumbnail(thumbnailer.make(frame)),
      capture: () => capture(frame, packetsDecoded),
    };
  };
  const timestampOf = ({ pts }: DecodedFrame, startTime: number): number | undefined =>
    pts === undefined ? undefined : pts * track.secondsPerTick - startTime;

  const owned = stack.move();
  return {
    *keyframes(positions) {
      const { demuxer, decoder } = open('nonkey');
      demuxer.keyframesOnly();
      const inDecoder = new Map<number, number>();
      function* seen(frames: Generator<DecodedFrame>) {
        for (const frame of frames) {
          const timestamp = timestampOf(frame, demuxer.startTime);
          const position = frame.pts === undefined ? undefined : inDecoder.get(frame.pts);
          if (timestamp === undefined || position === undefined) continue;
          inDecoder.delete(frame.pts as number);
          yield { ...see(frame, timestamp, 1), position };
        }
      }
      for (const position of positions) {
        const [pts, dts] = [index.pts[position]!, index.dts[position]!];
        if (!readOnTo(demuxer, { pts, dts })) continue;
        demuxer.setPts(pts);
        inDecoder.set(pts, position);
        tally.packets++;
        yield* seen(decoder.decode(demuxer));
      }
      yield* seen(decoder.flush());
      tally.damaged += decoder.failures;
    },
    *from(position) {
      walking ??= open('nonreference');
      const { demuxer, decoder } = walking;
      decoder.reset();
      const failures = decoder.failures;
      let packets = 0;
      const seen = function* (frames: Generator<DecodedFrame>) {
        for (const frame of frames) {
          const timestamp = timestampOf(frame, demuxer.startTime);
          if (timestamp !== undefined) yield see(frame, timestamp, packets);
        }
      };
      try {
        if (!goToPacket(demuxer, index, position)) return;
        do {
          packets++;
          tally.packets++;
          yield* seen(decoder.decode(demuxer));
        } while (demuxer.next());
        yield* seen(decoder.flush());
      } finally {
        tally.damaged += decoder.failures - failures;
      }
    },
    [Symbol.dispose]: () => owned.dispose(),
  };
}
