import { describe, expect, test } from 'bun:test';
import {
  createKernelFinder,
  type FindEscape,
  findByWords,
  readJpegHeader,
} from '../../../src/media/picture/format/jpeg.ts';
import type { PictureHeader } from '../../../src/media/picture/format/picture-header.ts';
import { loadKernel } from '../../../src/media/picture/resample/resample.ts';
import { bmp, concat, exif, exifSegment, jpeg, segment, withSegments } from '../sample-pictures.ts';

const baseline = await jpeg(61, 47);
const progressive = await jpeg(61, 47, true);
const thumbnail = await jpeg(9, 7);

function indexOfMarker(bytes: Uint8Array, ...markers: readonly number[]): number {
  return bytes.findIndex((byte, at) => byte === 0xff && markers.includes(bytes[at + 1]!));
}

describe('readJpegHeader', () => {
  test('reads a baseline picture', () => {
    expect(readJpegHeader(baseline)).toEqual({
      format: 'jpeg',
      width: 61,
      height: 47,
      orientation: 1,
      alpha: false,
      rare: false,
      coefficientBytes: 0,
    });
  });

  test('counts the coefficients that a progressive picture’s decoder keeps', () => {
    // 4:2:0: 8 × 6 blocks of luminance, twice 4 × 3 of colour, 64 coefficients of 2 bytes each.
    expect(readJpegHeader(progressive)).toMatchObject({
      width: 61,
      height: 47,
      coefficientBytes: (48 + 12 + 12) * 128,
    });
  });

  test.each([1, 2, 3, 4, 5, 6, 7, 8] as const)(
    'reads orientation %d, in either byte order',
    (orientation) => {
      const little = withSegments(baseline, exifSegment(orientation));
      const big = withSegments(baseline, segment(0xe1, concat('Exif\0\0', exif(orientation, false))));
      expect(readJpegHeader(little).orientation).toBe(orientation);
      expect(readJpegHeader(big).orientation).toBe(orientation);
    },
  );

  test('the first of two EXIF segments counts, and XMP does not', () => {
    const xmp = segment(0xe1, concat('http://ns.adobe.com/xap/1.0/\0<x/>'));
    expect(readJpegHeader(withSegments(baseline, xmp, exifSegment(6), exifSegment(3))).orientation).toBe(6);
  });

  test.each([
    ['an orientation that does not exist', exif(9)],
    ['a directory beyond the end', concat('II*\0\xff\xff\xff\x7f')],
    ['a directory that is cut off', exif(6).subarray(0, 12)],
    ['no byte order', concat('XX*\0\x08\0\0\0')],
    ['nothing', new Uint8Array(0)],
  ])('EXIF with %s leaves the picture upright', (_, data) => {
    const bytes = withSegments(baseline, segment(0xe1, concat('Exif\0\0', data)));
    expect(readJpegHeader(bytes).orientation).toBe(1);
  });

  describe('what is whole', () => {
    test.each([
      ['a thumbnail with an end of its own in a segment', withSegments(baseline, segment(0xe1, thumbnail))],
      ['a second picture behind the first (MPO, gain maps)', concat(baseline, thumbnail)],
      [
        'a video behind the picture (motion photos)',
        concat(baseline, '\0\0\0\x18ftypmp42', new Uint8Array(99)),
      ],
      ['a second picture behind that is cut off', concat(baseline, thumbnail.subarray(0, 200))],
      ['padding behind the picture', concat(baseline, new Uint8Array(1000))],
      [
        'fill bytes before a marker',
        concat(baseline.subarray(0, 2), [0xff, 0xff, 0xff], baseline.subarray(2)),
      ],
      ['stray bytes before a marker', concat(baseline.subarray(0, 2), [1, 2, 0xff, 0], baseline.subarray(2))],
    ])('%s', (_, bytes) => {
      expect(readJpegHeader(bytes)).toMatchObject({ width: 61, height: 47 });
    });
  });

  test('is truncated, or unproven, wherever it ends before its end-of-image marker', () => {
    for (const bytes of [baseline, progressive, withSegments(baseline, segment(0xe1, thumbnail))]) {
      for (let length = 3; length < bytes.length; length++) {
        let header: PictureHeader | undefined;
        try {
          header = readJpegHeader(bytes.subarray(0, length));
        } catch (fault) {
          expect(String(fault)).toMatch(/The JPEG picture is truncated: /);
        }
        if (header) expect(header).toMatchObject({ width: 61, height: 47, unproven: true });
      }
    }
  });

  test('a progressive one is unproven from the scan on in which only the last bits are missing', () => {
    const scans = [...progressive.keys()].filter(
      (at) => progressive[at] === 0xff && progressive[at + 1] === 0xda,
    );
    const isRead = (length: number) => {
      try {
        return readJpegHeader(progressive.subarray(0, length)).unproven;
      } catch {
        return false;
      }
    };
    // DC; the lowest of Y; Cb and Cr; the others of Y; a bit of Y; a bit of DC, Cb and Cr; the last bit of Y.
    expect(scans).toHaveLength(10);
    expect(scans.findIndex((at) => isRead(at + 20))).toBe(6);
    expect(scans.slice(6).every((at) => isRead(at + 20))).toBe(true);
  });

  test('one of several scans that are not progressive is truncated without its end', () => {
    const separate = Uint8Array.from(baseline);
    // Its scan has one of three components.
    const scan = indexOfMarker(separate, 0xda);
    const one = concat(
      separate.subarray(0, scan),
      [0xff, 0xda, 0, 8, 1, 1, 0, 0, 63, 0],
      separate.subarray(scan + 14, -2),
    );
    expect(() => readJpegHeader(one)).toThrow('is truncated: it ends before its end-of-image marker');
  });

  test('is truncated where it has its end, but hardly any pixels', () => {
    const scan = indexOfMarker(baseline, 0xda);
    const end = [0xff, 0xd9];
    // The scan's header has 12 bytes after its marker.
    expect(() => readJpegHeader(concat(baseline.subarray(0, scan + 14), end))).toThrow(
      'is truncated: 61 × 47 pixels are declared, but only 0 bytes hold pixels',
    );
    expect(() => readJpegHeader(concat(baseline.subarray(0, scan + 20), end))).toThrow(
      'is truncated: 61 × 47 pixels are declared, but only 6 bytes hold pixels',
    );
  });

  test('finds the end behind pixels with any number of 0xff bytes that are no markers', () => {
    const scan = indexOfMarker(baseline, 0xda) + 14;
    for (const gap of [0, 1, 2, 3, 60, 61, 62, 63, 250]) {
      for (const pairs of [1, 31, 32, 33, 34, 100]) {
        const pixels = Array.from({ length: pairs }, () => [
          0xff,
          0,
          ...new Array<number>(gap).fill(7),
        ]).flat();
        const whole = concat(baseline.subarray(0, scan), baseline.subarray(scan, -2), pixels, [0xff, 0xd9]);
        expect(readJpegHeader(whole).unproven, `${pairs} × ${gap}`).toBeUndefined();
        // A second frame header after them is seen, too.
        const two = concat(
          whole.subarray(0, -2),
          [0xff, 0xc0, 0, 11, 8, 0, 9, 0, 9, 1, 1, 0x11, 0],
          [0xff, 0xd9],
        );
        expect(() => readJpegHeader(two)).toThrow('has two frame headers');
      }
    }
  });

  test('a flat picture, whose pixels take next to nothing, is whole', async () => {
    for (const isProgressive of [false, true]) {
      const flat = await new Bun.Image(bmp(1000, 1000, () => [90, 90, 90, 255]))
        .jpeg({ quality: 1, progressive: isProgressive })
        .bytes();
      expect(readJpegHeader(flat).width).toBe(1000);
    }
  });

  test.each([
    ['is broken: two frame headers', 'has two frame headers'],
    ['is broken: no frame header', 'has no frame header'],
    ['is broken: no height', 'declares 61 × 0 pixels'],
    ['is broken: pixels before the size', 'has pixel data before its size'],
    ['is broken: a component without samples', 'declares a component without samples'],
  ])('%s', (_, fault) => {
    const frame = indexOfMarker(baseline, 0xc0);
    const frameSegment = baseline.subarray(frame, frame + 19);
    const without = concat(baseline.subarray(0, frame), baseline.subarray(frame + 19));
    const changed = (at: number, ...values: number[]) => {
      const bytes = Uint8Array.from(baseline);
      bytes.set(values, frame + at);
      return bytes;
    };
    const pictures: Record<string, Uint8Array> = {
      'has two frame headers': concat(baseline.subarray(0, frame), frameSegment, baseline.subarray(frame)),
      'has no frame header': concat(baseline.subarray(0, 2), [0xff, 0xd9]),
      'declares 61 × 0 pixels': changed(5, 0, 0),
      'has pixel data before its size': without,
      'declares a component without samples': changed(11, 0x02),
    };
    expect(() => readJpegHeader(pictures[fault]!)).toThrow(`The JPEG picture ${fault}.`);
  });

  test('kinds of JPEG that no decoder here reads are named', () => {
    const frame = indexOfMarker(baseline, 0xc0);
    const twelveBits = Uint8Array.from(baseline);
    twelveBits[frame + 4] = 12;
    expect(() => readJpegHeader(twelveBits)).toThrow('The file is a JPEG of 12 bits a channel;');
    const lossless = Uint8Array.from(baseline);
    lossless[frame + 1] = 0xc3;
    expect(() => readJpegHeader(lossless)).toThrow('The file is a lossless or hierarchical JPEG;');
  });

  test('thousands of scans, each of which costs a pass over the picture, are refused', () => {
    const scan = indexOfMarker(progressive, 0xda);
    const [next] = [scan + 2 + indexOfMarker(progressive.subarray(scan + 2), 0xc4, 0xda)];
    const one = progressive.subarray(scan, next);
    const many = concat(
      progressive.subarray(0, next),
      ...Array.from({ length: 100 }, () => one),
      progressive.subarray(next),
    );
    expect(() => readJpegHeader(many)).toThrow('has more than 100 scans, the most that are accepted');
  });
});

