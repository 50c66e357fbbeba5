import { afterEach, describe, expect, jest, test } from 'bun:test';
import { CrowdedOut, createVideoPlaces, type Pausable } from '../../../src/media/video/video-places.ts';
import { settle } from '../../fixtures/settle.ts';

const MEBI = 1024 ** 2;
const memoryBytes = 900 * MEBI;
const stay = new AbortController().signal;

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

describe('memory for large pictures', () => {
  const pictureBytes = 200 * MEBI;
  const placesFor = () => createVideoPlaces({ running: 1, memoryBytes, pictureBytes });

  /** Says what has been granted, in order. */
  function recordGrants() {
    const granted: string[] = [];
    const record = <Granted>(name: string, waiting: Promise<Granted>): Promise<Granted> => {
      void waiting.then(() => granted.push(name));
      return waiting;
    };
    return { granted, record };
  }

  test('is their own first, and then the videos’', async () => {
    const places = placesFor();
    const film = await places.enter(stay);
    film.holds(850 * MEBI);
    using _own = await places.lend(200 * MEBI);
    const borrowing = places.lend(60 * MEBI);
    await settle();
    expect(places.waiting).toBe(1);
    film[Symbol.dispose]();
    using _borrowed = await borrowing;
    expect(places.waiting).toBe(0);
  });

  test('is never taken twice: pictures and videos wait for each other', async () => {
    const places = placesFor();
    const picture = await places.lend(1100 * MEBI);
    const waiting = places.enter(stay);
    await settle();
    expect([places.open, places.waiting]).toEqual([0, 1]);
    picture[Symbol.dispose]();
    using film = await waiting;
    film.holds(300 * MEBI);
    const large = places.lend(801 * MEBI);
    using _beside = await places.lend(800 * MEBI);
    expect(places.waiting).toBe(1);
    _beside[Symbol.dispose]();
    await settle();
    expect(places.waiting).toBe(1);
    film[Symbol.dispose]();
    using _large = await large;
  });

  test('may be all that there is', async () => {
    const places = placesFor();
    using _all = await places.lend(5000 * MEBI);
    const next = places.lend(1);
    await settle();
    expect(places.waiting).toBe(1);
    _all[Symbol.dispose]();
    using _next = await next;
  });

  test('is lent while another picture waits for more', async () => {
    const places = placesFor();
    using film = await places.enter(stay);
    film.holds(700 * MEBI);
    const large = places.lend(800 * MEBI);
    using _small = await places.lend(300 * MEBI);
    expect(places.waiting).toBe(1);
    film[Symbol.dispose]();
    using _large = await large;
    expect([places.open, places.waiting]).toEqual([0, 0]);
  });

  test('a video that outgrows what pictures leave has to end, the eldest as well', async () => {
    const places = placesFor();
    const film = await places.enter(stay);
    const picture = await places.lend(800 * MEBI);
    film.holds(300 * MEBI);
    expect(film.crowdedOut.aborted).toBe(false);
    film.holds(301 * MEBI);
    expect(film.crowdedOut.reason).toEqual(new CrowdedOut(301 * MEBI));
    film[Symbol.dispose]();
    // It knows now what it needs, and pictures wait for it.
    const again = places.enter(stay, 301 * MEBI);
    await settle();
    expect(places.waiting).toBe(1);
    picture[Symbol.dispose]();
    using retried = await again;
    const next = places.lend(800 * MEBI);
    retried.holds(340 * MEBI);
    await settle();
    expect([retried.crowdedOut.aborted, places.waiting]).toEqual([false, 1]);
    retried[Symbol.dispose]();
    using _next = await next;
  });

  test('a video keeps what it had before a picture was lent the rest', async () => {
    const places = placesFor();
    using film = await places.enter(stay);
    using second = await places.enter(stay);
    film.holds(300 * MEBI);
    second.holds(300 * MEBI);
    using _picture = await places.lend(500 * MEBI);
    film.holds(300 * MEBI);
    second.holds(300 * MEBI);
    expect([film.crowdedOut.aborted, second.crowdedOut.aborted]).toEqual([false, false]);
    second.holds(301 * MEBI);
    expect([film.crowdedOut.aborted, second.crowdedOut.aborted]).toEqual([false, true]);
  });

  test('a picture waits for open videos, not for those that wait', async () => {
    const places = placesFor();
    const { granted, record } = recordGrants();
    const film = await places.enter(stay);
    film.holds(800 * MEBI);
    const videos = [1, 2, 3].map((name) => record(`video ${name}`, places.enter(stay, 500 * MEBI)));
    const picture = record('picture', places.lend(800 * MEBI));
    await settle();
    expect(granted).toEqual([]);
    film[Symbol.dispose]();
    (await picture)[Symbol.dispose]();
    for (const video of videos) (await video)[Symbol.dispose]();
    expect(granted).toEqual(['picture', 'video 1', 'video 2', 'video 3']);
  });

  test('few pictures pass a waiting video', async () => {
    const places = placesFor();
    const { granted, record } = recordGrants();
    const first = await places.lend(1000 * MEBI);
    const video = record('video', places.enter(stay, 700 * MEBI));
    const pictures = Array.from({ length: 10 }, (_, n) => record(`${n}`, places.lend(1000 * MEBI)));
    first[Symbol.dispose]();
    for (const picture of pictures.slice(0, 8)) (await picture)[Symbol.dispose]();
    (await video)[Symbol.dispose]();
    for (const picture of pictures.slice(8)) (await picture)[Symbol.dispose]();
    expect(granted).toEqual(['0', '1', '2', '3', '4', '5', '6', '7', 'video', '8', '9']);
  });

  test('few pictures pass a waiting video beside a film, even if they are never all done', async () => {
    const places = createVideoPlaces({ running: 1, memoryBytes });
    const { granted, record } = recordGrants();
    using film = await places.enter(stay);
    film.holds(400 * MEBI);
    const lent = [await places.lend(200 * MEBI), await places.lend(200 * MEBI)];
    const video = record('video', places.enter(stay, 250 * MEBI));
    const pictures = Array.from({ length: 12 }, (_, n) => record(`${n}`, places.lend(200 * MEBI)));
    // Each is done before the one that came after it.
    for (const picture of pictures.slice(0, 8)) {
      lent.shift()?.[Symbol.dispose]();
      lent.push(await picture);
    }
    for (const picture of lent) picture[Symbol.dispose]();
    await settle();
    expect(granted.slice(0, 9)).toEqual(['0', '1', '2', '3', '4', '5', '6', '7', 'video']);
    (await video)[Symbol.dispose]();
    for (const picture of pictures.slice(8)) (await picture)[Symbol.dispose]();
    expect(places.waiting).toBe(0);
  });

  test('pictures pass a video that must not pass a picture, however often', async () => {
    const places = createVideoPlaces({ running: 1, memoryBytes });
    using film = await places.enter(stay);
    film.holds(400 * MEBI);
    const leaving = new AbortController();
    const large = places.lend(800 * MEBI, leaving.signal);
    const video = places.enter(stay, 250 * MEBI);
    for (let n = 0; n < 12; n++) (await places.lend(200 * MEBI))[Symbol.dispose]();
    expect([places.open, places.waiting]).toEqual([1, 2]);
    leaving.abort(new Error('gone'));
    await expect(large).rejects.toThrow('gone');
    using _video = await video;
  });

  test('later videos pass a picture that waits for a film only if they do not delay it', async () => {
    const places = placesFor();
    const { granted, record } = recordGrants();
    const film = await places.enter(stay);
    film.holds(500 * MEBI);
    const picture = record('picture', places.lend(900 * MEBI));
    const clip = await record('clip', places.enter(stay));
    const later = record('later', places.enter(stay));
    await settle();
    expect(granted).toEqual(['clip']);
    film[Symbol.dispose]();
    (await picture)[Symbol.dispose]();
    (await later)[Symbol.dispose]();
    clip[Symbol.dispose]();
    expect(granted).toEqual(['clip', 'picture', 'later']);
  });

  test('a picture that leaves the queue lets others pass', async () => {
    const places = placesFor();
    using film = await places.enter(stay);
    film.holds(690 * MEBI);
    const leaving = new AbortController();
    const picture = places.lend(1000 * MEBI, leaving.signal);
    const clip = places.enter(stay);
    await settle();
    expect([places.open, places.waiting]).toEqual([1, 2]);
    leaving.abort(new Error('gone'));
    expect(await picture.catch((reason: unknown) => reason)).toEqual(new Error('gone'));
    using _clip = await clip;
    expect(places.open).toBe(2);
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
