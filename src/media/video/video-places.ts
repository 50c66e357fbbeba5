import { createPermit, type Permit } from '../../semaphore.ts';

/**
 * Shares the processor and the memory between videos. Some videos are open, fewer are decoded at a time, and these
 * take turns: a long film delays a short clip by seconds only. All open videos share one memory budget, from which
 * large pictures borrow.
 */
export interface VideoPlaces {
  /** Videos that are open. */
  readonly open: number;
  /** Videos waiting to be opened, and pictures waiting for memory. */
  readonly waiting: number;
  /**
   * Waits until one more video may be opened.
   * @param expectedBytes memory that the video needs, if an earlier attempt showed it
   * @throws the signal's reason
   */
  enter(signal: AbortSignal, expectedBytes?: number): Promise<VideoPlace>;
  /**
   * Waits until there is so much memory for a picture, which needs it for seconds, and takes it. It waits for open
   * videos, and for few of those that are waiting.
   * @param bytes more than the whole memory is taken as all of it
   * @throws the signal's reason
   */
  lend(bytes: number, signal?: AbortSignal): Promise<Permit>;
}

/** Work that can halt on request. It reports when it has halted. */
export interface Pausable {
  /** Asks the work to halt. It then calls the turn's `halted`. */
  pause(): void;
  resume(): void;
}

/** One video's place among the open videos. Disposing it frees its memory and its turn. */
export interface VideoPlace extends Disposable {
  /**
   * Aborted with `CrowdedOut` when the decoder outgrows the memory that the others leave. The decoder must end.
   * Its video may be tried again in a place with the memory that it had reached.
   */
  readonly crowdedOut: AbortSignal;
  /**
   * Waits for a turn to work.
   * @throws the signal's reason
   */
  turn(work: Pausable, signal: AbortSignal): Promise<VideoTurn>;
  /** Reports how much memory the decoder holds now. */
  holds(bytes: number): void;
}

/** Permission to work. Disposing it lets another video work. */
export interface VideoTurn extends Disposable {
  /** Reports that the work has halted, so another video may work. */
  halted(): void;
}

/** A decoder had to end because others needed its memory. */
export class CrowdedOut extends Error {
  override readonly name = 'CrowdedOut';
  /** Memory that the decoder held. */
  readonly bytes: number;

  constructor(bytes: number) {
    super('a decoder was ended to leave memory to others');
    this.bytes = bytes;
  }
}

interface VideoPlacesOptions {
  /** Videos that are decoded at the same time. */
  readonly running: number;
  /** For the decoders of all open videos together. */
  readonly memoryBytes: number;
  /** For large pictures; what they need beyond it, they take from the videos' memory. Default: 0. */
  readonly pictureBytes?: number;
  readonly sliceMs?: number;
  readonly haltMs?: number;
}

/** Each open video holds memory and a file. More open videos would only make turns rarer. */
const MAX_OPEN = 4;
/** Memory of a decoder for 1080p, including its runtime. Small videos need 100 MiB. */
const USUAL_BYTES = 200 * 1024 ** 2;
/** Factor on the memory that a decoder held in an earlier attempt: it may grow further. */
const GROWTH = 1.2;
/** Pictures that may pass a waiting video, which then is first: a picture takes seconds, a video takes minutes. */
const MAX_PASSES = 8;
/** How long one video works while another waits. */
const SLICE_MS = 2000;
/**
 * A running call of the decoder cannot be interrupted. After this time the next video starts beside it, and the
 * system shares the processor between them.
 */
const HALT_MS = 1000;

interface Open {
  readonly expectedBytes: number;
  /** Memory that the decoder holds. */
  bytes: number;
  readonly crowding: AbortController;
}

interface Entering {
  readonly kind: 'video' | 'picture';
  readonly expectedBytes: number;
  /** Videos that were open when this one arrived. While one of them stays open, later videos may pass this one. */
  readonly before: Set<Open>;
  /** Pictures that came later and passed this one. */
  passes: number;
  grant(): void;
}