describe('the search of 0xff bytes that are not followed by 0', () => {
  const all = (findEscape: FindEscape): number[] => {
    const found: number[] = [];
    for (let at = findEscape(0); at !== -1; at = findEscape(at + 1)) found.push(at);
    return found;
  };
  const plainly = (bytes: Uint8Array): number[] =>
    [...bytes.keys()].filter((at) => at + 1 < bytes.length && bytes[at] === 0xff && bytes[at + 1] !== 0);

  test('with the kernel and without it, finds the same as a plain search, across the edges of its parts', async () => {
    const kernel = await loadKernel();
    // Containers and development machines have vectors.
    const createFinders = [createKernelFinder(kernel!), findByWords];
    let state = 1;
    const next = () => {
      state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
      return state >>> 8;
    };
    for (const length of [0, 1, 2, 3, 15, 16, 17, 33, 32_767, 32_768, 32_769, 65_535, 100_000]) {
      for (const rarity of [1, 3, 300]) {
        const whole = Uint8Array.from({ length: length + 5 }, () =>
          next() % rarity === 0 ? [0xff, 0xff, 0, 7][next() % 4]! : next() % 255,
        );
        // At any address, as parts of a form are.
        const bytes = whole.subarray(next() % 6, length + 5);
        const expected = plainly(bytes);
        for (const create of createFinders) {
          const found = all(create(bytes)).filter((at) => at + 1 < bytes.length);
          expect(found, `${length} bytes, one in ${rarity}`).toEqual(expected);
        }
      }
    }
  });

  test('searches of two files may take turns', async () => {
    const create = createKernelFinder((await loadKernel())!);
    const one = Uint8Array.from({ length: 70_000 }, (_, at) => (at % 997 === 0 ? 0xff : 1));
    const other = Uint8Array.from({ length: 70_000 }, (_, at) => (at % 1009 === 5 ? 0xff : 1));
    const finders = [create(one), create(other)] as const;
    for (let at = 0; at < one.length - 2000; at += 500) {
      expect(finders[0](at)).toBe(Math.ceil(at / 997) * 997);
      expect(finders[1](at)).toBe(Math.max(0, Math.ceil((at - 5) / 1009)) * 1009 + 5);
    }
  });
});
