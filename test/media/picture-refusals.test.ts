import { describe, expect, test } from 'bun:test';
import { listTitles, pictureFormats } from '../../src/contract/formats.ts';
import { createMemoryReserve, createPictureLoader } from '../../src/media/picture/picture.ts';
import {
  fault,
  geometry,
  gradient,
  height,
  isolated,
  limits,
  load,
  meanDifference,
  reference,
  side,
  width,
} from './load-picture.ts';
import { avif, bmp, chunk, concat, gif, jpeg, png, rgbPng, tiff, webp } from './sample-pictures.ts';

describe('what is refused', () => {
  const accepted = `${listTitles(pictureFormats, 'and')} pictures are accepted.`;

  test('nothing', async () => {
    expect(await fault(new Uint8Array(0))).toMatchObject({
      code: 'image_empty',
      message: `The file is empty (0 bytes); ${accepted}`,
    });
  });

  test.each([
    ['a JPEG XL picture', concat('\xff\x0a\0')],
    ['a PDF document', concat('%PDF-1.4\n')],
    ['an SVG drawing', concat('<svg xmlns="http://www.w3.org/2000/svg"></svg>')],
    ['text', concat('not a picture')],
    ['of an unknown format', new Uint8Array(1000)],
  ])('%s', async (what, bytes) => {
    expect(await fault(bytes)).toMatchObject({
      code: 'image_unsupported',
      message: `The file is ${what}; ${accepted}`,
    });
  });

  test('more bytes than allowed', async () => {
    const picture = rgbPng(10, 10);
    const options = { limits: { ...limits, imageBytes: picture.length - 1 } };
    expect(await fault(picture, options)).toMatchObject({
      code: 'image_too_large',
      message: `The file has ${picture.length} bytes; a picture may have at most ${picture.length - 1}.`,
      details: { bytes: picture.length, limit: picture.length - 1 },
    });
    expect(await load(picture, { limits: { ...limits, imageBytes: picture.length } })).toBeDefined();
  });

  test('more pixels than allowed, by the header of every format', async () => {
    const pictures = [
      await jpeg(50, 40),
      rgbPng(50, 40),
      await webp(50, 40),
      gif(50, 40, { palette: [[1, 1, 1]], index: () => 0 }),
      bmp(50, 40),
      await tiff(50, 40),
      await avif(50, 40),
    ];
    for (const bytes of pictures) {
      expect(await fault(bytes, { limits: { ...limits, imagePixels: 1999 } })).toMatchObject({
        code: 'image_too_large',
        message: 'The picture has 50 × 40 pixels, 2000 in total; a picture may have at most 1999.',
        details: { width: 50, height: 40, limit: 1999 },
      });
      expect(await load(bytes, { limits: { ...limits, imagePixels: 2000 } })).toBeDefined();
    }
  });

  test('a side that is too long for the decoders’ rows', async () => {
    const strip = png(1_000_001, 1, { bitDepth: 1, colourType: 0, samples: () => [0] });
    expect(await fault(strip, { limits: { ...limits, imagePixels: 2_000_000 } })).toMatchObject({
      code: 'image_too_large',
      message: 'The picture has 1000001 × 1 pixels; a side may have at most 1000000 pixels.',
    });
  });

  test('a picture that is cut off, in every format', async () => {
    const pictures = {
      JPEG: await jpeg(50, 40),
      PNG: rgbPng(50, 40),
      WebP: await webp(50, 40),
      GIF: gif(50, 40, { palette: [[1, 1, 1]], index: () => 0 }),
      BMP: bmp(50, 40),
      TIFF: await tiff(50, 40),
      AVIF: await avif(50, 40),
    };
    for (const [name, bytes] of Object.entries(pictures)) {
      const { code, message } = await fault(bytes.subarray(0, bytes.length * 0.7));
      expect(code).toBe('image_broken');
      expect(message).toStartWith(`The ${name} picture is truncated: `);
    }
  });

  test('a complete file whose pixel data are damaged', async () => {
    const bytes = png(10, 10, { samples: () => [1, 2, 3] });
    const wrong = concat(bytes.subarray(0, 33), chunk('IDAT', new Uint8Array(400).fill(0x55)), chunk('IEND'));
    expect(await fault(wrong)).toMatchObject({
      code: 'image_broken',
      message: 'The PNG picture is damaged and cannot be decoded.',
    });
  });
});

