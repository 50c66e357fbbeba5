import { ServiceError } from '../errors.ts';

/** What requests share. Counts and bytes; nothing of it is ever waited for without end. */
export interface ResourceLimits {
  /** Requests to /categorize and /image whose bodies are not complete. */
  readonly pictureUploads: number;
  /** Requests to /video whose bodies are not complete. */
  readonly videoUploads: number;
  /** Memory for parts that are incomplete, or wait for the engine. What does not fit goes to the temporary folder. */
  readonly partBytes: number;
  /** Memory for what a request holds until it is answered: categories, names, embeddings, rankings. */
  readonly keptBytes: number;
  /** Memory for encoding long lists of categories; short ones count as kept. */
  readonly labelBytes: number;
  /** Memory for large answers that are on their way. */
  readonly answerBytes: number;
  /** Space in the temporary folder. */
  readonly temporaryBytes: number;
}

export type Resource = keyof ResourceLimits;

/** How long a request waits for its client, in all. */
export interface Patience {
  /** A client may be waited for this long while nothing comes, or while it takes nothing. */
  readonly waitMs: number;
  /** Each KiB that it sends or takes gives back so much of that time. */
  readonly msPerKibibyte: number;
}

/** What one request holds; disposing of it gives all of that back. */
export interface Lease extends Disposable {
  /**
   * Aborted when this request is to end: its client has left (client_gone), was too slow or had to make room for
   * others (upload_stalled, client_gone), or has waited too long for its turn (overloaded).
   */
  readonly signal: AbortSignal;
  held(resource: Resource): number;
  /** Takes some where there is room. @returns whether there was. @throws the signal's reason */
  tryTake(resource: Resource, amount: number): boolean;
  /**
   * Takes some. Where room is short, the clients that keep the service waiting lose theirs, the slowest first; a
   * request that is alone with the resource gets as much as it asks for.
   * @throws ServiceError overloaded; the signal's reason
   */
  take(resource: Resource, amount: number): void;
  /** As `take`, but waits for its turn. @throws ServiceError overloaded after `waitMs`; the signal's reason */
  takeInTurn(resource: Resource, amount: number, waitMs: number): Promise<void>;
  give(resource: Resource, amount: number): void;
  /** Whether no other request holds any of it. */
  isAlone(resource: Resource): boolean;
  /** Waits for the client, as long as there is patience for it. @throws what `work` throws; the signal's reason */
  awaitClient<T>(work: Promise<T>, occasion: Occasion): Promise<T>;
  /** The client has sent, or taken, so many bytes. */
  credit(occasion: Occasion, bytes: number): void;
  /** Aborts this request unless `endLimit` is called in time. */
  limitWait(ms: number, fault: () => ServiceError): void;
  endLimit(): void;
  /** Ends this request: its signal is aborted, and what it holds is given back at once. */
  abort(reason: unknown): void;
}

export interface Resources {
  used(resource: Resource): number;
  /** @throws ServiceError overloaded */
  enter(uploads: 'pictureUploads' | 'videoUploads', request: Request): Lease;
  /** From now on clients get only the shorter patience: the service is about to stop. */
  hurry(): void;
}

export interface ResourceOptions {
  readonly patience: Patience;
  readonly hurriedPatience: Patience;
  /**
   * Which of these requests have lost their clients. Asked at most once a second, about requests whose bodies have
   * not been read for a while: the HTTP server notices a client's end only behind the bytes that nobody has read.
   */
  readonly findAbandoned?: (requests: readonly Request[]) => Promise<readonly Request[]>;
}

const RETRY_AFTER_SECONDS = 5;
/** A client that has kept the service waiting for less must not make room for others. */
const SILENT_MS = 1000;
/** The same for one of whose body nothing has come: it would lose nothing, and floods are made of such. */
const NOTHING_SENT_MS = 50;
/** How soon a client that has become too slow is noticed. */
const SWEEP_MS = 250;
/** How long a body is unread before its client is looked for. */
const UNREAD_MS = 1000;

