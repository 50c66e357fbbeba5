import { expect, test } from 'bun:test';
import { frameName } from '../../src/contract/frame-name.ts';

test('a frame is named after its video and its time', () => {
  expect(frameName('holiday.mp4', 12.48)).toBe('holiday-12.480.jpg');
  expect(frameName('/films/beach.day.mkv', 0)).toBe('beach.day-0.000.jpg');
  expect(frameName('', 3599.9)).toBe('video-3599.900.jpg');
});

test('a name has the digits that lead back to the frame', () => {
  // Frames of 1/30 s: 33.333 ms rounded to 0.033 is before the frame, 66.667 ms rounded to 0.067 is after it.
  expect(frameName('a.mp4', 0.033333)).toBe('a-0.033333.jpg');
  expect(frameName('a.mp4', 0.066667)).toBe('a-0.066667.jpg');
  expect(frameName('a.mp4', 0.0625)).toBe('a-0.0625.jpg');
});
