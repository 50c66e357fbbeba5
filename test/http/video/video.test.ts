import { describe, expect, test } from 'bun:test';
import { join } from 'node:path';
import { openVideo } from '../../../src/media/video/video.ts';
import { scriptedSearch } from '../../classify/scripted-search.ts';
import type { FakeBehaviour } from '../fake-engine.ts';
import { fakeJpeg } from '../fake-video.ts';
import { categoriesPart, closing, filePart, part, postRaw } from '../harness.ts';
import { film, startVideos, videoBody, videoPart } from './video-server.ts';

const base64 = (timestamp: number, bytes?: number) =>
  Buffer.from(fakeJpeg(timestamp, bytes)).toString('base64');

/** Posts a form to a server of its own, and looks into its temporary folder afterwards. */
async function post(
  query: string,
  body: Uint8Array,
  behaviour: FakeBehaviour = {},
  environment: Record<string, string> = {},
) {
  await using server = await startVideos(behaviour, { environment });
  const response = await postRaw(server, `/video${query}`, body);
  const { status, headers } = response;
  const text = await response.text();
  return { status, headers, text, lines: server.lines, videos: server.videos, left: await server.left() };
}

describe('the answer in the shape of 2021', () => {
  test('category → [file, picture], in the order sent', async () => {
    const { status, text, headers, left, videos, lines } = await post('', videoBody());
    expect(status).toBe(200);
    expect(text).toBe(`{"dog":["film-3.000.jpg","${base64(3)}"],"cat":["film-1.500.jpg","${base64(1.5)}"]}`);
    expect(headers.get('content-type')).toBe('application/json; charset=utf-8');
    expect(headers.get('cache-control')).toBe('no-store');
    expect(left).toEqual([]);
    expect(videos.closed).toBe(1);
    expect(lines).toEqual([
      { level: 'info', fields: expect.objectContaining({ path: '/video', status: 200, files: 1 }) },
    ]);
  });

  test('parts come in any order, categories as a file or as a field', async () => {
    const asFile = part('form-data; name="categories"; filename="c.csv"', 'cat');
    for (const categories of [categoriesPart('cat'), asFile]) {
      for (const parts of [
        [videoPart(film), categories],
        [categories, videoPart(film)],
      ]) {
        const { text } = await post('?images=false', Buffer.concat([...parts, closing]));
        expect(text).toBe('{"cat":["film-1.500.jpg"]}');
      }
    }
  });

  test('keys keep their order where JavaScript would move or swallow them', async () => {
    const { text } = await post('?images=false', videoBody('x@1', '10,2,__proto__,é"'));
    expect(text).toBe(
      '{"10":["film-1.000.jpg"],"2":["film-1.000.jpg"],"__proto__":["film-1.000.jpg"],"é\\"":["film-1.000.jpg"]}',
    );
  });

  test('a frame that is the best for several categories is made into a picture once', async () => {
    const { text, videos } = await post('', videoBody('cat@2 dog@1', 'cat,bird,fish,dog'));
    expect(JSON.parse(text)).toEqual({
      cat: ['film-2.000.jpg', base64(2)],
      bird: ['film-2.000.jpg', base64(2)],
      fish: ['film-2.000.jpg', base64(2)],
      dog: ['film-1.000.jpg', base64(1)],
    });
    expect(videos.rendered).toEqual([1, 2]);
  });

  test('below the threshold the answer is null, and its frame is not made into a picture', async () => {
    const { text, videos } = await post('?threshold=0.5', videoBody(film, 'fish,dog'));
    expect(text).toBe(`{"fish":null,"dog":["film-3.000.jpg","${base64(3)}"]}`);
    expect(videos.rendered).toEqual([3]);
    expect((await post('?threshold=0.8', videoBody(film, 'dog'))).text).not.toContain('null');
  });

  test('images=false leaves the pictures out, and nothing is rendered', async () => {
    const { text, videos } = await post('?images=false', videoBody());
    expect(text).toBe('{"dog":["film-3.000.jpg"],"cat":["film-1.500.jpg"]}');
    expect(videos.rendered).toEqual([]);
  });

  test('a picture of any size comes out whole', async () => {
    const block = 3 * 64 * 1024;
    for (const jpegBytes of [1, 2, 3, block - 1, block, block + 1, 1_000_003]) {
      const { text } = await post('', videoBody(film, 'cat'), { jpegBytes });
      expect(text === `{"cat":["film-1.500.jpg","${base64(1.5, jpegBytes)}"]}`).toBe(true);
    }
  });
});

