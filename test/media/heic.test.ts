import { describe, expect, test } from 'bun:test';
import { fault, gradient, height, load, meanDifference, reference, width } from './load-picture.ts';
import { encodeHevc, gridHeic, gridOf, heic, type SampleFormat } from './sample-heics.ts';
import {
  box,
  codedItem,
  coloursProperty,
  cutProperty,
  gridData,
  heicSequence,
  heif,
  type Item,
  sizeProperty,
} from './sample-heifs.ts';
import { avif, bmp, concat, type Paint, png, type Rgba } from './sample-pictures.ts';

/** Values of 255 by which the pixels may differ on average. */
const CLOSE = 1;

/** Three times as wide, with the same colours. */
const wide: Paint = (x, y) => gradient(x / 3, y / 3);
const wideReference = await load(bmp(width * 3, height * 3, wide));

function expectClose(pixels: Uint8Array, expected: Uint8Array = reference): void {
  expect(meanDifference(pixels, expected)).toBeLessThan(CLOSE);
}

describe('a HEIC picture', () => {
  test.each(['4:2:0', '4:2:0 in 10 bits', '4:2:2', '4:2:2 in 10 bits', '4:4:4'] satisfies SampleFormat[])(
    'in %s',
    async (samples) => {
      expectClose(await load(heic(width, height, gradient, { samples })));
    },
  );

  test.each(['full', 'limited'] as const)('without colours, of %s range', async (range) => {
    const grey: Paint = (x, y) => [x * 6, x * 6, x * 6, 255 - y];
    const pixels = await load(heic(width, height, grey, { samples: '4:0:0', range }));
    expectClose(
      pixels,
      await load(
        bmp(width, height, (x, y) => [...(grey(x, y).slice(0, 3) as [number, number, number]), 255]),
      ),
    );
  });

  test('with sides that are no whole number of blocks', async () => {
    const odd = heic(41, 31, gradient, { samples: '4:4:4' });
    expectClose(await load(odd), await load(bmp(41, 31, gradient)));
  });

  test('in a grid whose last tiles reach beyond the picture', async () => {
    expectClose(await load(gridHeic(width * 3, height * 3, wide)), wideReference);
    expectClose(await load(gridHeic(width * 3, height * 3, wide, { tile: 16 })), wideReference);
  });

  test('in a grid of one column, and of one row', async () => {
    for (const [across, down] of [
      [50, 300],
      [300, 50],
    ] as const) {
      const at: Paint = (x, y) => gradient((x / across) * width, (y / down) * height);
      expectClose(await load(gridHeic(across, down, at)), await load(bmp(across, down, at)));
    }
  });

  test('taller than the rows that are converted at a time', async () => {
    const at: Paint = (x, y) => gradient((x / 60) * width, (y / 150) * height);
    expectClose(await load(heic(60, 150, at)), await load(bmp(60, 150, at)));
  });

  test('that is a strip', async () => {
    const at: Paint = (x, y) => gradient((x / 4000) * width, (y / 16) * height);
    expectClose(await load(heic(4000, 16, at)), await load(bmp(4000, 16, at)));
  });
});