type Working = {
  readonly work: Pausable;
  state: 'waiting' | 'working' | 'halting' | 'over';
  /** Whether it has had a turn before. */
  begun: boolean;
  grant(): void;
  timer?: ReturnType<typeof setTimeout>;
};

export function createVideoPlaces(options: VideoPlacesOptions): VideoPlaces {
  const { running, memoryBytes, pictureBytes = 0, sliceMs = SLICE_MS, haltMs = HALT_MS } = options;
  const usual = Math.min(USUAL_BYTES, memoryBytes / MAX_OPEN);
  /** In order of arrival. */
  const open = new Set<Open>();
  /** In order of arrival, but pictures pass videos. */
  const entering: Entering[] = [];
  /** To pictures, their own memory included. */
  let lentBytes = 0;
  /** Videos waiting for a turn, in order. */
  const queue: Working[] = [];
  let working = 0;

  /** Of the videos' memory. */
  const borrowed = (moreBytes = 0): number => Math.max(0, lentBytes + moreBytes - pictureBytes);
  const reserved = (places: Iterable<Open>): number =>
    [...places].reduce((sum, place) => sum + Math.max(place.bytes, place.expectedBytes), 0);
  const fits = ({ kind, expectedBytes }: Entering): boolean =>
    kind === 'picture'
      ? borrowed(expectedBytes) + reserved(open) <= memoryBytes
      : videoFits(expectedBytes, borrowed());
  const videoFits = (expectedBytes: number, borrowedBytes: number): boolean => {
    if (open.size === 0 && borrowedBytes === 0) return true;
    return open.size < MAX_OPEN && borrowedBytes + reserved(open) + expectedBytes <= roomFor(expectedBytes);
  };

  /** A second large video leaves room for a small one beside both. */
  const roomFor = (bytes: number): number => (bytes > usual ? memoryBytes - usual : memoryBytes);

  /** Whether a waiter that is let in now does not delay a waiting picture. */
  const fitsBeside = ({ kind, expectedBytes }: Entering, picture: Entering): boolean => {
    if (kind === 'picture') return true;
    const later = [...open].filter((place) => !picture.before.has(place));
    return borrowed(picture.expectedBytes) + reserved(later) + expectedBytes <= memoryBytes;
  };

  const letIn = () => {
    let picture: Entering | undefined;
    for (let at = 0; at < entering.length; ) {
      const waiter = entering[at]!;
      const mayPass = !picture || fitsBeside(waiter, picture);
      if (mayPass && fits(waiter)) {
        entering.splice(at, 1);
        waiter.grant();
      } else if (waiter.before.size === 0) {
        // It has waited for every video that was open at its arrival. No later one may take the room that it needs.
        return;
      } else if (mayPass && waiter.passes >= MAX_PASSES && videoFits(waiter.expectedBytes, 0)) {
        // It waits only for pictures, of which enough have passed it.
        return;
      } else {
        if (waiter.kind === 'picture') picture ??= waiter;
        at++;
      }
    }
  };

  /**
   * Waits to be let in.
   * @param grant called at that moment; returns what the caller gets
   */
  const queued = <Granted>(
    kind: Entering['kind'],
    expectedBytes: number,
    grant: () => Granted,
    signal: AbortSignal | undefined,
  ): Promise<Granted> => {
    if (signal?.aborted) return Promise.reject(signal.reason);
    return new Promise((resolve, reject) => {
      const leave = () => {
        entering.splice(entering.indexOf(waiter), 1);
        reject(signal?.reason);
        letIn();
      };
      const waiter: Entering = {
        kind,
        expectedBytes,
        before: new Set(open),
        passes: 0,
        grant() {
          signal?.removeEventListener('abort', leave);
          resolve(grant());
        },
      };
      signal?.addEventListener('abort', leave, { once: true });
      entering.splice(placeInQueue(kind), 0, waiter);
      letIn();
    });
  };

  /** @returns where a waiter queues; of a picture, behind the last waiter that it may not pass */
  const placeInQueue = (kind: Entering['kind']): number => {
    if (kind === 'video') return entering.length;
    const last = entering.findLastIndex((waiter) => waiter.kind === 'picture' || waiter.passes >= MAX_PASSES);
    for (const passed of entering.slice(last + 1)) passed.passes++;
    return last + 1;
  };

  const next = () => {
    while (working < running) {
      const first = queue.shift();
      if (!first) return;
      working++;
      first.state = 'working';
      if (first.begun) first.work.resume();
      else {
        first.begun = true;
        first.grant();
      }
      first.timer = setTimeout(() => endSlice(first), sliceMs);
    }
  };

  /** Gives the processor to the next waiting video. */
  const endSlice = (one: Working) => {
    if (one.state !== 'working') return;
    if (queue.length === 0) {
      one.timer = setTimeout(() => endSlice(one), sliceMs / 10);
      return;
    }
    one.state = 'halting';
    one.work.pause();
    one.timer = setTimeout(() => halt(one), haltMs);
  };

  const halt = (one: Working) => {
    if (one.state !== 'halting') return;
    clearTimeout(one.timer);
    one.state = 'waiting';
    working--;
    queue.push(one);
    next();
  };

  const leaveTurn = (one: Working) => {
    const { state } = one;
    one.state = 'over';
    clearTimeout(one.timer);
    if (state === 'waiting') queue.splice(queue.indexOf(one), 1);
    else if (state !== 'over') working--;
    next();
  };

  /** Ends the newest videos that hold memory others need. The oldest may have all that is not lent. */
  const makeRoom = () => {
    const [eldest] = open;
    const videos = [...open];
    const held = videos.reduce((sum, { bytes }) => sum + bytes, 0);
    const youngest = videos.findLast(({ crowding }) => !crowding.signal.aborted);
    // Ended videos free their memory shortly.
    const ending = videos.some(({ crowding }) => crowding.signal.aborted);
    if (!youngest || ending) return;
    const isAlone = youngest === eldest;
    // Pictures may have the room for a small video, too: they give it back within seconds.
    const isCrowded = isAlone
      ? borrowed() > 0 && held + borrowed() > memoryBytes
      : held > roomFor(youngest.bytes) || held + borrowed() > memoryBytes;
    if (isCrowded) youngest.crowding.abort(new CrowdedOut(youngest.bytes));
  };

  const placeOf = (expectedBytes: number): VideoPlace => {
    const place: Open = { expectedBytes, bytes: 0, crowding: new AbortController() };
    const turns = new Set<Working>();
    open.add(place);
    return {
      crowdedOut: place.crowding.signal,
      async turn(work, signal) {
        signal.throwIfAborted();
        const { promise, resolve, reject } = Promise.withResolvers<void>();
        const one: Working = { work, state: 'waiting', begun: false, grant: resolve };
        const leave = () => {
          turns.delete(one);
          leaveTurn(one);
          reject(signal.reason);
        };
        signal.addEventListener('abort', leave, { once: true });
        turns.add(one);
        queue.push(one);
        next();
        try {
          await promise;
        } finally {
          signal.removeEventListener('abort', leave);
        }
        return {
          halted: () => halt(one),
          [Symbol.dispose]() {
            turns.delete(one);
            leaveTurn(one);
          },
        };
      },
      holds(bytes) {
        place.bytes = bytes;
        makeRoom();
      },
      [Symbol.dispose]() {
        for (const one of turns) leaveTurn(one);
        turns.clear();
        open.delete(place);
        for (const { before } of entering) before.delete(place);
        letIn();
      },
    };
  };

  return {
    get open() {
      return open.size;
    },
    get waiting() {
      return entering.length;
    },
    enter(signal, expectedBytes) {
      const expected = Math.min(memoryBytes, Math.max(usual, (expectedBytes ?? 0) * GROWTH));
      return queued('video', expected, () => placeOf(expected), signal);
    },
    lend(bytes, signal) {
      const taken = Math.min(bytes, memoryBytes + pictureBytes);
      const lend = (): Permit => {
        lentBytes += taken;
        return createPermit(() => {
          lentBytes -= taken;
          letIn();
        });
      };
      return queued('picture', taken, lend, signal);
    },
  };
}
