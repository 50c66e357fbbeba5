import { describe, expect, test } from 'bun:test';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { clipRecipes, eventKinds, quickRecipes } from './clip-recipes.ts';
import { bestAt, evenly, everySecond, quantile, regretOf, shownAt, truthOf } from './regret.ts';

describe('regret', () => {
  const times = [0, 0.5, 1, 1.5, 2];
  const similarities = Float64Array.of(0.2, 0.3, 0.25, 0.6, 0.4);

  test('is the share of the range that the winner falls short of the best frame', () => {
    const truth = truthOf(times, similarities);
    expect(truth).toEqual({ best: 0.6, worst: 0.2, bestTime: 1.5 });
    expect(regretOf(truth, 0.6)).toBe(0);
    expect(regretOf(truth, 0.4)).toBeCloseTo(0.5);
    expect(regretOf(truth, 0.2)).toBe(1);
    expect(regretOf(truth, 0.61)).toBe(0);
  });

  test('of other choices counts the frame that is shown at a time', () => {
    expect([-1, 0, 0.49, 0.5, 1.99, 9].map((second) => shownAt(times, second))).toEqual([0, 0, 0, 1, 3, 4]);
    expect(everySecond(2.5)).toEqual([0, 1, 2]);
    expect(bestAt(everySecond(2.5), times, similarities)).toBe(0.4);
    expect(evenly(2, 2)).toEqual([0.5, 1.5]);
    expect(bestAt(evenly(2, 2), times, similarities)).toBe(0.6);
  });

  test('is summed up by values that occur', () => {
    const values = [0.4, 0, 0.1, 0.3, 0.2, 0.5, 0.6, 0.7, 0.8, 0.9];
    expect([0.5, 0.75, 0.9, 1].map((share) => quantile(values, share))).toEqual([0.4, 0.7, 0.8, 0.9]);
  });
});

test('the clips are always the same, with enough events of each kind', () => {
  const planted = clipRecipes().filter(({ set }) => set === 'planted');
  const events = planted.flatMap((recipe) => recipe.events);
  expect(events.length).toBeGreaterThan(350);
  for (const kind of eventKinds) {
    expect(events.filter((event) => event.kind === kind).length).toBeGreaterThan(50);
  }
  expect(clipRecipes()).toEqual(clipRecipes());
  for (const { seconds, events: own } of clipRecipes()) {
    for (const event of own) expect(event.start + event.seconds).toBeLessThanOrEqual(seconds);
    expect(new Set(own.map(({ colour }) => colour)).size).toBe(own.length);
  }
  expect(quickRecipes(60).flatMap((recipe) => recipe.events).length).toBeGreaterThanOrEqual(60);
});

test.if(process.platform === 'linux')('a winner is compared with all frames of a clip', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'bench-'));
  try {
    const json = join(folder, 'report.json');
    const [clip] = quickRecipes(60).filter(({ encoder, width }) => encoder === 'libx264' && width === 320);
    const options = [
      '--only',
      'regret',
      '--quick',
      '--scenarios',
      `planted ${clip?.number}:`,
      '--json',
      json,
    ];
    const program = Bun.spawn([process.execPath, join(import.meta.dir, '../main.ts'), ...options], {
      stdout: 'pipe',
      stderr: 'ignore',
    });
    const printed = await new Response(program.stdout).text();
    expect(await program.exited).toBe(0);
    expect(printed).toContain('## From the best of all frames to the winner, demo');
    const { measured } = (await Bun.file(json).json()).findings.regret;
    expect(measured.length).toBe(1);
    const [{ pairs, searches }] = measured;
    expect(searches.service.framesConsidered).toBeGreaterThan(0);
    // What the service reports is the similarity of the frame that it names.
    for (const { chosen } of pairs) {
      expect(chosen.service).toMatchObject({ isOther: false });
      expect(chosen.service.regret).toBeGreaterThanOrEqual(0);
      expect(chosen.service.regret).toBeLessThan(1.05);
    }
  } finally {
    await rm(folder, { recursive: true });
  }
});