describe('the memory budget', () => {
  test('pictures that exceed it together are decoded one after another', async () => {
    const loadOne = createPictureLoader({ geometry, limits, isolated, decodeBytes: 1 });
    const picture = rgbPng(width, height, gradient);
    const targets = Array.from({ length: 20 }, () => new Uint8Array(side * side * 3));
    await Promise.all(targets.map((target) => loadOne(picture, target)));
    for (const target of targets) expect(meanDifference(target, reference)).toBe(0);
  });

  test('a picture that needs more than the limit for one is refused before it is decoded', async () => {
    const picture = rgbPng(width, height, gradient);
    const target = new Uint8Array(side * side * 3);
    const fault = await createPictureLoader({ geometry, limits, isolated, maxDecodeBytes: 1000 })(
      picture,
      target,
    ).catch((reason: unknown) => reason);
    expect(fault).toMatchObject({ code: 'image_too_large', details: { width, height, limit: 1000 } });
    expect(String(fault)).toContain('of memory; one picture may use at most');
    await createPictureLoader({ geometry, limits, isolated, maxDecodeBytes: 50e6 })(picture, target);
    expect(meanDifference(target, reference)).toBe(0);
  });

  test('pictures that another process decodes take nothing from it', async () => {
    const entered = Promise.withResolvers<void>();
    const end = Promise.withResolvers<void>();
    const endless = {
      async decode() {
        entered.resolve();
        await end.promise;
      },
    };
    // Room for one of these pictures.
    const loadOne = createPictureLoader({ geometry, limits, isolated: endless, decodeBytes: 600 * 1024 });
    const target = new Uint8Array(side * side * 3);
    const slow = loadOne(await tiff(width, height), new Uint8Array(side * side * 3));
    await entered.promise;
    await loadOne(rgbPng(width, height, gradient), target);
    expect(meanDifference(target, reference)).toBe(0);
    end.resolve();
    await slow;
  });

  test('is given back by a picture that is broken', async () => {
    const loadOne = createPictureLoader({ geometry, limits, isolated, decodeBytes: 1 });
    const target = new Uint8Array(side * side * 3);
    const broken = concat(
      rgbPng(10, 10).subarray(0, 33),
      chunk('IDAT', new Uint8Array(400).fill(0x55)),
      chunk('IEND'),
    );
    for (let i = 0; i < 3; i++) await expect(loadOne(broken, target)).rejects.toThrow('is damaged');
    await loadOne(rgbPng(width, height, gradient), target);
    expect(meanDifference(target, reference)).toBe(0);
  });

  test('a cancelled wait rejects with the signal’s reason, and later pictures proceed', async () => {
    const loadOne = createPictureLoader({ geometry, limits, isolated, decodeBytes: 1 });
    const picture = await jpeg(800, 600);
    const leaving = new AbortController();
    const target = () => new Uint8Array(side * side * 3);
    const first = loadOne(picture, target());
    const second = loadOne(picture, target(), { signal: leaving.signal });
    const third = loadOne(picture, target());
    const reason = new Error('the client left');
    leaving.abort(reason);
    await expect(second).rejects.toBe(reason);
    await Promise.all([first, third]);
  });

  test('an aborted signal stops before anything is decoded', async () => {
    const reason = new Error('gone');
    await expect(load(rgbPng(5, 5), {}, { signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
  });
});

describe('memory for large pictures', () => {
  const target = side * side;
  const lent: number[] = [];
  const reserveFor = (usualBytes: number, told: string[] = []) =>
    createMemoryReserve({
      geometry,
      limits,
      squarePixels: target,
      usualBytes,
      maxDecodeBytes: 2_000_000,
      async lend(bytes) {
        lent.push(bytes);
        return { [Symbol.dispose]: () => told.push('given back') };
      },
      collect: () => told.push('collected'),
    });

  test('is lent as much as decoding takes, and the file’s bytes for another process', async () => {
    lent.length = 0;
    const reserve = reserveFor(1);
    const [here, elsewhere] = [rgbPng(200, 100), await tiff(200, 100)];
    using _here = await reserve(here, {}).reserve?.();
    using _elsewhere = await reserve(elsewhere, {}).reserve?.();
    const fixed = 512 * 1024;
    expect(lent).toEqual([fixed + 200 * 100 * 4, fixed + 200 * 100 * 16 + elsewhere.length]);
  });

  test('is not lent to usual pictures, nor to those that loading will refuse', () => {
    expect(reserveFor(1_000_000)(rgbPng(200, 100), {}).reserve).toBeUndefined();
    for (const refused of [rgbPng(999, 999), new Uint8Array(), new Uint8Array(100).fill(7)]) {
      expect(reserveFor(1)(refused, {}).reserve).toBeUndefined();
    }
  });

  test('is known from the header, which is not read again to load the picture', async () => {
    let places = 0;
    const options = {
      geometry: (width: number, height: number) => {
        places += 1;
        return geometry(width, height);
      },
      limits,
      isolated,
    };
    const { lend, picture } = { lend: () => Promise.reject(new Error('usual')), picture: rgbPng(200, 100) };
    const reserve = createMemoryReserve({ ...options, squarePixels: target, usualBytes: 1e9, lend });
    const { plan } = reserve(picture, {});
    expect(await load(picture, options, { plan })).toEqual(await load(picture));
    expect(places).toBe(1);
  });

  test('is free before it is given back', async () => {
    const told: string[] = [];
    (await reserveFor(1, told)(rgbPng(200, 100), {}).reserve?.())?.[Symbol.dispose]();
    (await reserveFor(1, told)(await tiff(200, 100), {}).reserve?.())?.[Symbol.dispose]();
    expect(told).toEqual(['collected', 'given back', 'given back']);
  });
});