describe('the detailed answer', () => {
  const model = {
    name: 'fake',
    sha256: '00'.repeat(32),
    precision: 'fp32',
    embedding_dimension: 2,
    image_resolution: 1,
  };
  const video = {
    duration: 9,
    width: 640,
    height: 360,
    frame_rate: 25,
    codec: 'h264',
    frames_considered: 3,
    scenes: 3,
  };

  test('has the model, the video, every candidate’s standing and the pictures', async () => {
    const { text, left } = await post('?details=true', videoBody(film, 'dog'));
    expect(JSON.parse(text)).toEqual({
      model,
      video,
      results: [
        {
          category: 'dog',
          file: 'film-3.000.jpg',
          timestamp: 3,
          score: 0.8,
          similarity: 0.2,
          image: base64(3),
          scores: [
            { timestamp: 3, score: 0.8, similarity: 0.2 },
            { timestamp: 1.5, score: 0.1, similarity: 0.025 },
            { timestamp: 4.25, score: 0.1, similarity: 0.025 },
          ],
        },
      ],
      warnings: [],
    });
    expect(left).toEqual([]);
  });

  test('images=false: no image; threshold: null, with the standing of the best', async () => {
    const { text } = await post('?details=true&images=false&threshold=0.5', videoBody(film, 'dog,fish'));
    const [dog, fish] = JSON.parse(text).results;
    expect(dog).not.toHaveProperty('image');
    expect(dog.file).toBe('film-3.000.jpg');
    expect(fish).toMatchObject({ category: 'fish', file: null, timestamp: null, score: 0.1 });
    const pictured = await post('?details=true&threshold=0.5', videoBody(film, 'fish'));
    expect(JSON.parse(pictured.text).results[0].image).toBeNull();
  });

  test('top_k lists so many frames, five unless told otherwise', async () => {
    const frames = Array.from({ length: 9 }, (_, index) => `x@${index}`).join(' ');
    const listed = async (query: string) => {
      const { text } = await post(`?details=true&images=false${query}`, videoBody(frames));
      return JSON.parse(text).results.map(({ scores }: { scores: unknown[] }) => scores.length);
    };
    expect(await listed('')).toEqual([5, 5]);
    expect(await listed('&top_k=1')).toEqual([1, 1]);
    expect(await listed('&top_k=1000')).toEqual([9, 9]);
  });

  test('a picture that differs from the frame that was scored is a warning', async () => {
    const childPath = join(import.meta.dir, '../../media/video/children/differing.ts');
    const { search } = scriptedSearch({
      openVideo: (path, options) =>
        openVideo(path, { limits: { videoSeconds: 60 }, threads: 1, ...options, process: { childPath } }),
    });
    await using server = await startVideos({ searchVideo: search });
    const response = await postRaw(server, '/video?details=true', videoBody(film, 'red'));
    expect(await response.json()).toMatchObject({
      results: [{ file: 'film-1.500.jpg', image: 'AQID' }],
      warnings: ['The frame at 1.500 s is damaged: its picture differs from the one that was scored.'],
    });
  });

  test('what could not be used stands under warnings', async () => {
    const { text } = await post('?details=true', videoBody('damaged@1'));
    expect(JSON.parse(text).warnings).toEqual(['It is damaged.']);
  });
});

describe('names of frames', () => {
  test.each([
    ['film.mp4', 'film'],
    ['写真 🐈.mp4', '写真 🐈'],
    ['a.b.c', 'a.b'],
    ['.mp4', '.mp4'],
    ['film', 'film'],
    ['../up/../film.mp4', 'film'],
    ['C:\\\\dir\\\\film.mp4', 'film'],
    ['folder/', 'video'],
    ['a%22b.mp4', 'a"b'],
    ['..', '.'],
  ])('%s', async (name, stem) => {
    const { text } = await post('?images=false', videoBody('x@61.0625', 'cat', name));
    expect(JSON.parse(text)).toEqual({ cat: [`${stem}-61.0625.jpg`] });
  });
});

