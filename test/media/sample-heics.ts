import {
  AV_CODEC_FLAG_GLOBAL_HEADER,
  AV_LOG_QUIET,
  AV_PIX_FMT_GRAY8,
  AV_PIX_FMT_YUV420P,
  AV_PIX_FMT_YUV420P10LE,
  AV_PIX_FMT_YUV422P,
  AV_PIX_FMT_YUV422P10LE,
  AV_PIX_FMT_YUV444P,
  AVCOL_RANGE_JPEG,
  AVCOL_RANGE_MPEG,
  AVCOL_SPC_BT709,
  AVCOL_SPC_SMPTE170M,
  FF_ENCODER_LIBX265,
} from 'node-av/constants';
import { Codec, CodecContext, FFmpegError, Frame, Log, Packet, Rational } from 'node-av/lib';
import { toYuv } from '../fixtures/videos-paint.ts';
import { type CodedPicture, codedItem, gridData, heif, sizeProperty } from './sample-heifs.ts';
import { concat, type Paint, type Rgba, scene, uint32be } from './sample-pictures.ts';

/** How the samples of a picture are coded. */
const sampleFormats = {
  '4:0:0': { format: AV_PIX_FMT_GRAY8, bits: 8, chroma: undefined, number: 0 },
  '4:2:0': { format: AV_PIX_FMT_YUV420P, bits: 8, chroma: [2, 2], number: 1 },
  '4:2:0 in 10 bits': { format: AV_PIX_FMT_YUV420P10LE, bits: 10, chroma: [2, 2], number: 1 },
  '4:2:2': { format: AV_PIX_FMT_YUV422P, bits: 8, chroma: [2, 1], number: 2 },
  '4:2:2 in 10 bits': { format: AV_PIX_FMT_YUV422P10LE, bits: 10, chroma: [2, 1], number: 2 },
  '4:4:4': { format: AV_PIX_FMT_YUV444P, bits: 8, chroma: [1, 1], number: 3 },
} as const;
export type SampleFormat = keyof typeof sampleFormats;

export interface HevcForm {
  readonly samples?: SampleFormat;
  /** `rgb`: no matrix; the planes are green, blue and red. 4:4:4 only. */
  readonly matrix?: 'bt601' | 'bt709' | 'rgb';
  readonly range?: 'full' | 'limited';
  /** Leave the stream silent about matrix and range. */
  readonly untagged?: boolean;
}

/** Encodes a picture with the encoder that comes with node-av. Its sides must be even where colours are halved. */
export function encodeHevc(
  width: number,
  height: number,
  at: Paint = scene,
  { samples = '4:2:0', matrix = 'bt601', range = 'full', untagged = false }: HevcForm = {},
): CodedPicture {
  Log.setLevel(AV_LOG_QUIET);
  const { format, bits, number } = sampleFormats[samples];
  const codec = Codec.findEncoderByName(FF_ENCODER_LIBX265)!;
  using encoder = new CodecContext();
  encoder.allocContext3(codec);
  encoder.width = width;
  encoder.height = height;
  encoder.pixelFormat = format;
  encoder.timeBase = new Rational(1, 25);
  encoder.framerate = new Rational(25, 1);
  encoder.setFlags(AV_CODEC_FLAG_GLOBAL_HEADER);
  if (!untagged && matrix !== 'rgb') {
    encoder.colorRange = range === 'full' ? AVCOL_RANGE_JPEG : AVCOL_RANGE_MPEG;
    encoder.colorSpace = matrix === 'bt601' ? AVCOL_SPC_SMPTE170M : AVCOL_SPC_BT709;
  }
  const options = 'log-level=none:qp=4:ctu=16:info=0:pools=none:frame-threads=1:keyint=1:bframes=0';
  check(encoder.setOption('x265-params', options));
  check(encoder.open2Sync(codec));
  using frame = Frame.fromVideoBuffer(toPlanes(width, height, at, { samples, matrix, range }), {
    width,
    height,
    format,
    timeBase: new Rational(1, 25),
    pts: 0n,
  });
  frame.colorRange = encoder.colorRange;
  frame.colorSpace = encoder.colorSpace;
  check(encoder.sendFrameSync(frame));
  check(encoder.sendFrameSync(null));
  using packet = new Packet();
  packet.alloc();
  check(encoder.receivePacketSync(packet));
  return {
    width,
    height,
    configuration: configurationOf(unitsOf(encoder.extraData!), number, bits),
    data: concat(...unitsOf(packet.data!).flatMap((unit) => [uint32be(unit.length), unit])),
  };
}

