import { describe, expect, test } from 'bun:test';
import { totalmem } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { createVideoPlaces, type VideoPlace } from '../src/media/video/video-places.ts';
import {
  type MemoryPlan,
  memoryLimitBytes,
  memoryRows,
  memoryShortage,
  planMemory,
  sumOf,
} from '../src/memory-plan.ts';
import type { Permit } from '../src/semaphore.ts';
import { settle } from './fixtures/settle.ts';

const MEBI = 1024 ** 2;
const GIBI = 1024 ** 3;

const stay = new AbortController().signal;

const planFor = (limitBytes: number, threads = 2): MemoryPlan =>
  planMemory({ limitBytes, threads, files: 10_000 });

describe('the memory plan', () => {
  const machines = [1, 2, 3, 4, 16].flatMap((gibibytes) =>
    [1, 2, 4, 64].map((threads) => [gibibytes, threads] as const),
  );
  test.each(machines)('fits into %d GiB with %d cores', (gibibytes, threads) => {
    const limit = gibibytes * GIBI;
    const plan = planFor(limit, threads);
    expect(sumOf(plan)).toBeLessThanOrEqual(limit);
    expect(memoryShortage(plan, limit)).toBeUndefined();
  });

  test.each(machines)(
    'leaves room for the model beside any one ceiling in %d GiB with %d cores',
    (gibibytes, threads) => {
      const plan = planFor(gibibytes * GIBI, threads);
      const ceilings = Object.entries(plan).filter(
        ([name]) => name.endsWith('Bytes') && name !== 'modelBytes',
      );
      expect(ceilings.length).toBeGreaterThan(8);
      for (const [name, bytes] of ceilings) {
        expect([name, plan.modelBytes + bytes]).toEqual([
          name,
          Math.min(plan.modelBytes + bytes, gibibytes * GIBI),
        ]);
      }
    },
  );

  test.each(machines)(
    'leaves the largest picture its memory, of its own and of videos, in %d GiB with %d cores',
    (gibibytes, threads) => {
      const plan = planFor(gibibytes * GIBI, threads);
      const { largePictureBytes, videoBytes, maxDecodeBytes } = plan;
      expect(largePictureBytes + videoBytes).toBeGreaterThanOrEqual(maxDecodeBytes);
      expect(sumOf(plan) + largePictureBytes).toBeLessThanOrEqual(gibibytes * GIBI);
    },
  );

  const events = fc.array(
    fc.record({
      what: fc.constantFrom('open', 'close', 'grow', 'lend', 'return'),
      /** Which one, or how much. */
      share: fc.double({ min: 0, max: 1, noNaN: true }),
    }),
    { maxLength: 60 },
  );
  test.each(machines)(
    'is kept by whatever videos and large pictures arrive, in %d GiB with %d cores',
    async (gibibytes, threads) => {
      const limit = gibibytes * GIBI;
      const plan = planFor(limit, threads);
      const others = plan.modelBytes + plan.towerCopiesBytes + plan.requestBytes;
      await fc.assert(
        fc.asyncProperty(events, async (arriving) => {
          const places = createVideoPlaces({
            running: plan.videosAtOnce,
            memoryBytes: plan.videoBytes,
            pictureBytes: plan.largePictureBytes,
          });
          const videos = new Map<VideoPlace, number>();
          const pictures = new Map<Permit, number>();
          const waiting: Promise<unknown>[] = [];
          const oneOf = <Key>(map: ReadonlyMap<Key, number>, share: number): Key | undefined =>
            [...map.keys()][Math.floor(share * map.size)];
          const close = (video: VideoPlace | undefined) => {
            if (video && videos.delete(video)) video[Symbol.dispose]();
          };
          const giveBack = (picture: Permit | undefined) => {
            if (picture && pictures.delete(picture)) picture[Symbol.dispose]();
          };
          const perform = {
            open: () => waiting.push(places.enter(stay).then((video) => videos.set(video, 0))),
            close: (share: number) => close(oneOf(videos, share)),
            grow(share: number) {
              const video = oneOf(videos, share);
              if (!video) return;
              const bytes = share * plan.videoProcessBytes;
              videos.set(video, bytes);
              video.holds(bytes);
              // A decoder that must end does so; then the next one may have to.
              for (let crowded = true; crowded; ) {
                const [ending] = [...videos.keys()].filter((one) => one.crowdedOut.aborted);
                close(ending);
                crowded = ending !== undefined;
                for (const [one, held] of videos) one.holds(held);
              }
            },
            lend(share: number) {
              const bytes = plan.usualPictureBytes + share * (plan.maxDecodeBytes - plan.usualPictureBytes);
              waiting.push(places.lend(bytes).then((picture) => pictures.set(picture, bytes)));
            },
            return: (share: number) => giveBack(oneOf(pictures, share)),
          };
          for (const { what, share } of arriving) {
            perform[what](share);
            await settle();
            const held = [...videos.values(), ...pictures.values()].reduce((sum, bytes) => sum + bytes, 0);
            expect(others + held).toBeLessThanOrEqual(limit);
          }
          // Nothing waits forever.
          while (places.waiting > 0) {
            for (const video of videos.keys()) close(video);
            for (const picture of pictures.keys()) giveBack(picture);
            await settle();
          }
          await Promise.all(waiting);
        }),
        { numRuns: 100 },
      );
    },
  );

  test('keeps the budgets that were measured with 2 GiB', () => {
    expect(planFor(2 * GIBI)).toMatchObject({
      videoBytes: 900 * MEBI,
      videoProcessBytes: 900 * MEBI,
      videosAtOnce: 1,
      pictureUploads: 512,
      videoUploads: 128,
      partBytes: 256 * MEBI,
      keptBytes: 128 * MEBI,
      labelBytes: 64 * MEBI,
      answerBytes: 128 * MEBI,
      temporaryMemoryBytes: 512 * MEBI,
      undecodedBytes: 128 * MEBI,
      tiledBytes: 32 * MEBI,
      decodeBytes: 0.2 * 2 * GIBI,
      maxDecodeBytes: 0.4 * 2 * GIBI,
      usualPictureBytes: 0.05 * 2 * GIBI,
      pictureProcesses: 2,
      isolatedAtOnce: 4,
      garbageBytes: 48 * MEBI,
    });
  });

  test('gives a video decoder in 1 GiB only what the model and requests leave, which is enough for 4K', () => {
    const { videoProcessBytes } = planFor(GIBI);
    expect(videoProcessBytes).toBeLessThan(900 * MEBI);
    expect(videoProcessBytes).toBeGreaterThan(400e6);
  });

  test.each([1, 2, 4])('counts the wider weights of processors without VNNI in %d GiB', (gibibytes) => {
    const limitBytes = gibibytes * GIBI;
    const plan = planMemory({ limitBytes, threads: 2, files: 10_000, wideWeights: true });
    expect(plan.modelBytes - planFor(limitBytes).modelBytes).toBe(80 * MEBI);
    expect(memoryShortage(plan, limitBytes)).toBeUndefined();
    expect(plan.videoProcessBytes).toBeGreaterThan(400e6);
    // Nothing but the videos of 1 GiB, the copies and what is left gets smaller for it.
    const { modelBytes, videoBytes, videoProcessBytes, towerCopiesBytes, largePictureBytes, ...others } =
      plan;
    expect(planFor(limitBytes)).toMatchObject(others);
  });

  test('gives two video decoders the memory for 8K in HEVC with 10 bits from 3.5 GiB on', () => {
    expect(planFor(3.5 * GIBI, 4)).toMatchObject({ videosAtOnce: 2, videoProcessBytes: 1400 * MEBI });
    expect(planFor(64 * GIBI, 4)).toMatchObject({ videosAtOnce: 2, videoBytes: 2800 * MEBI });
  });

  test('copies the vision tower from what the others leave', () => {
    expect(planFor(GIBI).towerCopiesBytes).toBe(0);
    expect(planFor(64 * GIBI, 1).towerCopiesBytes).toBe(0);
    for (const [gibibytes, threads] of [
      [1.8, 2],
      [2, 2],
      [2, 4],
      [3, 2],
      [4, 4],
    ] as const) {
      expect(planFor(gibibytes * GIBI, threads).towerCopiesBytes).toBeGreaterThanOrEqual(256 * MEBI);
    }
    expect(planFor(2 * GIBI)).toMatchObject({ towerCopiesBytes: 256 * MEBI, videoBytes: 900 * MEBI });
    expect(planFor(64 * GIBI, 64).towerCopiesBytes).toBe(GIBI);
  });

  test.each([
    [1.9, 0],
    [2, 2 * 176 * MEBI],
  ])('in %d GiB, copies of wide weights may take %d bytes', (gibibytes, bytes) => {
    const machine = { limitBytes: gibibytes * GIBI, threads: 2, files: 10_000, wideWeights: true };
    expect(planMemory(machine).towerCopiesBytes).toBe(bytes);
  });

  test('decodes two videos at once where there are the cores and the memory', () => {
    expect(planFor(4 * GIBI, 4).videosAtOnce).toBe(2);
    expect(planFor(4 * GIBI, 3).videosAtOnce).toBe(1);
    expect(planFor(2 * GIBI, 64).videosAtOnce).toBe(1);
    expect(planFor(64 * GIBI, 64).videosAtOnce).toBe(2);
  });

  test('has a picture process for each core, while there is memory for it', () => {
    expect(planFor(GIBI, 8).pictureProcesses).toBe(2);
    expect(planFor(2 * GIBI, 8).pictureProcesses).toBe(4);
    expect(planFor(2 * GIBI, 1).pictureProcesses).toBe(1);
  });

  test.each([1, 1024, MEBI, 64 * MEBI, 256 * MEBI, 400 * MEBI])('says that %d bytes are too few', (limit) => {
    const plan = planFor(limit);
    for (const [name, value] of Object.entries(plan)) {
      expect([name, Number.isFinite(value) && value >= 0]).toEqual([name, true]);
    }
    expect(memoryShortage(plan, limit)).toStartWith('The memory limit of ');
    expect(memoryShortage(plan, limit)).toContain('is too small');
    expect(memoryShortage(plan, limit)).not.toContain('MAX_FILES');
  });

  test('says that MAX_FILES needs more memory than there is', () => {
    const plan = planMemory({ limitBytes: 2 * GIBI, threads: 2, files: 1_000_000 });
    expect(plan.keptBytes).toBe(1_000_000 * 3 * 1024);
    expect(memoryShortage(plan, 2 * GIBI)).toContain('or a smaller MAX_FILES');
  });
});