describe('its transformations', () => {
  interface Canvas {
    readonly at: Paint;
    readonly width: number;
    readonly height: number;
  }
  /** Each step as the standard defines it, on pixels. */
  const steps = {
    'a quarter turn': [
      box('irot', [1]),
      ({ at, width, height }: Canvas) => ({
        at: (x, y) => at(width - 1 - y, x),
        width: height,
        height: width,
      }),
    ],
    'half a turn': [
      box('irot', [2]),
      ({ at, width, height }: Canvas) => ({ at: (x, y) => at(width - 1 - x, height - 1 - y), width, height }),
    ],
    'three quarter turns': [
      box('irot', [3]),
      ({ at, width, height }: Canvas) => ({
        at: (x, y) => at(y, height - 1 - x),
        width: height,
        height: width,
      }),
    ],
    'an exchange of top and bottom': [
      box('imir', [0]),
      ({ at, width, height }: Canvas) => ({ at: (x, y) => at(x, height - 1 - y), width, height }),
    ],
    'an exchange of left and right': [
      box('imir', [1]),
      ({ at, width, height }: Canvas) => ({ at: (x, y) => at(width - 1 - x, y), width, height }),
    ],
    'a cut': [
      cutProperty([20, 1], [18, 1], [-3, 1], [3, 1]),
      ({ at, width, height }: Canvas) => ({
        at: (x, y) => at(x + (width - 20) / 2 - 3, y + (height - 18) / 2 + 3),
        width: 20,
        height: 18,
      }),
    ],
  } as const satisfies Record<string, readonly [Uint8Array, (canvas: Canvas) => Canvas]>;
  type Step = keyof typeof steps;

  const turns = ['a quarter turn', 'half a turn', 'three quarter turns'] as const;
  const mirrors = ['an exchange of top and bottom', 'an exchange of left and right'] as const;
  const sequences: readonly (readonly Step[])[] = [
    ...turns.map((turn) => [turn]),
    ...mirrors.map((mirror) => [mirror]),
    ...turns.flatMap((turn) =>
      mirrors.flatMap((mirror) => [[turn, mirror] as const, [mirror, turn] as const]),
    ),
    ['a cut'],
    ...[...turns, ...mirrors].flatMap((step) => [['a cut', step] as const, [step, 'a cut'] as const]),
    ['an exchange of left and right', 'a quarter turn', 'a cut', 'a quarter turn'],
  ];
  const coded = encodeHevc(width, height, gradient);

  for (const sequence of sequences) {
    test(`${sequence.join(', then ')}`, async () => {
      const properties = sequence.map((step) => steps[step][0]);
      const shown = sequence.reduce<Canvas>((canvas, step) => steps[step][1](canvas), {
        at: gradient,
        width,
        height,
      });
      expectClose(
        await load(heif({ items: [codedItem(1, coded, properties)] })),
        await load(bmp(shown.width, shown.height, shown.at)),
      );
    });
  }

  test('those of a picture come before those of one that is derived from it', async () => {
    const bytes = heif({
      items: [
        { id: 1, type: 'iden', properties: [steps['a cut'][0]], data: new Uint8Array(1) },
        codedItem(2, coded, [steps['a quarter turn'][0]]),
      ],
      references: [['dimg', 1, [2]]],
    });
    const { at, ...size } = steps['a cut'][1](steps['a quarter turn'][1]({ at: gradient, width, height }));
    expectClose(await load(bytes), await load(bmp(size.width, size.height, at)));
  });
});

describe('its colours', () => {
  test.each([
    ['BT.709', { matrix: 'bt709' }, coloursProperty({ matrix: 1 })],
    ['limited range', { range: 'limited' }, coloursProperty({ isFull: false })],
    ['nothing of a matrix', { matrix: 'bt601' }, coloursProperty({ matrix: 2 })],
  ] as const)('are those that the file declares: %s', async (_, form, property) => {
    expectClose(
      await load(heic(width, height, gradient, { ...form, untagged: true, properties: [property] })),
    );
  });

  test.each([{ matrix: 'bt709' }, { range: 'limited' }, { matrix: 'bt709', range: 'limited' }] as const)(
    'are those of the stream if the file declares none: %p',
    async (form) => {
      expectClose(await load(heic(width, height, gradient, form)));
    },
  );

  test('are of full range if the stream alone says so, as some cameras have it', async () => {
    expectClose(
      await load(heic(width, height, gradient, { properties: [coloursProperty({ isFull: false })] })),
    );
  });

  test('may be red, green and blue themselves', async () => {
    const properties = [coloursProperty({ matrix: 0 })];
    expectClose(await load(heic(width, height, gradient, { samples: '4:4:4', matrix: 'rgb', properties })));
  });

  test('of HDR become those of an ordinary picture', async () => {
    // The white of paper is at 58 % of the perceptual quantizer, and at 75 % of the hybrid log-gamma.
    for (const [transfer, level] of [
      [16, 148],
      [18, 191],
    ] as const) {
      const properties = [coloursProperty({ transfer, matrix: 6, isFull: false })];
      const form = { samples: '4:2:2 in 10 bits', range: 'limited', properties } as const;
      const [grey] = await load(heic(width, height, () => [level, level, level, 255], form));
      expect(grey!).toBeGreaterThan(level + 8);
    }
  });
});

