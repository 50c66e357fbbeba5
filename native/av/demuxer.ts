import {
  AV_DISPOSITION_ATTACHED_PIC,
  AV_LOG_QUIET,
  AV_NOPTS_VALUE,
  AV_PKT_FLAG_DISCARD,
  AVDISCARD_ALL,
  AVDISCARD_DEFAULT,
  AVDISCARD_NONKEY,
  AVERROR_EOF,
  AVMEDIA_TYPE_VIDEO,
  AVSEEK_FLAG_BACKWARD,
} from 'node-av/constants';
import { Dictionary, FormatContext, InputFormat, Log, Packet, type Stream } from 'node-av/lib';
import { AvError, check } from './av-error.ts';
import { describeTrack, type VideoTrack } from './track.ts';

let quiet = false;

/** libav reports every oddity of a file on standard error: errors are returned to us anyway. */
function quietLibrary(): void {
  if (quiet) return;
  Log.setLevel(AV_LOG_QUIET);
  quiet = true;
}

/** The containers whose demuxers a client's bytes may reach, by libav's names. */
export type Container = 'mov' | 'matroska';

/** A packet of the video track, without its data. Times are in the track's ticks. */
export interface PacketHead {
  /** Presentation time; the decoding time where the container tells no other. */
  pts: number;
  /** Decoding time; the presentation time where the container tells no other. */
  dts: number;
  /** 0 where the container does not tell. */
  duration: number;
  /** Bytes. */
  size: number;
  /** Can be decoded without any other packet. */
  key: boolean;
  /** An edit list keeps it from being shown. */
  hidden: boolean;
}

/** The packets of a file's best video track, one after another. */
export interface Demuxer extends Disposable {
  /** Undefined: the file has no video track. */
  readonly track: VideoTrack | undefined;
  /** Which of its times tells a packet from others, whatever way the demuxer came to it. */
  readonly identity: 'pts' | 'dts';
  /** Where the file's time begins, in seconds on the tracks' own clock. */
  readonly startTime: number;
  /** How long the container says the track lasts, in seconds; 0 where it does not say. */
  readonly declaredDuration: number;
  /** The packet that `next` has come to. */
  readonly head: Readonly<PacketHead>;
  /**
   * Moves on to the track's next packet.
   * @returns false: there are no more
   * @throws AvError
   */
  next(): boolean;
  /**
   * Goes to a keyframe's packet; `next` moves on to it, or to one before it.
   * @throws AvError
   */
  seek(keyframe: Pick<PacketHead, 'pts' | 'dts'>): void;
  /**
   * Lets `next` pass over everything but keyframes, without reading it from the disk where that is
   * possible. Presentation times are wrong then: the mov demuxer does not count the offsets that it passes.
   */
  keyframesOnly(): void;
  /** Corrects the current packet's presentation time, in ticks. */
  setPts(pts: number): void;
  /** For the decoder of this room: the packet itself, and the track as libav knows it. */
  readonly native: { readonly packet: Packet; readonly stream: Stream };
}

/** Of libav's components only these; nothing that a file names outside itself is ever opened. */
const options = {
  format_whitelist: 'mov,mp4,m4a,3gp,3g2,mj2,matroska,webm',
  codec_whitelist: 'h264,hevc,libdav1d,vp9,vp8,mpeg4',
  protocol_whitelist: 'file',
};
const movOptions = { enable_drefs: '0', use_absolute_path: '0' };

/** A local file, and how to read it. */
export interface MediaSource {
  readonly path: string;
  readonly container: Container;
  /** Show also what the container's edit lists hide. */
  readonly ignoreEdits: boolean;
}

