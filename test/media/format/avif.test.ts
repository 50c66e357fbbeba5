import { describe, expect, test } from 'bun:test';
import { decodeBuiltin, readWindow, StoredPng } from '../../../native/image/builtin-decoder.ts';
import { decodeToBitmap } from '../../../native/image/napi-decoder.ts';
import { plainAvif, readAvifHeader } from '../../../src/media/picture/format/avif.ts';
import { avif, concat, cutOut, scene, uint32be } from '../sample-pictures.ts';

const picture = Uint8Array.from(await avif(61, 47));

function indexOf(bytes: Uint8Array, type: string): number {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).indexOf(type);
}

/** The picture with bytes of a box changed, `at` bytes behind its name. */
function changed(type: string, at: number, bytes: readonly number[]): Uint8Array {
  const copy = Uint8Array.from(picture);
  copy.set(bytes, indexOf(copy, type) + 4 + at);
  return copy;
}

/** A box of a size and a name. */
function box(type: string, ...contents: readonly (Uint8Array | readonly number[])[]): Uint8Array {
  const body = concat(...contents);
  return concat(uint32be(8 + body.length), type, body);
}

const fileType = box('ftyp', concat('avif'), uint32be(0), concat('mif1'));

/** An AVIF of hand-made boxes: one item, whose data are a byte that means nothing. */
function boxes(properties: readonly Uint8Array[], associations = properties.map((_, index) => index + 1)) {
  const configured = [...properties, box('av1C', [0x81, 0, 0x0c, 0])];
  const own = [...associations, configured.length];
  const meta = [
    box('pitm', [0, 0, 0, 0, 0, 1]),
    box('iinf', [0, 0, 0, 0, 0, 1], box('infe', [2, 0, 0, 0, 0, 1, 0, 0], concat('av01'), [0])),
    box('iloc', [0, 0, 0, 0, 0x44, 0, 0, 1, 0, 1, 0, 0, 0, 1], uint32be(0), uint32be(1)),
    box('iprp', box('ipco', ...configured), box('ipma', [0, 0, 0, 0, 0, 0, 0, 1, 0, 1, own.length, ...own])),
  ];
  return concat(fileType, box('meta', [0, 0, 0, 0], ...meta));
}

function ispe(width: number, height: number): Uint8Array {
  return box('ispe', [0, 0, 0, 0], uint32be(width), uint32be(height));
}

