/** Decodes a whole video and drops the frames: what `ffmpeg -f null` does, for machines without it. */
import { AVERROR_EOF, AVMEDIA_TYPE_VIDEO, FF_DECODER_H264 } from 'node-av/constants';
import { Codec, CodecContext, FFmpegError, FormatContext, Frame, Packet } from 'node-av/lib';
import { answerParent, childInput } from './child.ts';

export interface FullDecodeInput {
  readonly path: string;
  readonly threads: number;
}

const { path, threads } = childInput<FullDecodeInput>();
const input = new FormatContext();
check(input.openInputSync(path, null, null), 'open');
check(input.findStreamInfoSync(), 'read the streams');
const stream = input.streams.find(({ codecpar }) => codecpar.codecType === AVMEDIA_TYPE_VIDEO);
const codec = Codec.findDecoderByName(FF_DECODER_H264);
if (!stream || !codec) throw new Error(`${path} holds no H.264 video.`);
using context = new CodecContext();
context.allocContext3(codec);
check(context.parametersToContext(stream.codecpar), 'take the parameters');
context.threadCount = threads;
check(context.open2Sync(codec), 'open the decoder');

using packet = new Packet();
packet.alloc();
using frame = new Frame();
frame.alloc();
let frames = 0;
const receive = () => {
  while (context.receiveFrameSync(frame) >= 0) frames += 1;
};
while (input.readFrameSync(packet) !== AVERROR_EOF) {
  if (packet.streamIndex === stream.index) check(context.sendPacketSync(packet), 'decode');
  receive();
  packet.unref();
}
check(context.sendPacketSync(null), 'flush');
receive();
answerParent({ frames });

function check(code: number, what: string): void {
  FFmpegError.throwIfError(code, what);
}