/** @throws AvError */
export function openDemuxer({ path, container, ignoreEdits }: MediaSource): Demuxer {
  quietLibrary();
  const context = new FormatContext();
  const packet = new Packet();
  const free = () => {
    packet.free();
    context.closeInputSync();
  };
  try {
    packet.alloc();
    using dictionary = Dictionary.fromObject({
      ...options,
      ...(container === 'mov' ? { ...movOptions, ignore_editlist: ignoreEdits ? '1' : '0' } : {}),
    });
    // The scheme keeps a colon in the path from being read as a protocol.
    check(context.openInputSync(`file:${path}`, InputFormat.findInputFormat(container), dictionary), 'open');
    const streams = context.streams;
    for (const stream of streams) if (!isVideo(stream)) stream.discard = AVDISCARD_ALL;
    check(context.findStreamInfoSync(), 'read the streams');
    const video = bestVideo(context.streams);
    for (const stream of context.streams) {
      stream.discard = stream.index === video?.index ? AVDISCARD_DEFAULT : AVDISCARD_ALL;
    }
    return createDemuxer({ context, packet, stream: video, container, free });
  } catch (fault) {
    free();
    throw fault;
  }
}

interface OpenFile {
  readonly context: FormatContext;
  readonly packet: Packet;
  /** The video track, if the file has one. */
  readonly stream: Stream | undefined;
  readonly container: Container;
  readonly free: () => void;
}

function createDemuxer({ context, packet, stream, container, free }: OpenFile): Demuxer {
  const head: PacketHead = { pts: 0, dts: 0, duration: 0, size: 0, key: false, hidden: false };
  const readHead = () => {
    const { pts, dts } = packet;
    head.pts = Number(pts === AV_NOPTS_VALUE ? (dts === AV_NOPTS_VALUE ? 0n : dts) : pts);
    head.dts = Number(dts === AV_NOPTS_VALUE ? BigInt(head.pts) : dts);
    head.duration = Number(packet.duration);
    head.size = packet.size;
    head.key = packet.isKeyframe;
    head.hidden = (packet.flags & AV_PKT_FLAG_DISCARD) !== 0;
  };
  const startTime = context.startTime;
  return {
    track: stream && describeTrack(stream),
    // Of decoding times matroska files say nothing: libav makes them up from the packets before.
    identity: container === 'mov' ? 'dts' : 'pts',
    startTime: startTime === AV_NOPTS_VALUE ? 0 : Number(startTime) / 1e6,
    declaredDuration: declaredDuration(stream),
    head,
    next() {
      if (!stream) return false;
      for (;;) {
        packet.unref();
        const code = context.readFrameSync(packet);
        if (code === AVERROR_EOF) return false;
        if (code < 0) throw new AvError('read a packet', code);
        if (packet.streamIndex !== stream.index) continue;
        readHead();
        return true;
      }
    },
    seek({ pts, dts }) {
      if (!stream) return;
      // The mov demuxer searches decoding times, the matroska demuxer presentation times.
      const code = context.seekFrameSync(stream.index, BigInt(Math.min(pts, dts)), AVSEEK_FLAG_BACKWARD);
      if (code < 0)
        check(context.seekFrameSync(stream.index, BigInt(Math.max(pts, dts)), AVSEEK_FLAG_BACKWARD), 'seek');
    },
    keyframesOnly() {
      if (stream) stream.discard = AVDISCARD_NONKEY;
    },
    setPts(pts) {
      packet.pts = BigInt(pts);
      head.pts = pts;
    },
    get native() {
      if (!stream) throw new Error('This is a bug: a file without a video track has no packets.');
      return { packet, stream };
    },
    [Symbol.dispose]: free,
  };
}

function declaredDuration(stream: Stream | undefined): number {
  if (!stream || stream.duration === AV_NOPTS_VALUE) return 0;
  const { num, den } = stream.timeBase;
  return (Number(stream.duration) * num) / den;
}

function isVideo(stream: Stream): boolean {
  // Cover pictures are video streams of one picture.
  return (
    stream.codecpar.codecType === AVMEDIA_TYPE_VIDEO && !stream.hasDisposition(AV_DISPOSITION_ATTACHED_PIC)
  );
}

/** The one a player would show: with most pixels, the first of equals; tracks nobody here can decode come last. */
function bestVideo(streams: readonly Stream[]): Stream | undefined {
  const rank = (stream: Stream): number => {
    const { codec, codedSize } = describeTrack(stream);
    return codedSize.width * codedSize.height * (codec ? 1 : 1e-9);
  };
  return streams.filter(isVideo).sort((a, b) => rank(b) - rank(a))[0];
}