describe('readAvifHeader', () => {
  test('reads what an encoder made', () => {
    expect(readAvifHeader(picture)).toMatchObject({
      format: 'avif',
      width: 61,
      height: 47,
      orientation: 1,
      rare: false,
      coefficientBytes: 0,
    });
  });

  test('tells of an opacity', async () => {
    expect(readAvifHeader(await avif(61, 47, cutOut)).alpha).toBe(true);
    expect(readAvifHeader(boxes([ispe(5, 4)])).alpha).toBe(false);
  });

  // Quarter turns against the clock, then an exchange of top and bottom (0) or of left and right (1).
  test.each([
    [0, undefined, 1],
    [1, undefined, 8],
    [2, undefined, 3],
    [3, undefined, 6],
    [0, 0, 4],
    [0, 1, 2],
    [1, 0, 5],
    [3, 0, 7],
    [1, 1, 7],
    [3, 1, 5],
    [2, 0, 2],
    [2, 1, 4],
  ] as const)('%p quarter turns and mirror %p are orientation %d', (turns, mirror, orientation) => {
    const properties = [ispe(5, 4), box('irot', [turns])];
    if (mirror !== undefined) properties.push(box('imir', [mirror]));
    expect(readAvifHeader(boxes(properties)).orientation).toBe(orientation);
  });

  test('properties of other items do not count', () => {
    const bytes = boxes([box('irot', [1]), ispe(5, 4), ispe(9, 9)], [2]);
    expect(readAvifHeader(bytes)).toMatchObject({ width: 5, height: 4, orientation: 1 });
  });

  test('is truncated wherever it ends', () => {
    for (let length = 32; length < picture.length; length++) {
      expect(() => readAvifHeader(picture.subarray(0, length))).toThrow(
        /The AVIF picture (?:is truncated|has no still)/,
      );
    }
  });

  test.each([
    ['declares 0 × 47 pixels', changed('ispe', 4, [0, 0, 0, 0])],
    ['lacks its pitm box', changed('pitm', -4, [0x7a])],
    ['has no still picture', changed('meta', -4, [0x7a])],
    ['declares no size', boxes([box('irot', [1])])],
    ['describes no picture', changed('ipco', -4, [0x7a])],
    ['lacks its item 99', changed('pitm', 4, [0, 99])],
    ['lacks the configuration of its decoder', changed('av1C', -4, [0x7a])],
    ['has a box smaller than its header', concat(fileType, uint32be(3), 'free', boxes([ispe(5, 4)]))],
  ])('%s', (fault, bytes) => {
    expect(() => readAvifHeader(bytes)).toThrow(`The AVIF picture ${fault}.`);
  });

  test('more pixels than its decoder has memory for are too many, except in other pictures of the file', () => {
    const sentence = 'an AVIF may have at most 50000000.';
    expect(() => readAvifHeader(boxes([ispe(10_000, 6000)]))).toThrow(sentence);
    expect(readAvifHeader(boxes([ispe(5, 4), ispe(0xffff_ffff, 0xffff_ffff)], [1])).width).toBe(5);
  });

  test('a stream larger than the declared size takes memory', () => {
    const hidden = 61 * 47 - 8 * 8;
    expect(readAvifHeader(changed('ispe', 4, [0, 0, 0, 8, 0, 0, 0, 8]))).toMatchObject({
      width: 8,
      height: 8,
      coefficientBytes: hidden * 16,
    });
  });

  test('parts of the file that are used several times are refused before they are joined', () => {
    const data = 100;
    const iloc = box(
      'iloc',
      [0, 0, 0, 0, 0x44, 0, 0, 1, 0, 1, 0, 0],
      [0, 3],
      ...Array.from({ length: 3 }, () => [...uint32be(0), ...uint32be(data)]),
    );
    const meta = [
      box('pitm', [0, 0, 0, 0, 0, 1]),
      box('iinf', [0, 0, 0, 0, 0, 1], box('infe', [2, 0, 0, 0, 0, 1, 0, 0], concat('av01'), [0])),
      iloc,
      box(
        'iprp',
        box('ipco', ispe(5, 4), box('av1C', [0x81, 0, 0x0c, 0])),
        box('ipma', [0, 0, 0, 0, 0, 0, 0, 1, 0, 1, 2, 1, 2]),
      ),
    ];
    const bytes = concat(box('ftyp', concat('avif'), uint32be(0)), box('meta', [0, 0, 0, 0], ...meta));
    expect(bytes.length).toBeLessThan(3 * data);
    expect(() => readAvifHeader(bytes)).toThrow('uses parts of itself several times');
  });

  test('tens of thousands of boxes are refused', () => {
    const free = concat(...Array.from({ length: 10_001 }, () => box('free')));
    expect(() => readAvifHeader(concat(fileType, free, boxes([ispe(5, 4)])))).toThrow(
      'has more than 10000 boxes',
    );
  });
});

/** The contents of the picture's boxes, for pictures made of the same stream. */
const stream = picture.subarray(indexOf(picture, 'mdat') + 4);
const contentsOf = (type: string) => {
  const at = indexOf(picture, type);
  const length = new DataView(picture.buffer).getUint32(at - 4) - 8;
  return picture.subarray(at + 4, at + 4 + length);
};
const configuration = box('av1C', contentsOf('av1C'));
const colours = box('colr', contentsOf('colr'));
const size = ispe(61, 47);

interface Item {
  readonly type: string;
  /** Numbers of properties, from 1 on. */
  readonly properties: readonly number[];
  /** Default: the stream. */
  readonly data?: Uint8Array;
}

interface Reference {
  readonly type: string;
  readonly from: number;
  readonly to: readonly number[];
}