const shortages: Readonly<Record<Resource, string>> = {
  pictureUploads: 'Too many uploads of pictures are under way',
  videoUploads: 'Too many uploads of videos are under way',
  partBytes: 'The memory for uploads is taken',
  keptBytes: 'The memory for requests is taken',
  labelBytes: 'Too many long lists of categories are being encoded',
  answerBytes: 'The memory for large answers is taken',
  temporaryBytes: 'The temporary folder has no room for another upload',
};

/** What a client that is too slow is told, by what it was waited for. */
const slowness = {
  upload: {
    stalled: () => uploadStalled('The upload stopped: too few bytes of the body came in too long a time.'),
    evicted: () =>
      uploadStalled(
        'Room for uploads was short, and this one had kept the service waiting longest; send it again.',
      ),
  },
  answer: {
    stalled: () => new ServiceError('client_gone', 'The client stopped taking its answer.'),
    evicted: () =>
      new ServiceError('client_gone', 'The client took its answer too slowly while room was short.'),
  },
} as const;

/** What the client is waited for: to send, or to take. Both may be at the same time. */
export type Occasion = keyof typeof slowness;

/** How a client has used its patience on one occasion. */
interface Watch {
  /** What is left, without the wait that goes on. */
  creditMs: number;
  readonly fullMs: number;
  /** When the wait began that goes on. */
  since: number | undefined;
  interrupt: ((reason: unknown) => void) | undefined;
}

function createWatch({ waitMs }: Patience): Watch {
  return { creditMs: waitMs, fullMs: waitMs, since: undefined, interrupt: undefined };
}

/** 0 while the client is not waited for. */
function spentMs({ since, fullMs, creditMs }: Watch, now: number): number {
  return since === undefined ? 0 : fullMs - creditMs + (now - since);
}

interface Waiter {
  readonly lease: OwnedLease;
  readonly amount: number;
  grant(): void;
}

/** A lease as the sweep sees it. */
interface OwnedLease extends Lease {
  readonly request: Request;
  /** How much of the patience for it the client has used up; 0 while the request does not wait for it. */
  spentMs(now: number): number;
  /** Whether anything of the body has come. */
  readonly hasSent: boolean;
  evict(): void;
  /** Ends what lasts too long. */
  check(now: number): void;
  hurry(now: number): void;
  /** Whether the rest of its body has lain unread for a while. */
  isUnread(now: number): boolean;
}

