import { afterEach, describe, expect, jest, test } from 'bun:test';
import { CrowdedOut, createVideoPlaces, type Pausable } from '../../../src/media/video/video-places.ts';

const MEBI = 1024 ** 2;
const memoryBytes = 900 * MEBI;
const stay = new AbortController().signal;

/** Lets all that has been promised happen. */
const settle = async () => {
  for (let turn = 0; turn < 20; turn++) await Promise.resolve();
};

/** Records the calls to a piece of work. */
function recorded(): Pausable & { readonly calls: string[] } {
  const calls: string[] = [];
  return { calls, pause: () => calls.push('pause'), resume: () => calls.push('resume') };
}

afterEach(() => {
  jest.useRealTimers();
});

describe('places for videos', () => {
  test('four are open at most; the next one comes when one leaves', async () => {
    const places = createVideoPlaces({ running: 1, memoryBytes });
    const open = await Promise.all(Array.from({ length: 4 }, () => places.enter(stay)));
    const fifth = places.enter(stay);
    await settle();
    expect([places.open, places.waiting]).toEqual([4, 1]);
    open[2]?.[Symbol.dispose]();
    using _ = await fifth;
    expect([places.open, places.waiting]).toEqual([4, 0]);
  });

  test('open videos may leave no memory for another', async () => {
    const places = createVideoPlaces({ running: 1, memoryBytes });
    using film = await places.enter(stay);
    film.holds(750 * MEBI);
    const waiting = places.enter(stay);
    await settle();
    expect([places.open, places.waiting]).toEqual([1, 1]);
    film[Symbol.dispose]();
    using _ = await waiting;
    expect(places.open).toBe(1);
  });

  test('a waiting video may leave', async () => {
    const places = createVideoPlaces({ running: 1, memoryBytes });
    using film = await places.enter(stay);
    film.holds(750 * MEBI);
    const leaving = new AbortController();
    const waiting = places.enter(leaving.signal);
    leaving.abort(new Error('gone'));
    expect(await waiting.catch((reason: unknown) => reason)).toEqual(new Error('gone'));
    expect([places.open, places.waiting]).toEqual([1, 0]);
  });

  test('the youngest is crowded out, and waits for the memory that it held', async () => {
    const places = createVideoPlaces({ running: 1, memoryBytes });
    const film = await places.enter(stay);
    const other = await places.enter(stay);
    film.holds(420 * MEBI);
    other.holds(400 * MEBI);
    expect(film.crowdedOut.aborted).toBe(false);
    expect(other.crowdedOut.reason).toEqual(new CrowdedOut(400 * MEBI));
    other[Symbol.dispose]();

    const again = places.enter(stay, 400 * MEBI);
    // It has room beside the film, and may pass.
    const clip = await places.enter(stay);
    expect([places.open, places.waiting]).toEqual([2, 1]);
    film[Symbol.dispose]();
    using _second = await again;
    expect([places.open, places.waiting]).toEqual([2, 0]);
    clip[Symbol.dispose]();
  });

  test('one that has waited for all open videos is not passed by later ones', async () => {
    const places = createVideoPlaces({ running: 1, memoryBytes });
    const film = await places.enter(stay);
    film.holds(420 * MEBI);
    const large = places.enter(stay, 600 * MEBI);
    const clip = await places.enter(stay);
    film[Symbol.dispose]();
    const next = places.enter(stay);
    await settle();
    expect([places.open, places.waiting]).toEqual([1, 2]);
    clip[Symbol.dispose]();
    using _large = await large;
    expect(places.open).toBe(1);
    _large[Symbol.dispose]();
    using _next = await next;
  });

  test('the eldest may have all of the memory', async () => {
    const places = createVideoPlaces({ running: 1, memoryBytes });
    using film = await places.enter(stay);
    using clip = await places.enter(stay);
    clip.holds(100 * MEBI);
    film.holds(850 * MEBI);
    expect(film.crowdedOut.aborted).toBe(false);
    expect(clip.crowdedOut.aborted).toBe(true);
  });
});

describe('turns', () => {
  test('one works until others wait, then they take turns', async () => {
    jest.useFakeTimers();
    const places = createVideoPlaces({ running: 1, memoryBytes, sliceMs: 1000, haltMs: 500 });
    const [film, clip] = [recorded(), recorded()];
    using filmPlace = await places.enter(stay);
    using clipPlace = await places.enter(stay);
    using filmTurn = await filmPlace.turn(film, stay);
    jest.advanceTimersByTime(10_000);
    expect(film.calls).toEqual([]);

    let isClips = false;
    const waiting = clipPlace.turn(clip, stay).then((turn) => {
      isClips = true;
      return turn;
    });
    jest.advanceTimersByTime(150);
    await settle();
    expect(film.calls).toEqual(['pause']);
    expect(isClips).toBe(false);
    filmTurn.halted();
    using clipTurn = await waiting;

    jest.advanceTimersByTime(1100);
    expect(clip.calls).toEqual(['pause']);
    clipTurn.halted();
    expect(film.calls).toEqual(['pause', 'resume']);
    // The clip waits again, and continues when the film is over.
    filmTurn[Symbol.dispose]();
    expect(clip.calls).toEqual(['pause', 'resume']);
  });

  test('one that does not halt does not delay the others', async () => {
    jest.useFakeTimers();
    const places = createVideoPlaces({ running: 1, memoryBytes, sliceMs: 1000, haltMs: 500 });
    using filmPlace = await places.enter(stay);
    using clipPlace = await places.enter(stay);
    using filmTurn = await filmPlace.turn(recorded(), stay);
    const waiting = clipPlace.turn(recorded(), stay);
    jest.advanceTimersByTime(1600);
    using _clipTurn = await waiting;
    // Too late: it waits already.
    filmTurn.halted();
  });

  test('a client that leaves frees its turn at once, working or waiting', async () => {
    const places = createVideoPlaces({ running: 1, memoryBytes });
    const filmPlace = await places.enter(stay);
    using clipPlace = await places.enter(stay);
    using nextPlace = await places.enter(stay);
    await filmPlace.turn(recorded(), stay);
    const leaving = new AbortController();
    const left = clipPlace.turn(recorded(), leaving.signal).catch((reason: unknown) => reason);
    const next = nextPlace.turn(recorded(), stay);
    leaving.abort(new Error('gone'));
    expect(await left).toEqual(new Error('gone'));
    filmPlace[Symbol.dispose]();
    using _turn = await next;
  });
});