function check(code: number): void {
  FFmpegError.throwIfError(code, 'encode');
}

function toPlanes(
  width: number,
  height: number,
  at: Paint,
  form: Required<Omit<HevcForm, 'untagged'>>,
): Buffer {
  const { bits, chroma } = sampleFormats[form.samples];
  const colours = Array.from({ length: width * height }, (_, index) => {
    const [red, green, blue] = at(index % width, Math.trunc(index / width));
    const { matrix, range } = form;
    return matrix === 'rgb' ? [green, blue, red] : toYuv([red, green, blue], { matrix, range, bits });
  });
  const plane = (channel: 0 | 1 | 2, [across, down]: readonly [number, number]) => {
    const values: number[] = [];
    for (let y = 0; y < height; y += down) {
      for (let x = 0; x < width; x += across) {
        let sum = 0;
        for (let row = y; row < y + down; row++) {
          for (let column = x; column < x + across; column++) sum += colours[row * width + column]![channel];
        }
        values.push(Math.min(2 ** bits - 1, Math.round(sum / across / down)));
      }
    }
    return values;
  };
  const values = [plane(0, [1, 1]), ...(chroma ? [plane(1, chroma), plane(2, chroma)] : [])].flat();
  return Buffer.from((bits === 8 ? Uint8Array : Uint16Array).from(values).buffer);
}

/** The NAL units of a stream in which each begins with 0, 0, 1. */
function unitsOf(stream: Uint8Array): Uint8Array[] {
  const text = Buffer.from(stream.buffer, stream.byteOffset, stream.length);
  const starts: number[] = [];
  for (let at = text.indexOf('\0\0\x01'); at >= 0; at = text.indexOf('\0\0\x01', at + 3)) starts.push(at + 3);
  return starts.map((start, index) => {
    let end = (starts[index + 1] ?? stream.length + 3) - 3;
    while (end > start && stream[end - 1] === 0) end -= 1;
    return Uint8Array.from(stream.subarray(start, end));
  });
}

/** A decoder configuration record: chroma format, precision, 4 bytes for each length, the parameter sets. */
function configurationOf(sets: readonly Uint8Array[], chroma: number, bits: number): Uint8Array {
  const header = [
    1,
    ...Array.from({ length: 15 }, () => 0),
    chroma,
    bits - 8,
    bits - 8,
    0,
    0,
    0b11,
    sets.length,
  ];
  const arrays = sets.map((set) =>
    concat([0x80 | (set[0]! >> 1), 0, 1, set.length >> 8, set.length & 255], set),
  );
  return concat(header, ...arrays);
}

/** A HEIC of one coded item. */
export function heic(
  width: number,
  height: number,
  at: Paint = scene,
  { properties = [], ...form }: HevcForm & { readonly properties?: readonly Uint8Array[] } = {},
): Uint8Array {
  return heif({ items: [codedItem(1, encodeHevc(width, height, at, form), properties)] });
}

/** A picture in a grid of tiles, as phones write it: each tile is coded by itself. */
export function gridHeic(
  width: number,
  height: number,
  at: Paint = scene,
  {
    tile = 64,
    properties = [],
    ...form
  }: HevcForm & { tile?: number; properties?: readonly Uint8Array[] } = {},
): Uint8Array {
  const { columns, rows, tiles } = gridOf(width, height, at, { tile, ...form });
  const ids = tiles.map((_, index) => index + 2);
  return heif({
    items: [
      {
        id: 1,
        type: 'grid',
        properties: [sizeProperty(width, height), ...properties],
        data: gridData(columns, rows, width, height),
        place: 'meta box',
      },
      ...tiles.map((picture, index) => codedItem(ids[index]!, picture)),
    ],
    references: [['dimg', 1, ids]],
  });
}

/** The tiles of a picture. Its last pixels are repeated up to the end of the last tiles. */
export function gridOf(
  width: number,
  height: number,
  at: Paint,
  { tile, ...form }: HevcForm & { readonly tile: number },
) {
  const [columns, rows] = [Math.ceil(width / tile), Math.ceil(height / tile)];
  const tiles = Array.from({ length: columns * rows }, (_, index): CodedPicture => {
    const [left, top] = [(index % columns) * tile, Math.trunc(index / columns) * tile];
    const within = (x: number, y: number): Rgba =>
      at(Math.min(width - 1, left + x), Math.min(height - 1, top + y));
    return encodeHevc(tile, tile, within, form);
  });
  return { columns, rows, tiles };
}
