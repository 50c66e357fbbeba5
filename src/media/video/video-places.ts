/**
 * Serves several videos fairly: some are open, fewer are decoded at a time, and those take turns. A long film keeps
 * a short clip waiting for some seconds only. All open ones together stay within the memory of those that run.
 */
export interface VideoPlaces {
  /** Videos that are open. */
  readonly open: number;
  /** Videos that wait to be opened. */
  readonly waiting: number;
  /**
   * Waits until one more video may be opened.
   * @param expectedBytes of memory, where it is known from before
   * @throws the signal's reason
   */
  enter(signal: AbortSignal, expectedBytes?: number): Promise<VideoPlace>;
}

/** What can be made to wait, by its own doing: it says so when it has come to a halt. */
export interface Pausable {
  /** Asks it to halt; it calls the turn's `halted` soon. */
  pause(): void;
  resume(): void;
}

/** One video's place among the open ones; disposing it gives everything back, a turn, too. */
export interface VideoPlace extends Disposable {
  /**
   * Aborted with `CrowdedOut` where its decoder has outgrown what the others leave: it ends, and its video may be
   * tried again in a place of the memory that it had come to.
   */
  readonly crowdedOut: AbortSignal;
  /**
   * Waits for a turn to work.
   * @throws the signal's reason
   */
  turn(work: Pausable, signal: AbortSignal): Promise<VideoTurn>;
  /** Says how much memory its decoder holds now. */
  holds(bytes: number): void;
}

/** Disposing it lets others work. */
export interface VideoTurn extends Disposable {
  /** The work has come to a halt: another one goes on meanwhile. */
  halted(): void;
}

/** A decoder had to end because others needed the memory. */
export class CrowdedOut extends Error {
  override readonly name = 'CrowdedOut';
  /** What it held. */
  readonly bytes: number;

  constructor(bytes: number) {
    super('a decoder was ended to leave memory to others');
    this.bytes = bytes;
  }
}

export interface VideoPlacesOptions {
  /** Videos that are decoded at the same time. */
  readonly running: number;
  /** For the decoders of all open videos together. */
  readonly memoryBytes: number;
  readonly sliceMs?: number;
  readonly haltMs?: number;
}

/** Each open one holds memory and a file: more of them would only make every turn rarer. */
const MAX_OPEN = 4;
/** What a decoder takes for 1080p, its runtime included; small ones take 100 MiB. */
const USUAL_BYTES = 200 * 1024 ** 2;
/** A decoder that has held so much of it may grow by so much again. */
const GROWTH = 1.2;
/** How long one works while another waits. */
const SLICE_MS = 2000;
/**
 * A call of the decoder does not end sooner for being asked. The next one begins beside it then, and the system
 * shares the processor between them.
 */
const HALT_MS = 1000;

interface Open {
  readonly expectedBytes: number;
  /** What its decoder holds. */
  bytes: number;
  readonly crowding: AbortController;
}

interface Entering {
  readonly expectedBytes: number;
  /** Those that were open when it came: while one of them stays, others may pass. */
  readonly before: Set<Open>;
  grant(): void;
}

type Working = {
  readonly work: Pausable;
  state: 'waiting' | 'working' | 'halting' | 'over';
  /** It was granted a turn before. */
  begun: boolean;
  grant(): void;
  timer?: ReturnType<typeof setTimeout>;
};

export function createVideoPlaces(options: VideoPlacesOptions): VideoPlaces {
  const { running, memoryBytes, sliceMs = SLICE_MS, haltMs = HALT_MS } = options;
  const usual = Math.min(USUAL_BYTES, memoryBytes / MAX_OPEN);
  /** In the order in which they came. */
  const open = new Set<Open>();
  const entering: Entering[] = [];
  /** Waiting for a turn, in their order. */
  const queue: Working[] = [];
  let working = 0;

  const reserved = (place: Open): number => Math.max(place.bytes, place.expectedBytes);
  const fits = ({ expectedBytes }: Entering): boolean => {
    if (open.size === 0) return true;
    const taken = [...open].reduce((sum, place) => sum + reserved(place), 0);
    return open.size < MAX_OPEN && taken + expectedBytes <= roomFor(expectedBytes);
  };

  /** A second large one leaves room for a small one beside both. */
  const roomFor = (bytes: number): number => (bytes > usual ? memoryBytes - usual : memoryBytes);

  const letIn = () => {
    for (let at = 0; at < entering.length; ) {
      const waiter = entering[at] as Entering;
      if (fits(waiter)) {
        entering.splice(at, 1);
        waiter.grant();
      } else if (waiter.before.size === 0) {
        // It has waited for all who were there before: no other may take the room that it needs.
        return;
      } else {
        at++;
      }
    }
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

  /** Gives the processor to another one, if one waits. */
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

  /** Ends the youngest ones that hold what others need. The eldest stays: it may have all. */
  const makeRoom = () => {
    const [eldest, ...younger] = open;
    if (!eldest) return;
    const held = [...open].reduce((sum, { bytes }) => sum + bytes, 0);
    const youngest = younger.findLast(({ crowding }) => !crowding.signal.aborted);
    // Those that were ended give their memory back in a moment.
    const ending = younger.some(({ crowding }) => crowding.signal.aborted);
    if (!youngest || ending || held <= roomFor(youngest.bytes)) return;
    youngest.crowding.abort(new CrowdedOut(youngest.bytes));
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
      if (signal.aborted) return Promise.reject(signal.reason);
      const expected = Math.min(memoryBytes, Math.max(usual, (expectedBytes ?? 0) * GROWTH));
      return new Promise((resolve, reject) => {
        const leave = () => {
          entering.splice(entering.indexOf(waiter), 1);
          reject(signal.reason);
          letIn();
        };
        const waiter: Entering = {
          expectedBytes: expected,
          before: new Set(open),
          grant() {
            signal.removeEventListener('abort', leave);
            resolve(placeOf(expected));
          },
        };
        signal.addEventListener('abort', leave, { once: true });
        entering.push(waiter);
        letIn();
      });
    },
  };
}