describe('faults', () => {
  const video = videoPart(film);
  const categories = categoriesPart('cat,dog');
  test.each<[string, string, number, Buffer[]]>([
    ['video_missing', 'curl -F video=@film.mp4', 400, [categories]],
    ['video_missing', 'No video', 400, []],
    ['video_missing', 'No video', 400, [categories, videoPart('', '')]],
    ['categories_missing', 'part named categories', 400, [video]],
    ['categories_missing', 'empty', 400, [video, categoriesPart('')]],
    ['categories_malformed', 'JSON', 400, [categoriesPart('{'), video]],
    ['categories_too_many', 'many', 400, [video, categoriesPart('a,'.repeat(1001))]],
    ['label_too_long', 'long', 400, [video, categoriesPart('a'.repeat(301))]],
    ['part_unexpected', 'The part video was sent twice', 400, [video, video, categories]],
    ['part_unexpected', 'The part categories was sent twice', 400, [categories, video, categories]],
    ['part_unexpected', '/video accepts one video', 400, [filePart('a.jpg', 'cat'), categories]],
    ['part_unexpected', '/video accepts one video', 400, [video, categories, filePart('a.jpg', 'cat')]],
    ['part_unexpected', 'accepted are video', 400, [part('form-data; name="film"', 'x')]],
    ['file_name_invalid', 'no file name', 400, [part('form-data; name="video"', film), categories]],
    ['file_name_invalid', 'empty name', 400, [videoPart(film, ''), categories]],
    ['file_name_invalid', 'too long: 1025 bytes', 400, [videoPart(film, 'a'.repeat(1025)), categories]],
    ['video_broken', 'no bytes', 422, [videoPart(''), categories]],
    ['video_broken', 'It is broken', 422, [videoPart('broken:video_broken'), categories]],
    ['video_unsupported', 'It is broken', 415, [videoPart('broken:video_unsupported'), categories]],
    ['video_too_large', 'It is broken', 413, [videoPart('broken:video_too_large'), categories]],
    ['multipart_malformed', 'closing boundary', 400, [categories, video.subarray(0, -10)]],
  ])('%s: %s', async (code, sentence, status, parts) => {
    const cutOff = code === 'multipart_malformed';
    const { text, left, ...answer } = await post('', Buffer.concat([...parts, ...(cutOff ? [] : [closing])]));
    expect(text).toContain(sentence);
    expect(JSON.parse(text)).toEqual({ error: expect.any(String), code });
    expect(answer.status).toBe(status);
    expect(left).toEqual([]);
  });

  test.each([
    ['?on_error=skip', '"on_error" is unknown'],
    ['?images=2', 'images="2" must be true or false'],
    ['?top_k=0', 'top_k="0" must be at least 1'],
  ])('impossible options are refused before the body is read: %s', async (query, sentence) => {
    const { status, text, lines } = await post(query, videoBody());
    expect(status).toBe(400);
    expect(JSON.parse(text)).toEqual({ error: expect.stringContaining(sentence), code: 'option_invalid' });
    expect(lines[0]?.fields).toMatchObject({ bytes: 0, files: 0 });
  });

  test('images is no option of the others', async () => {
    await using server = await startVideos();
    expect((await postRaw(server, '/image?images=false', videoBody())).status).toBe(400);
  });

  test('categories that cannot be used stop the upload at once', async () => {
    const body = Buffer.concat([categoriesPart('{'), videoPart(Buffer.alloc(20 * 1024 ** 2)), closing]);
    const { lines, videos } = await post('', body);
    expect(lines[0]?.fields.bytes).toBeLessThan(body.length);
    expect(videos.paths).toEqual([]);
  });

  test('an answer that would be enormous is refused before the search', async () => {
    const labels = Array.from({ length: 1000 }, (_, index) => `l${index}`).join(',');
    const { status, text, videos } = await post('?details=true&top_k=1000', videoBody(film, labels));
    expect(status).toBe(400);
    expect(text).toContain('1000000 scores');
    expect(videos.paths).toEqual([]);
    expect((await post('?details=true&images=false', videoBody(film, labels))).status).toBe(200);
  });

  test('a picture that cannot be made fails the request with a status of its own', async () => {
    const { ServiceError } = await import('../../../src/errors.ts');
    const onJpeg = async (timestamp: number) => {
      if (timestamp === 3) throw new ServiceError('video_broken', 'The frame at 3 s is damaged.');
    };
    const { status, text, left, videos } = await post('', videoBody(), { onJpeg });
    expect(status).toBe(422);
    expect(JSON.parse(text)).toEqual({ error: 'The frame at 3 s is damaged.', code: 'video_broken' });
    expect(videos.closed).toBe(1);
    expect(left).toEqual([]);
  });

  test('a bug is a 500 that says so; nothing is left behind', async () => {
    const { status, text, left, lines } = await post('', videoBody(), {
      onSearch: () => Promise.reject(new Error('secret inside')),
    });
    expect(status).toBe(500);
    expect(text).not.toContain('secret');
    expect(lines.find(({ level }) => level === 'error')?.fields).toMatchObject({
      err: expect.objectContaining({ message: 'secret inside' }),
    });
    expect(left).toEqual([]);
  });

  test('no file name or label is logged', async () => {
    const { lines } = await post('', videoBody(film, 'confidential', 'private.mp4'));
    expect(JSON.stringify(lines)).not.toMatch(/private|confidential/);
  });
});

describe('MAX_VIDEO_BYTES', () => {
  const environment = { MAX_VIDEO_BYTES: '100' };
  const sized = (bytes: number) => videoBody('x@1'.padEnd(bytes), 'cat');

  test('a video of exactly so many bytes is taken, one more is not', async () => {
    expect((await post('?images=false', sized(100), {}, environment)).status).toBe(200);
    const refused = await post('', sized(101), {}, environment);
    expect(refused.status).toBe(413);
    expect(JSON.parse(refused.text)).toEqual({
      error: expect.stringContaining('more than 100 bytes'),
      code: 'video_too_large',
    });
    expect(refused.left).toEqual([]);
  });

  test('one that declares to be far beyond it is refused unread', async () => {
    const refused = await post('', sized(6 * 1024 ** 2), {}, environment);
    expect(refused.status).toBe(413);
    expect(refused.lines[0]?.fields.bytes).toBe(0);
  });
});