/** @param limits read each time, so that one may change */
export function createResources(limits: ResourceLimits, options: ResourceOptions): Resources {
  const used: Record<Resource, number> = {
    pictureUploads: 0,
    videoUploads: 0,
    partBytes: 0,
    keptBytes: 0,
    labelBytes: 0,
    answerBytes: 0,
    temporaryBytes: 0,
  };
  // Made once: a flood of refusals must cost as little as can be.
  const tooManyUploads = {
    pictureUploads: overloaded(shortages.pictureUploads),
    videoUploads: overloaded(shortages.videoUploads),
  };
  const leases = new Set<OwnedLease>();
  const waiters = new Map<Resource, Waiter[]>();
  const granting = new Set<Resource>();
  let { patience } = options;
  let sweeper: Timer | undefined;
  let lookedAt = 0;
  let isLooking = false;

  const fits = (resource: Resource, amount: number) => used[resource] + amount <= limits[resource];

  /** Sends the slowest clients away until there is room; none where all of them would not be enough. */
  const makeRoom = (resource: Resource, amount: number, own: Lease | undefined): boolean => {
    if (fits(resource, amount)) return true;
    const now = performance.now();
    const slow = [...leases]
      .filter((lease) => lease !== own && lease.held(resource) > 0)
      .map((lease) => ({ lease, spentMs: lease.spentMs(now) }))
      .filter(({ lease, spentMs }) => spentMs >= (lease.hasSent ? SILENT_MS : NOTHING_SENT_MS))
      .sort((a, b) => b.spentMs - a.spentMs);
    const theirs = slow.reduce((sum, { lease }) => sum + lease.held(resource), 0);
    if (!fits(resource, amount - theirs)) return false;
    for (const { lease } of slow) {
      if (fits(resource, amount)) break;
      lease.evict();
    }
    return fits(resource, amount);
  };

  /** In order: a large amount at the head holds the small ones behind it back, or it would starve. */
  const grantWaiters = (resource: Resource) => {
    // Whoever makes room gives back, which leads here again.
    if (granting.has(resource)) return;
    granting.add(resource);
    const queue = waiters.get(resource) ?? [];
    for (let head = queue[0]; head; head = queue[0]) {
      const { lease, amount } = head;
      const hasEnded = lease.signal.aborted;
      if (!hasEnded && !makeRoom(resource, amount, lease) && !lease.isAlone(resource)) break;
      queue.shift();
      if (!hasEnded) head.grant();
    }
    granting.delete(resource);
  };

  const createLease = (request: Request, uploads: 'pictureUploads' | 'videoUploads'): OwnedLease => {
    const controller = new AbortController();
    const { signal } = controller;
    const held = new Map<Resource, number>();
    const watches = { upload: createWatch(patience), answer: createWatch(patience) };
    let hasSent = false;
    const each = Object.keys(watches) as Occasion[];
    let readAt = performance.now();
    let limit: { readonly at: number; readonly fault: () => ServiceError } | undefined;

    const release = () => {
      leases.delete(lease);
      request.signal.removeEventListener('abort', leave);
      for (const occasion of each) watches[occasion].since = undefined;
      limit = undefined;
      const resources = [...held.keys()];
      for (const [resource, amount] of held) used[resource] -= amount;
      held.clear();
      for (const resource of resources) if (waiters.has(resource)) grantWaiters(resource);
    };
    const abort = (reason: unknown) => {
      if (signal.aborted) return;
      controller.abort(reason);
      release();
      for (const occasion of each) watches[occasion].interrupt?.(reason);
    };
    const leave = () =>
      abort(
        new ServiceError(
          'client_gone',
          'The client left before its answer.',
          {},
          {
            cause: request.signal.reason,
          },
        ),
      );
    const add = (resource: Resource, amount: number) => {
      held.set(resource, (held.get(resource) ?? 0) + amount);
      used[resource] += amount;
    };
    /** Who has kept the service waiting longer: the one that sends, or the one that takes. */
    const slower = (now: number): Occasion =>
      spentMs(watches.answer, now) > spentMs(watches.upload, now) ? 'answer' : 'upload';

    const lease: OwnedLease = {
      request,
      signal,
      held: (resource) => held.get(resource) ?? 0,
      tryTake(resource, amount) {
        signal.throwIfAborted();
        if (!fits(resource, amount)) return false;
        add(resource, amount);
        return true;
      },
      take(resource, amount) {
        signal.throwIfAborted();
        if (!makeRoom(resource, amount, lease) && !lease.isAlone(resource)) {
          throw overloaded(shortages[resource]);
        }
        add(resource, amount);
      },
      async takeInTurn(resource, amount, waitMs) {
        signal.throwIfAborted();
        const queue = waiters.get(resource) ?? [];
        if (queue.length === 0 && (makeRoom(resource, amount, lease) || lease.isAlone(resource))) {
          add(resource, amount);
          return;
        }
        waiters.set(resource, queue);
        const granted = Promise.withResolvers<void>();
        const waiter: Waiter = {
          lease,
          amount,
          grant() {
            add(resource, amount);
            granted.resolve();
          },
        };
        queue.push(waiter);
        const refuse = () => granted.reject(signal.reason);
        signal.addEventListener('abort', refuse, { once: true });
        lease.limitWait(waitMs, () => overloaded(shortages[resource]));
        try {
          await granted.promise;
        } finally {
          signal.removeEventListener('abort', refuse);
          lease.endLimit();
          if (queue.includes(waiter)) queue.splice(queue.indexOf(waiter), 1);
          if (queue.length === 0) waiters.delete(resource);
        }
      },
      give(resource, amount) {
        const owned = Math.min(amount, held.get(resource) ?? 0);
        if (owned <= 0) return;
        held.set(resource, (held.get(resource) ?? 0) - owned);
        used[resource] -= owned;
        if (waiters.has(resource)) grantWaiters(resource);
      },
      isAlone: (resource) => used[resource] === (held.get(resource) ?? 0),
      awaitClient(work, occasion) {
        if (signal.aborted) {
          work.catch(() => undefined);
          return Promise.reject(signal.reason);
        }
        const watch = watches[occasion];
        watch.since = performance.now();
        return new Promise((resolve, reject) => {
          watch.interrupt = reject;
          const end = () => {
            const now = performance.now();
            if (watch.since !== undefined) watch.creditMs -= now - watch.since;
            watch.since = undefined;
            watch.interrupt = undefined;
            if (occasion === 'upload') readAt = now;
          };
          work.then(
            (value) => {
              end();
              resolve(value);
            },
            (fault: unknown) => {
              end();
              reject(fault);
            },
          );
        });
      },
      credit(occasion, bytes) {
        const watch = watches[occasion];
        hasSent ||= bytes > 0;
        const earnedMs = (bytes / 1024) * patience.msPerKibibyte;
        watch.creditMs = Math.min(patience.waitMs, watch.creditMs + earnedMs);
      },
      limitWait(ms, fault) {
        limit = { at: performance.now() + ms, fault };
      },
      endLimit() {
        limit = undefined;
      },
      abort,
      [Symbol.dispose]: release,

      spentMs: (now) => spentMs(watches[slower(now)], now),
      get hasSent() {
        return hasSent;
      },
      evict: () => abort(slowness[slower(performance.now())].evicted()),
      check(now) {
        if (limit && now >= limit.at) abort(limit.fault());
        for (const occasion of each) {
          const { since, creditMs } = watches[occasion];
          if (since !== undefined && now - since >= creditMs) abort(slowness[occasion].stalled());
        }
      },
      hurry(now) {
        for (const occasion of each) {
          const watch = watches[occasion];
          const waitedMs = watch.since === undefined ? 0 : now - watch.since;
          watch.creditMs = Math.min(watch.creditMs, waitedMs + patience.waitMs);
        }
      },
      isUnread: (now) =>
        watches.upload.since === undefined && now - readAt >= UNREAD_MS && (held.get(uploads) ?? 0) > 0,
    };
    add(uploads, 1);
    leases.add(lease);
    if (request.signal.aborted) leave();
    else request.signal.addEventListener('abort', leave, { once: true });
    return lease;
  };

  const lookForAbandoned = async (now: number) => {
    const { findAbandoned } = options;
    if (!findAbandoned || isLooking || now - lookedAt < UNREAD_MS) return;
    const unread = new Map<Request, OwnedLease>();
    for (const lease of leases) if (lease.isUnread(now)) unread.set(lease.request, lease);
    if (unread.size === 0) return;
    lookedAt = now;
    isLooking = true;
    try {
      for (const request of await findAbandoned([...unread.keys()])) {
        unread
          .get(request)
          ?.abort(new ServiceError('client_gone', 'The client left before its body was complete.'));
      }
    } finally {
      isLooking = false;
    }
  };

  const sweep = () => {
    const now = performance.now();
    for (const lease of leases) lease.check(now);
    // A client may have become silent since.
    for (const resource of waiters.keys()) grantWaiters(resource);
    void lookForAbandoned(now);
    if (leases.size > 0) return;
    clearInterval(sweeper);
    sweeper = undefined;
  };

  return {
    used: (resource) => used[resource],
    enter(uploads, request) {
      if (!makeRoom(uploads, 1, undefined)) throw tooManyUploads[uploads];
      sweeper ??= setInterval(sweep, SWEEP_MS);
      return createLease(request, uploads);
    },
    hurry() {
      patience = options.hurriedPatience;
      const now = performance.now();
      for (const lease of leases) lease.hurry(now);
    },
  };
}

