import { describe, expect, test } from 'bun:test';
import { TransferRate } from '../../../src/clip/store/download.ts';

describe('TransferRate', () => {
  test('knows nothing before a pace can be seen', () => {
    const rate = new TransferRate();
    expect(rate.secondsLeft(100)).toBeUndefined();
    rate.add(0, 10);
    expect(rate.secondsLeft(100)).toBeUndefined();
  });

  test('expects the pace to go on', () => {
    const rate = new TransferRate();
    for (let second = 0; second <= 5; second++) rate.add(second * 1000, second * 100);
    expect(rate.secondsLeft(1500)).toBe(10);
  });

  test('does not count what an earlier attempt had brought', () => {
    const rate = new TransferRate();
    rate.add(0, 1000);
    rate.add(1000, 1100);
    expect(rate.secondsLeft(1600)).toBe(5);
  });

  test('forgets a pace of more than ten seconds ago', () => {
    const rate = new TransferRate();
    for (let second = 0; second <= 20; second++) rate.add(second * 1000, second * 1000);
    for (let second = 21; second <= 40; second++) rate.add(second * 1000, 20_000 + (second - 20) * 10);
    expect(rate.secondsLeft(20_200 + 100)).toBe(10);
  });

  test('starts over when the transfer does', () => {
    const rate = new TransferRate();
    rate.add(0, 0);
    rate.add(1000, 5000);
    rate.add(2000, 0);
    expect(rate.secondsLeft(100)).toBeUndefined();
    rate.add(3000, 10);
    expect(rate.secondsLeft(100)).toBe(9);
  });

  test('is not upset by many small steps', () => {
    const rate = new TransferRate();
    for (let step = 0; step <= 10_000; step++) rate.add(step, step);
    expect(rate.secondsLeft(20_000)).toBe(10);
  });
});
