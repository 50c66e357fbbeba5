import { describe, expect, test } from 'bun:test';
import { readAvifHeader } from '../../../src/media/picture/format/avif.ts';
import { avif, concat, cutOut, uint32be } from '../sample-pictures.ts';

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

/** An AVIF of hand-made boxes: one item, without pixel data of its own. */
function boxes(properties: readonly Uint8Array[], associations = properties.map((_, index) => index + 1)) {
  const meta = [
    box('pitm', [0, 0, 0, 0, 0, 1]),
    box('iinf', [0, 0, 0, 0, 0, 1], box('infe', [2, 0, 0, 0, 0, 1, 0, 0], concat('av01'), [0])),
    box('iloc', [0, 0, 0, 0, 0x44, 0, 0, 0]),
    box(
      'iprp',
      box('ipco', ...properties),
      box('ipma', [0, 0, 0, 0, 0, 0, 0, 1, 0, 1, associations.length, ...associations]),
    ),
  ];
  return concat(box('ftyp', concat('avif'), uint32be(0), concat('mif1')), box('meta', [0, 0, 0, 0], ...meta));
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
    ['does not describe its primary picture', changed('pitm', 4, [0, 99])],
    ['has a box smaller than its header', concat(boxes([ispe(5, 4)]), uint32be(3), 'free')],
  ])('%s', (fault, bytes) => {
    expect(() => readAvifHeader(bytes)).toThrow(`The AVIF picture ${fault}.`);
  });

  test('more pixels than its decoder has memory for are too many, also in a tile', () => {
    const sentence = 'an AVIF may have at most 50000000.';
    expect(() => readAvifHeader(boxes([ispe(10_000, 6000)]))).toThrow(sentence);
    expect(() => readAvifHeader(boxes([ispe(5, 4), ispe(0xffff_ffff, 0xffff_ffff)], [1]))).toThrow(sentence);
  });

  test('a stream larger than the declared size is refused before it is decoded', () => {
    expect(() => readAvifHeader(changed('ispe', 4, [0, 0, 0, 8, 0, 0, 0, 8]))).toThrow(
      'The AVIF picture contains 61 × 47 pixels, more than it declares.',
    );
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
      box('iprp', box('ipco', ispe(5, 4)), box('ipma', [0, 0, 0, 0, 0, 0, 0, 1, 0, 1, 1, 1])),
    ];
    const bytes = concat(box('ftyp', concat('avif'), uint32be(0)), box('meta', [0, 0, 0, 0], ...meta));
    expect(bytes.length).toBeLessThan(3 * data);
    expect(() => readAvifHeader(bytes)).toThrow('uses parts of itself several times');
  });

  test('tens of thousands of boxes are refused', () => {
    const free = concat(...Array.from({ length: 10_001 }, () => box('free')));
    expect(() => readAvifHeader(concat(boxes([ispe(5, 4)]), free))).toThrow('has more than 10000 boxes');
  });
});
