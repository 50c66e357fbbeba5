import { describe, expect, test } from 'bun:test';
import { readWindow, StoredPng } from '../../native/image/builtin-decoder.ts';
import type { Fit } from '../../src/contract/options.ts';
import type { CategorizeDetails, EmbeddingsAnswer, VideoDetails } from '../../src/contract/schemas.ts';
import { bitmap, type Colour, encodePicture, withOrientation } from '../fixtures/colour-pictures.ts';
import { makePaintedVideo } from '../fixtures/videos.ts';
import { heic } from '../media/sample-heics.ts';
import { avif, tiff } from '../media/sample-pictures.ts';
import { rawFile } from '../media/sample-raws.ts';
import { useDemoService } from './demo-service.ts';

const red: Colour = [205, 25, 35];
const grey: Colour = [128, 128, 130];

const demo = useDemoService();

type Pictures = Readonly<Record<string, Uint8Array>>;

async function post<Answer>(
  path: string,
  parts: Readonly<Record<string, Pictures | string>>,
): Promise<Answer> {
  const form = new FormData();
  for (const [name, value] of Object.entries(parts)) {
    if (typeof value === 'string') form.append(name, value);
    else for (const [file, bytes] of Object.entries(value)) form.append(name, new File([bytes], file));
  }
  const response = await fetch(`${demo.service.url}${path}`, { method: 'POST', body: form });
  const answer = (await response.json()) as Answer;
  if (!response.ok) throw new Error(JSON.stringify(answer));
  return answer;
}

const categories = JSON.stringify(['grey', 'red']);
const ask = async (fit: Fit, pictures: Pictures) => {
  const path = `/categorize?details=true&thumbnails=true&fit=${fit}`;
  return await post<CategorizeDetails>(path, { files: pictures, categories });
};
/** How similar each picture is to "red". */
const redness = ({ results }: CategorizeDetails): Map<string, number> =>
  new Map(
    results.map(({ file, scores }) => [
      file,
      scores.find(({ category }) => category === 'red')?.similarity ?? Number.NaN,
    ]),
  );

/** Grey, with a red thing at one edge that reaches as far as the middle square: at 3:2 a sixth, at 16:9 more. */
const edged = (share: number, width: number) => (x: number) => (x < width * share ? red : grey);
const opaque = (share: number, width: number) => (x: number) => [...edged(share, width)(x), 255] as const;