/** An AVIF of several items, whose numbers count from 1. Items with the same data share them. */
function items(
  properties: readonly Uint8Array[],
  list: readonly Item[],
  { primary = 1, references = [] as readonly Reference[] } = {},
): Uint8Array {
  const payloads = [...new Set(list.map(({ data = stream }) => data))];
  const metaWith = (offset: number) =>
    box(
      'meta',
      [0, 0, 0, 0],
      box('hdlr', [0, 0, 0, 0, 0, 0, 0, 0], concat('pict'), new Uint8Array(13)),
      box('pitm', [0, 0, 0, 0, 0, primary]),
      box(
        'iloc',
        [0, 0, 0, 0, 0x44, 0, 0, list.length],
        ...list.map(({ data = stream }, index) => {
          const before = payloads.slice(0, payloads.indexOf(data));
          const at = before.reduce((sum, { length }) => sum + length, offset);
          return concat([0, index + 1, 0, 0, 0, 1], uint32be(at), uint32be(data.length));
        }),
      ),
      box(
        'iinf',
        [0, 0, 0, 0, 0, list.length],
        ...list.map(({ type }, index) => box('infe', [2, 0, 0, 0, 0, index + 1, 0, 0], concat(type), [0])),
      ),
      box(
        'iref',
        [0, 0, 0, 0],
        ...references.map(({ type, from, to }) =>
          box(type, [0, from, to.length >> 8, to.length & 0xff], ...to.map((id) => [0, id])),
        ),
      ),
      box(
        'iprp',
        box('ipco', ...properties),
        box(
          'ipma',
          [0, 0, 0, 0],
          uint32be(list.length),
          ...list.map(({ properties: own }, index) => [0, index + 1, own.length, ...own]),
        ),
      ),
    );
  const offset = fileType.length + metaWith(0).length + 8;
  return concat(fileType, metaWith(offset), box('mdat', ...payloads));
}

/** The one track of an animation whose frames all look the same. */
function animation(): Uint8Array {
  const movieWith = (offset: number) =>
    box(
      'moov',
      box(
        'trak',
        box(
          'mdia',
          box('hdlr', [0, 0, 0, 0, 0, 0, 0, 0], concat('pict'), new Uint8Array(13)),
          box(
            'minf',
            box(
              'stbl',
              box(
                'stsd',
                [0, 0, 0, 0, 0, 0, 0, 1],
                box('av01', new Uint8Array(24), [0, 61, 0, 47], new Uint8Array(50), configuration, colours),
              ),
              box('stsz', uint32be(0), uint32be(stream.length), uint32be(2)),
              box('stco', uint32be(0), uint32be(1), uint32be(offset)),
            ),
          ),
        ),
      ),
    );
  const type = box('ftyp', concat('avis'), uint32be(0), concat('avis'));
  return concat(type, movieWith(type.length + movieWith(0).length + 8), box('mdat', stream, stream));
}

