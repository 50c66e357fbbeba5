import type { VideoDetails } from '../../src/contract/schemas.ts';

/** The answer for a video of ten seconds: one frame is the best for two categories. */
export const videoDetails: VideoDetails = {
  model: { name: 'demo', sha256: '00', precision: 'fp32', embedding_dimension: 64, image_resolution: 224 },
  video: {
    duration: 10,
    width: 640,
    height: 360,
    frame_rate: 25,
    codec: 'h264',
    frames_considered: 4,
    scenes: 3,
  },
  results: [
    {
      category: 'cat',
      file: 'film-2.000.jpg',
      timestamp: 2,
      score: 0.6,
      similarity: 0.3,
      image: '/9j/',
      scores: [
        { timestamp: 2, score: 0.6, similarity: 0.3 },
        { timestamp: 5, score: 0.4, similarity: 0.2 },
        { timestamp: 7, score: 0.1, similarity: 0.1 },
      ],
      moments: [
        { start: 1.5, end: 3, timestamp: 2, similarity: 0.3 },
        { start: 0.5, end: 1, timestamp: 0.8, similarity: 0.25 },
      ],
    },
    {
      category: 'dog',
      file: 'film-2.000.jpg',
      timestamp: 2,
      score: 0.9,
      similarity: 0.4,
      image: '/9j/',
      scores: [{ timestamp: 2, score: 0.9, similarity: 0.4 }],
    },
    {
      category: 'bird',
      file: 'film-0.500.jpg',
      timestamp: 0.5,
      score: 0.2,
      similarity: 0.1,
      image: '/9j/',
      scores: [{ timestamp: 0.5, score: 0.2, similarity: 0.1 }],
    },
  ],
  warnings: [],
};