describe('a thing at the edge', () => {
  test('of a photo is missed by the crop and found by both fits, in every format', async () => {
    const photo = await encodePicture(bitmap(600, 400, edged(0.16, 600)), 'jpeg');
    const large = await encodePicture(bitmap(1803, 1201, edged(0.16, 1803)), 'jpeg');
    const pictures: Pictures = {
      'photo.jpg': photo,
      'large.jpg': large,
      'wide.png': await encodePicture(bitmap(640, 360, edged(0.21, 640)), 'png'),
      'upside-down.jpg': withOrientation(photo, 3),
      'upright.jpg': withOrientation(large, 6),
      'mirrored.jpg': withOrientation(photo, 5),
      'phone.heic': heic(128, 72, opaque(0.21, 128)),
      'scan.tif': await tiff(160, 90, opaque(0.21, 160)),
      'new.avif': await avif(160, 90, opaque(0.21, 160)),
      'camera.nef': rawFile('NEF', { jpegs: [photo, large, photo] }),
      'strip.png': await encodePicture(bitmap(6000, 3, edged(0.2, 6000)), 'png'),
      'line.png': await encodePicture(
        bitmap(2, 40_000, (_, y) => (y < 8000 ? red : grey)),
        'png',
      ),
    };
    const [crop, whole, tiles] = [
      await ask('crop', pictures),
      await ask('whole', pictures),
      await ask('tiles', pictures),
    ].map(redness);
    expect(crop?.size).toBe(Object.keys(pictures).length);
    for (const name of Object.keys(pictures)) {
      const found = [crop, whole, tiles].map((similarities) => similarities?.get(name) ?? Number.NaN);
      // Measured: 0.41, at least 0.68, at least 0.81.
      expect([name, ...found.map((value) => value > 0.45)]).toEqual([name, false, true, true]);
      expect([name, found[2]! > found[1]! + 0.05]).toEqual([name, true]);
    }
  });

  test('of both edges is the answer of both fits only', async () => {
    const both = bitmap(1280, 720, (x) => (x < 280 || x >= 1000 ? red : grey));
    const pictures = { 'a.jpg': await encodePicture(both, 'jpeg') };
    const answers: unknown[] = [];
    for (const fit of ['crop', 'whole', 'tiles'] as const) {
      answers.push((await ask(fit, pictures)).results[0]?.category);
    }
    expect(answers).toEqual(['grey', 'red', 'red']);
  });

  test('of a video’s frame, upright or turned, is found by both fits; the answer is the whole frame', async () => {
    const frames = Array.from({ length: 24 }, (_, index) => ({
      background: grey,
      grain: 8,
      patches: index < 12 ? [] : [{ left: 0, right: 0.21, top: 0, bottom: 1, colour: red }],
    }));
    for (const rotation of [0, 90] as const) {
      const path = makePaintedVideo(`edge-${rotation}`, { width: 320, height: 180, rotation }, frames);
      const video = { 'clip.mp4': await Bun.file(path).bytes() };
      const asked = { video, categories: JSON.stringify(['red']) };
      const found = new Map<
        Fit,
        { similarity: number; timestamp: number; image: string; considered: number }
      >();
      for (const fit of ['crop', 'whole', 'tiles'] as const) {
        const answer = await post<VideoDetails>(`/video?details=true&fit=${fit}`, asked);
        const [best] = answer.results;
        found.set(fit, {
          similarity: best?.similarity ?? Number.NaN,
          timestamp: best?.timestamp ?? Number.NaN,
          image: best?.image ?? '',
          considered: answer.video.frames_considered,
        });
      }
      const [crop, whole, tiles] = [found.get('crop')!, found.get('whole')!, found.get('tiles')!];
      expect(crop.similarity).toBeLessThan(0.45);
      expect(whole.similarity).toBeGreaterThan(0.65);
      expect(tiles.similarity).toBeGreaterThan(whole.similarity + 0.05);
      for (const { timestamp, image } of [whole, tiles]) {
        expect(timestamp).toBeWithin(0.45, 1);
        const { width, height } = await new Bun.Image(Buffer.from(image, 'base64')).metadata();
        expect([width, height]).toEqual(rotation === 0 ? [320, 180] : [180, 320]);
      }
    }
  });
});

test('embeddings of each fit are answered as their pictures are', async () => {
  const pictures: Pictures = {
    'a.jpg': await encodePicture(bitmap(600, 400, edged(0.16, 600)), 'jpeg'),
    'b.tif': await tiff(160, 90, opaque(0.21, 160)),
    'c.png': await encodePicture(
      bitmap(64, 64, () => red),
      'png',
    ),
  };
  for (const fit of ['whole', 'tiles'] as const) {
    const expected = await ask(fit, pictures);
    const { thumbnails, ...made } = await post<EmbeddingsAnswer>(
      `/embeddings?encoding_format=base64&thumbnails=true&fit=${fit}`,
      { files: pictures },
    );
    expect(thumbnails).toEqual(expected.thumbnails);
    expect(made.embeddings).toHaveLength(fit === 'tiles' ? 5 : 3);
    const embeddings = { 'e.json': new TextEncoder().encode(JSON.stringify(made)) };
    const { results } = await post<CategorizeDetails>(`/categorize?details=true&fit=${fit}`, {
      embeddings,
      categories,
    });
    expect(results).toEqual(expected.results);
  }
});

test('a thumbnail shows what the model has looked at', async () => {
  const pictures = { 'a.tif': await tiff(160, 90, opaque(0.21, 160)) };
  const sizes: unknown[] = [];
  for (const fit of ['crop', 'whole', 'tiles'] as const) {
    const [thumbnail] = (await ask(fit, pictures)).thumbnails ?? [];
    const jpeg = new Bun.Image(Uint8Array.fromBase64(thumbnail?.image ?? ''));
    const png = await jpeg.png({ compressionLevel: 0 }).bytes();
    const { width, height } = new StoredPng(png);
    const [first] = readWindow(new StoredPng(png), { left: 10, top: 100, width: 1, height: 1 });
    sizes.push([width, height, (first ?? 0) > 180 ? 'red' : 'grey']);
  }
  expect(sizes).toEqual([
    [224, 224, 'grey'],
    [224, 224, 'red'],
    [398, 224, 'red'],
  ]);
});