describe('plainAvif', () => {
  /** [h, w, 4] u8 RGBA, or RGB of an opaque picture. */
  const decoded = async (bytes: Uint8Array) => {
    readAvifHeader(bytes);
    return Buffer.from(await decodeToBitmap(plainAvif(bytes)));
  };
  const expected = decodeToBitmap(picture).then((bytes) => Buffer.from(bytes));
  const own = { type: 'av01', properties: [1, 2, 3] };
  const described = [size, configuration, colours];
  /** A grid's numbers: version, flags, rows − 1, columns − 1, width, height. */
  const oneTile = concat([0, 0, 0, 0, 0, 61, 0, 47]);

  test.each([
    ['as the encoder made it', picture],
    ['without pixi', items(described, [own])],
    [
      'with pixi of other bits than the stream has',
      items([...described, box('pixi', [0, 0, 0, 0, 3, 12, 12, 12])], [{ ...own, properties: [1, 2, 3, 4] }]),
    ],
    [
      'with an odd clap',
      items([...described, box('clap', new Uint8Array(32).fill(7))], [{ ...own, properties: [1, 2, 3, 4] }]),
    ],
    ['with its data used by several items', items(described, [own, own, own, own])],
    [
      'with a gain map',
      items(described, [own, own, { type: 'tmap', properties: [1], data: concat([0]) }], {
        primary: 3,
        references: [{ type: 'dimg', from: 3, to: [1, 2] }],
      }),
    ],
    ['as the first of an animation', animation()],
    ['with anything behind it', concat(items(described, [own]), 'MotionPhoto', new Uint8Array(50).fill(255))],
  ])('writes a picture that a strict decoder reads: %s', async (_, bytes) => {
    expect(Buffer.compare(await decoded(bytes), await expected)).toBe(0);
  });

  test('writes tiles that share their data, and leaves the size of the picture', async () => {
    const tile = Uint8Array.from(await avif(64, 64));
    const at = (type: string) => {
      const start = indexOf(tile, type) - 4;
      return tile.subarray(start, start + new DataView(tile.buffer).getUint32(start));
    };
    const data = tile.subarray(indexOf(tile, 'mdat') + 4);
    const part = { type: 'av01', properties: [1, 2, 3], data };
    const grid = concat([0, 0, 1, 2, 0, 180, 0, 100]);
    const whole = items(
      [ispe(64, 64), at('av1C'), at('colr'), ispe(180, 100)],
      [{ type: 'grid', properties: [4], data: grid }, ...Array.from({ length: 6 }, () => part)],
      { references: [{ type: 'dimg', from: 1, to: [2, 3, 4, 5, 6, 7] }] },
    );
    expect(readAvifHeader(whole)).toMatchObject({ width: 180, height: 100 });
    expect(plainAvif(whole).length).toBeLessThan(2 * tile.length);
    const png = new StoredPng(await decodeBuiltin(await decoded(whole), { declaredPixels: 180 * 100 }));
    const pixels = readWindow(png, { left: 0, top: 0, width: 180, height: 100 });
    // The picture starts anew at each tile.
    for (const [x, y] of [
      [5, 7],
      [69, 7],
      [133, 71],
    ] as const) {
      const pixel = pixels.subarray((y * 180 + x) * 4);
      const [red, green] = scene(x % 64, y % 64);
      expect(Math.abs(pixel[0]! - red) + Math.abs(pixel[1]! - green)).toBeLessThan(60);
    }
  });

  test('keeps an opacity, also one without a size of its own', async () => {
    const withAlpha = Uint8Array.from(await avif(61, 47, cutOut));
    const expectedAlpha = Buffer.from(await decodeToBitmap(withAlpha));
    expect(Buffer.compare(await decoded(withAlpha), expectedAlpha)).toBe(0);
    const alphaKind = box('auxC', [0, 0, 0, 0], concat('urn:mpeg:mpegB:cicp:systems:auxiliary:alpha\0'));
    const bytes = items([...described, alphaKind], [own, { ...own, properties: [2, 4] }], {
      references: [{ type: 'auxl', from: 2, to: [1] }],
    });
    expect(readAvifHeader(bytes).alpha).toBe(true);
    expect(readAvifHeader(plainAvif(bytes)).alpha).toBe(true);
  });

  test.each([
    ['has 2 tiles where 1 × 1 are declared', [2, 2], oneTile],
    ['has tiles for 61 × 47 of 99 × 47 pixels', [2], concat([0, 0, 0, 0, 0, 99, 0, 47])],
    ['has tiles for 122 × 47 of 61 × 47 pixels', [2, 2], concat([0, 0, 0, 1, 0, 61, 0, 47])],
    ['lacks its item 7', [7], oneTile],
    [
      'has more than 1024 tiles',
      Array.from({ length: 5 * 256 }, () => 2),
      concat([0, 0, 4, 255, 0, 61, 0, 47]),
    ],
  ] as const)('%s', (fault, to, data) => {
    const bytes = items(described, [{ type: 'grid', properties: [1], data }, own], {
      references: [{ type: 'dimg', from: 1, to }],
    });
    expect(() => readAvifHeader(bytes)).toThrow(`The AVIF picture ${fault}.`);
  });

  test('a picture derived from itself is refused', () => {
    const bytes = items(described, [{ type: 'iden', properties: [1] }], {
      references: [{ type: 'dimg', from: 1, to: [1] }],
    });
    expect(() => readAvifHeader(bytes)).toThrow('is derived from itself');
  });
});