/** @param why the beginning of a sentence */
export function overloaded(why: string): ServiceError {
  return new ServiceError('overloaded', `${why}; try again in a moment.`, {
    retry_after_seconds: RETRY_AFTER_SECONDS,
  });
}

function uploadStalled(sentence: string): ServiceError {
  return new ServiceError('upload_stalled', sentence, { retry_after_seconds: RETRY_AFTER_SECONDS });
}

export interface AdmissionLimits {
  /** So many requests with something complete may wait for the engine; then newcomers are refused. */
  readonly waiting: number;
  /** So many of those that were let in before may wait, whose uploads have ended meanwhile. */
  readonly waitingAtMost: number;
  /** None of them waits longer for its turn. */
  readonly waitMs: number;
}

/** What one request has the engine do: picture by picture, or its video. One thing of it waits at a time. */
export interface EngineWork {
  /**
   * Waits for the engine, counted among those that do.
   * @param start resolves when the engine has taken it, with a promise that settles when the work on it is over
   * @throws ServiceError overloaded; what `start` throws
   */
  submit(start: () => Promise<{ readonly settled: Promise<unknown> }>): Promise<void>;
}

/**
 * The queue before the engine. A request is in it while something complete of it (a picture, a video) waits or is
 * worked on: not while it uploads, and not while its categories are encoded.
 */
