import { describe, expect, test } from 'bun:test';
import { temporaryFolder } from '../temporary-folder.ts';
import { answersOf, question } from './served.ts';

describe('a video', () => {
  test('is sent, and its progress told', async () => {
    const ended: unknown = {
      model: { name: 'fake', sha256: '', precision: 'fp32', embedding_dimension: 2, image_resolution: 2 },
      video: {
        duration: 10,
        width: 4,
        height: 2,
        frame_rate: 25,
        codec: 'h264',
        frames_considered: 3,
        scenes: 1,
      },
      results: [
        {
          category: 'cat',
          file: 'video-1.500.jpg',
          timestamp: 1.5,
          score: 0.9,
          similarity: 0.3,
          image: btoa('one'),
          scores: [],
          moments: [{ start: 1, end: 2, timestamp: 1.5, similarity: 0.3 }],
        },
        {
          category: 'dog',
          file: null,
          timestamp: null,
          score: 0.2,
          similarity: 0.1,
          image: null,
          scores: [],
        },
        {
          category: 'cow',
          file: 'video-1.500.jpg',
          timestamp: 1.5,
          score: 0.7,
          similarity: 0.2,
          image: btoa('one'),
          scores: [],
        },
      ],
      warnings: ['One frame is damaged.'],
    };
    const events = [
      { event: 'progress', data: { stage: 'uploading', bytes_done: 1 } },
      { event: 'progress', data: { stage: 'searching', seconds_done: 4, seconds_total: 10, frames: 1 } },
      { event: 'result', data: ended },
    ];
    const received: string[] = [];
    using server = Bun.serve({
      port: 0,
      async fetch(request) {
        const form = await request.formData();
        const video = form.get('video');
        received.push(new URL(request.url).search, String(form.get('categories')));
        received.push(video instanceof File ? await video.text() : '');
        const lines = events.map((event) => `${JSON.stringify(event)}\n`).join('');
        return new Response(lines, { headers: { 'content-type': 'application/x-ndjson' } });
      },
    });
    await using folder = await temporaryFolder();
    await folder.write({ 'film.mp4': 'a film' });
    const taken: unknown[] = [];
    const progress: unknown[] = [];
    const { video } = answersOf(`http://127.0.0.1:${server.port}`);
    const answer = await video({
      path: folder.at('film.mp4'),
      thorough: true,
      moments: true,
      onProgress: (done, total) => progress.push([done, total]),
      takeJpeg: async (timestamp, categories, jpeg) => {
        taken.push([timestamp, categories, new TextDecoder().decode(jpeg)]);
      },
    });
    expect(received).toEqual([
      '?details=true&top_k=2&threshold=0.5&images=true&thorough=true&moments=true',
      JSON.stringify(question.categories.labels),
      'a film',
    ]);
    expect(progress).toEqual([[4, 10]]);
    expect(taken).toEqual([[1.5, ['cat', 'cow'], 'one']]);
    expect(answer.warnings).toEqual(['One frame is damaged.']);
    expect(answer.frames.map(({ timestamp }) => timestamp)).toEqual([1.5, null, 1.5]);
    expect(answer.frames[0]?.moments).toEqual([{ start: 1, end: 2, timestamp: 1.5, similarity: 0.3 }]);
  });

  test('that is refused halfway through is told as the server tells it', async () => {
    const error = { error: 'The video is damaged.', code: 'video_broken' };
    using server = Bun.serve({
      port: 0,
      fetch: () => new Response(`${JSON.stringify({ event: 'error', data: error })}\n`),
    });
    await using folder = await temporaryFolder();
    await folder.write({ 'film.mp4': 'a film' });
    const { video } = answersOf(`http://127.0.0.1:${server.port}`);
    const searching = video({
      path: folder.at('film.mp4'),
      thorough: false,
      moments: false,
      onProgress: () => undefined,
    });
    expect(searching).rejects.toMatchObject({
      code: 'video_broken',
      message: 'The server says: The video is damaged.',
    });
  });
});
