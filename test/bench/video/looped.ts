import { FFmpegError, FormatContext, Packet, Rational } from 'node-av/lib';

/**
 * Writes a video several times over into one file, packet by packet: a long video without encoding it all.
 * @param seconds length of the video, whole frames of it
 */
export function loopVideo(source: string, target: string, seconds: number, times: number): void {
  const output = new FormatContext();
  check(output.allocOutputContext2(null, 'mp4', target), 'alloc output');
  const stream = output.newStream(null);
  using packet = new Packet();
  packet.alloc();
  for (let time = 0; time < times; time++) {
    const input = new FormatContext();
    check(input.openInputSync(source, null, null), 'open input');
    check(input.findStreamInfoSync(), 'read the streams');
    const original = input.streams[0];
    if (!original) throw new Error(`${source} has no stream.`);
    if (time === 0) {
      check(original.codecpar.copy(stream.codecpar), 'parameters');
      stream.timeBase = original.timeBase;
      check(output.openOutputSync(), 'open output');
      check(output.writeHeaderSync(null), 'header');
    }
    // The muxer may have chosen a time base of its own.
    const ticksPerSecond = new Rational(stream.timeBase.den, stream.timeBase.num);
    const offset = BigInt(Math.round((time * seconds * ticksPerSecond.num) / ticksPerSecond.den));
    while (input.readFrameSync(packet) >= 0) {
      packet.rescaleTs(original.timeBase, stream.timeBase);
      packet.pts += offset;
      packet.dts += offset;
      packet.streamIndex = stream.index;
      check(output.interleavedWriteFrameSync(packet), 'write');
    }
    input.closeInputSync();
  }
  check(output.writeTrailerSync(), 'trailer');
  output.closeOutputSync();
  output.freeContext();
}

function check(code: number, what: string): void {
  FFmpegError.throwIfError(code, what);
}