describe('its opacity', () => {
  const alphaKind = box('auxC', [0, 0, 0, 0], 'urn:mpeg:hevc:2015:auxid:1\0');
  const cutOut: Paint = (x, y) => (x < width / 2 ? [255, 255, 255, 0] : (gradient(x, y) as Rgba));
  const plane = encodeHevc(
    width,
    height,
    (x, y) => {
      const [, , , opacity] = cutOut(x, y);
      return [opacity, opacity, opacity, 255];
    },
    { samples: '4:0:0', untagged: true },
  );
  const withPlane = (kind: Uint8Array) =>
    heif({
      items: [
        codedItem(1, encodeHevc(width, height, cutOut, { samples: '4:4:4' })),
        codedItem(2, plane, [kind]),
      ],
      references: [['auxl', 2, [1]]],
    });

  test('may have been multiplied with the colours', async () => {
    const half: Paint = (x, y) => [...(gradient(x, y).slice(0, 3) as [number, number, number]), 128];
    const multiplied: Paint = (x, y) => {
      const [red, green, blue] = half(x, y);
      return [
        Math.round((red * 128) / 255),
        Math.round((green * 128) / 255),
        Math.round((blue * 128) / 255),
        255,
      ];
    };
    const grey = encodeHevc(width, height, () => [128, 128, 128, 255], { samples: '4:0:0', untagged: true });
    const bytes = heif({
      items: [
        codedItem(1, encodeHevc(width, height, multiplied, { samples: '4:4:4' })),
        codedItem(2, grey, [alphaKind]),
      ],
      references: [
        ['auxl', 2, [1]],
        ['prem', 1, [2]],
      ],
    });
    const alike = png(width, height, { colourType: 6, samples: half });
    for (const asked of [{}, { background: [255, 128, 0] }] as const) {
      expect(meanDifference(await load(bytes, {}, asked), await load(alike, {}, asked))).toBeLessThan(2);
    }
  });

  test('is that of a PNG: black where nothing is seen', async () => {
    const pixels = await load(withPlane(alphaKind));
    expectClose(pixels, await load(png(width, height, { colourType: 6, samples: cutOut })));
    expect(pixels.subarray(0, 3)).toEqual(Uint8Array.of(0, 0, 0));
  });

  test('is not a depth map', async () => {
    const depth = box('auxC', [0, 0, 0, 0], 'urn:mpeg:hevc:2015:auxid:2\0');
    const opaque: Paint = (x, y) => [...(cutOut(x, y).slice(0, 3) as [number, number, number]), 255];
    expectClose(await load(withPlane(depth)), await load(bmp(width, height, opaque)));
  });
});

describe('the picture among others', () => {
  const coded = encodeHevc(width, height, gradient);
  const other = encodeHevc(32, 32, () => [255, 0, 0, 255]);

  test('is the primary item, not a thumbnail, gain map or the first', async () => {
    const items = [codedItem(5, other), codedItem(9, coded), codedItem(7, other)];
    expectClose(await load(heif({ items, primary: 9, references: [['thmb', 5, [9]]] })));
  });

  test('is what a tone-mapped picture is made of', async () => {
    const items = [
      { id: 1, type: 'tmap', properties: [sizeProperty(width, height)], data: new Uint8Array(62) },
      codedItem(2, coded),
      codedItem(3, other),
    ];
    expectClose(await load(heif({ items, references: [['dimg', 1, [2, 3]]] })));
  });

  test('may have a video behind it, in a box or without one', async () => {
    const items = [codedItem(1, coded)];
    expectClose(await load(concat(heif({ items }), box('mpvd', new Uint8Array(500)))));
    expectClose(await load(concat(heif({ items }), 'MotionPhoto_Data', new Uint8Array(500).fill(200))));
  });

  test('may have its data in pieces, in the meta box, and in other items', async () => {
    const [item] = [codedItem(1, coded)];
    expectClose(await load(heif({ items: [{ ...item, pieceBytes: 100 }] })));
    expectClose(await load(heif({ items: [{ ...item, place: 'meta box' }] })));
    const container = { id: 2, type: 'mime', data: concat(new Uint8Array(10), coded.data), pieceBytes: 77 };
    expectClose(
      await load(heif({ items: [{ ...item, place: { item: 2, offset: 10 }, pieceBytes: 50 }, container] })),
    );
  });

  test('may be coded as AV1, under the brand of any HEIF', async () => {
    const bytes = Uint8Array.from(await avif(width, height, gradient));
    const brands = Buffer.from(bytes.buffer, 0, 40);
    for (let at = brands.indexOf('avif'); at >= 0; at = brands.indexOf('avif')) bytes.set(concat('mif1'), at);
    expectClose(await load(bytes));
  });

  test('is the first frame of a sequence without a primary item', async () => {
    expectClose(await load(heicSequence(coded)));
    const turned = heicSequence(coded, [0, 1, -1, 0]);
    expectClose(await load(turned), await load(heif({ items: [codedItem(1, coded, [box('irot', [3])])] })));
  });
});