test('docs/memory.md has the table of the plan', async () => {
  const plans = [1, 2, 8].map((gibibytes) => planFor(gibibytes * GIBI, 4));
  const shown = (name: string, value = 0) =>
    name.endsWith('Bytes') ? `${Math.round(value / MEBI)} MiB` : String(value);
  const rows = Object.entries(memoryRows).map(([name, { why }]) => {
    const values = plans.map((plan) => shown(name, plan[name as keyof MemoryPlan]));
    return `| \`${name}\` | ${values.join(' | ')} | ${why} |`;
  });
  const document = await Bun.file(join(import.meta.dir, '../docs/memory.md')).text();
  expect(document.split('\n').filter((line) => line.startsWith('| `'))).toEqual(rows);
});

describe('the memory limit', () => {
  test.each([
    ['what the control group grants', GIBI, GIBI],
    ['no more than the machine has', 64 * GIBI, 8 * GIBI],
    ['what the machine has where a control group has no limit', 2 ** 63, 8 * GIBI],
    ['what the machine has where there is no control group', 0, 8 * GIBI],
  ])('is %s', (_, granted, limit) => {
    expect(memoryLimitBytes(granted, 8 * GIBI)).toBe(limit);
  });

  test('is asked of the system', () => {
    expect(memoryLimitBytes()).toBeGreaterThan(0);
    expect(memoryLimitBytes()).toBeLessThanOrEqual(totalmem());
  });
});
