import { describe, expect, test } from 'bun:test';
import { bytes, count, duration, percent, timecode } from '../../src/page/view/numbers.ts';

describe('numbers for a person', () => {
  test.each([
    [0, '0 %'],
    [0.0004, '<0.1 %'],
    [0.0312, '3.1 %'],
    [0.5, '50 %'],
    [0.996, '99.6 %'],
    [0.9999, '>99.9 %'],
    [1, '100 %'],
  ])('a share of %p is %s', (share, text) => {
    expect(percent(share)).toBe(text);
  });

  test.each([
    [1, '1 byte'],
    [999, '999 bytes'],
    [1500, '1.5 KB'],
    [178_000, '178 KB'],
    [999_800, '1.0 MB'],
    [4_000_000_000, '4.0 GB'],
  ])('%p bytes are %s', (value, text) => {
    expect(bytes(value)).toBe(text);
  });

  test.each([
    [0.2, '1 s'],
    [59.6, '1 min'],
    [125, '2 min 5 s'],
    [3600, '1 h'],
    [3780, '1 h 3 min'],
  ])('%p seconds last %s', (seconds, text) => {
    expect(duration(seconds)).toBe(text);
  });

  test.each([
    [0, '0:00.0'],
    [12.48, '0:12.4'],
    [7.3, '0:07.3'],
    [3723.05, '1:02:03.0'],
  ])('%p seconds into a video is %s', (seconds, text) => {
    expect(timecode(seconds)).toBe(text);
  });

  test('things are counted in words', () => {
    expect([count(1, 'photo'), count(1000, 'photo'), count(2, 'category', 'categories')]).toEqual([
      '1 photo',
      '1,000 photos',
      '2 categories',
    ]);
  });
});