describe('what is refused', () => {
  const coded = encodeHevc(width, height, gradient);
  const { columns, rows, tiles } = gridOf(100, 70, gradient, { tile: 64 });
  const ids = tiles.map((_, index) => index + 2);
  const grid = (
    data: Uint8Array,
    to: readonly number[],
    items = tiles.map((tile, index) => codedItem(index + 2, tile)),
  ) =>
    heif({
      items: [
        { id: 1, type: 'grid', properties: [sizeProperty(100, 70)], data, place: 'meta box' },
        ...items,
      ],
      references: [['dimg', 1, to]],
    });
  const whole = gridData(columns, rows, 100, 70);

  test.each([
    ['has 3 tiles where 2 × 2 are declared', grid(whole, ids.slice(1))],
    ['has 5 tiles where 2 × 2 are declared', grid(whole, [...ids, 2])],
    ['lacks its item 77', grid(whole, [77, 3, 4, 5])],
    ['has tiles for 128 × 128 of 200 × 70 pixels', grid(gridData(columns, rows, 200, 70), ids)],
    ['has tiles outside of the picture', grid(gridData(columns, rows, 50, 70), ids)],
    ['declares 0 × 70 pixels', grid(gridData(columns, rows, 0, 70), ids)],
    [
      'uses parts of itself several times',
      grid(whole, [2, 2, 2, 2], [{ ...codedItem(2, tiles[0]!), data: new Uint8Array(50_000) }]),
    ],
  ])('a grid that %s', async (what, bytes) => {
    expect(await fault(bytes)).toMatchObject({ code: 'image_broken', message: `The HEIC picture ${what}.` });
  });

  const wrong = (change: Partial<Item>): Uint8Array =>
    heif({ items: [{ ...codedItem(1, coded), ...change }] });
  const properties = codedItem(1, coded).properties!;

  test.each([
    ['has a cut of no size', [cutProperty([10, 0], [10, 1], [0, 1], [0, 1])]],
    ['has a cut outside of the picture', [cutProperty([10, 1], [10, 1], [100, 1], [0, 1])]],
  ])('what %s', async (what, more) => {
    const bytes = heif({ items: [codedItem(1, coded, more)] });
    expect(await fault(bytes)).toMatchObject({ code: 'image_broken', message: `The HEIC picture ${what}.` });
  });

  test.each([
    ['lacks the configuration of its decoder', { properties: [sizeProperty(width, height)] }],
    ['declares no size', { properties: [properties[0]!] }],
    ['has a damaged configuration of its decoder', { properties: [box('hvcC', [1, 2]), properties[1]!] }],
    ['has items that are made of each other', { place: { item: 1, offset: 0 } }],
    ['is damaged and cannot be decoded', { properties: [properties[0]!, sizeProperty(width * 2, height)] }],
    ['is damaged and cannot be decoded', { data: coded.data.subarray(0, coded.data.length / 2) }],
  ] as const)('what %s', async (what, change) => {
    expect(await fault(wrong(change))).toMatchObject({
      code: 'image_broken',
      message: `The HEIC picture ${what}.`,
    });
  });

  test('an end before the data', async () => {
    const bytes = heif({ items: [codedItem(1, coded)] });
    const { code, message } = await fault(bytes.subarray(0, -10));
    expect({ code, message }).toEqual({
      code: 'image_broken',
      message: `The HEIC picture is truncated: it has ${bytes.length - 10} bytes, but ${bytes.length} are declared.`,
    });
  });

  test('a stream of larger frames than declared, before memory is allocated for it', async () => {
    const large = encodeHevc(128, 128, gradient);
    const bytes = heif({ items: [codedItem(1, { ...large, width: 32, height: 32 })] });
    expect(await fault(bytes)).toMatchObject({ code: 'image_too_large' });
  });

  test.each([
    [65_535, 65_535, 'a side may have at most 32768 pixels'],
    [32_000, 32_000, 'a HEIC may have at most 250000000'],
  ])('%d × %d declared pixels', async (across, down, sentence) => {
    const { code, message } = await fault(
      heif({ items: [codedItem(1, { ...coded, width: across, height: down })] }),
    );
    expect(code).toBe('image_too_large');
    expect(message).toContain(sentence);
  });

  test.each([
    ['a HEIF picture coded as JPEG', { type: 'jpeg' }],
    ['a HEIF picture coded as H.264', { type: 'avc1' }],
    ['a HEIF picture coded as VVC', { type: 'vvc1' }],
    ['a HEIF picture without compression', { type: 'unci' }],
    ['a HEIF picture made of several pictures on top of each other', { type: 'iovl' }],
    ['a HEIF picture coded as "zzzz"', { type: 'zzzz' }],
    ['a HEIF picture of an unknown coding', { type: '\n"<>' }],
    ['an encrypted HEIC picture', { isEncrypted: true }],
    [
      'a HEIC picture with the property "iscl"',
      { properties: [...properties, box('iscl', new Uint8Array(12))], essential: ['iscl'] },
    ],
    [
      'a HEIC picture in colours of another kind (matrix 8)',
      { properties: [...properties, coloursProperty({ matrix: 8 })] },
    ],
  ])('%s', async (what, change) => {
    const { code, message } = await fault(wrong(change));
    expect(code).toBe('image_unsupported');
    expect(message).toStartWith(`The file is ${what}; JPEG, PNG`);
  });

  test('a picture that is derived from itself', async () => {
    const items = [{ id: 1, type: 'iden', data: new Uint8Array(1) }];
    expect(await fault(heif({ items, references: [['dimg', 1, [1]]] }))).toMatchObject({
      message: 'The HEIC picture is derived from itself.',
    });
  });
});
