import { expect, test } from 'bun:test';
import { totalmem } from 'node:os';
import { memoryLimitBytes } from '../src/memory-limit.ts';

const GIBI = 1024 ** 3;

test.each([
  ['what the cgroup grants', GIBI, GIBI],
  ['no more than the machine has', 64 * GIBI, 8 * GIBI],
  ['what the machine has where a cgroup has no limit', 2 ** 63, 8 * GIBI],
  ['what the machine has where there is no cgroup', 0, 8 * GIBI],
])('the memory limit is %s', (_, granted, limit) => {
  expect(memoryLimitBytes(granted, 8 * GIBI)).toBe(limit);
});

test('it is asked of the system', () => {
  expect(memoryLimitBytes()).toBeGreaterThan(0);
  expect(memoryLimitBytes()).toBeLessThanOrEqual(totalmem());
});