export interface Admission {
  readonly limits: AdmissionLimits;
  readonly running: number;
  readonly waiting: number;
  /**
   * To be called before anything of the body is asked for: a crowd of those who are refused must not take from
   * the others what reading them costs.
   * @throws ServiceError overloaded when too many wait already
   */
  refuseWhenFull(): void;
  /**
   * @param lease of the request, which is aborted when it waits too long
   * @param onWaited told of every wait
   */
  createWork(lease: Pick<Lease, 'limitWait' | 'endLimit'>, onWaited?: (ms: number) => void): EngineWork;
}

export function createAdmission(limits: AdmissionLimits): Admission {
  const counts = { running: 0, waiting: 0 };
  // Made once: they always say the same, and a flood of refusals must cost as little as can be.
  const full = overloaded(`${limits.waiting} requests wait already`);
  const overfull = overloaded(`${limits.waitingAtMost} requests wait already`);
  return {
    limits,
    get running() {
      return counts.running;
    },
    get waiting() {
      return counts.waiting;
    },
    refuseWhenFull() {
      if (counts.waiting >= limits.waiting) throw full;
    },
    createWork(lease, onWaited) {
      let isWaiting = false;
      let atWork = 0;
      let counted: keyof typeof counts | undefined;
      const recount = () => {
        const now = isWaiting ? 'waiting' : atWork > 0 ? 'running' : undefined;
        if (counted) counts[counted] -= 1;
        if (now) counts[now] += 1;
        counted = now;
      };
      const end = () => {
        atWork -= 1;
        recount();
      };
      return {
        async submit(start) {
          if (counts.waiting >= limits.waitingAtMost) throw overfull;
          const askedAt = performance.now();
          isWaiting = true;
          recount();
          lease.limitWait(limits.waitMs, () =>
            overloaded(`The request has waited ${Math.round(limits.waitMs / 1000)} s for its turn`),
          );
          try {
            const { settled } = await start();
            atWork += 1;
            void settled.then(end, end);
          } finally {
            lease.endLimit();
            onWaited?.(performance.now() - askedAt);
            isWaiting = false;
            recount();
          }
        },
      };
    },
  };
}
