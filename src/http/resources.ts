import { readFile } from 'node:fs/promises';
import { ServiceError } from '../errors.ts';

/** What all requests share: counts and bytes. No wait for any of it is endless. */
export interface ResourceLimits {
  /** Requests to /categorize and /image whose bodies are incomplete. */
  readonly pictureUploads: number;
  /** Requests to /video whose bodies are incomplete. */
  readonly videoUploads: number;
  /** Memory for parts that are incomplete or wait for the engine. Parts that do not fit go to the temporary folder. */
  readonly partBytes: number;
  /** Memory that requests hold until they are answered: categories, names, embeddings, rankings. */
  readonly keptBytes: number;
  /** Memory for encoding long lists of categories. Short ones count as kept. */
  readonly labelBytes: number;
  /** Memory for large answers that are being sent. */
  readonly answerBytes: number;
  /** Space in the temporary folder. */
  readonly temporaryBytes: number;
}

export type Resource = keyof ResourceLimits;

/** How long a request waits for its client. */
export interface Patience {
  /** The longest wait while a client sends or receives nothing. */
  readonly waitMs: number;
  /** Each KiB that it sends or receives gives back this much of that time. */
  readonly msPerKibibyte: number;
}

/** What one request holds. Disposing it gives everything back. */
export interface Lease extends Disposable {
  /**
   * Aborted when this request must end: its client has left (client_gone), was too slow or had to make room for
   * others (upload_stalled, client_gone), or waited too long for its turn (overloaded).
   */
  readonly signal: AbortSignal;
  held(resource: Resource): number;
  /** Takes an amount if it fits. @returns whether it did. @throws the signal's reason */
  tryTake(resource: Resource, amount: number): boolean;
  /**
   * Takes an amount. If it does not fit, requests whose clients keep the service waiting are ended, the slowest first.
   * A request that is the only holder of the resource gets any amount.
   * @throws ServiceError overloaded; the signal's reason
   */
  take(resource: Resource, amount: number): void;
  /** Like `take`, but waits for its turn. @throws ServiceError overloaded after `waitMs`; the signal's reason */
  takeInTurn(resource: Resource, amount: number, waitMs: number): Promise<void>;
  give(resource: Resource, amount: number): void;
  /** The share of the limit that all requests hold, 0 to 1. */
  fullness(resource: Resource): number;
  /** Whether no other request holds any of the resource. */
  isAlone(resource: Resource): boolean;
  /** Waits for the client while patience lasts. @throws what `work` throws; the signal's reason */
  awaitClient<T>(work: Promise<T>, occasion: Occasion): Promise<T>;
  /** Reports bytes that the client has sent or received. */
  credit(occasion: Occasion, bytes: number): void;
  /** Aborts this request unless `endLimit` is called in time. */
  limitWait(ms: number, fault: () => ServiceError): void;
  endLimit(): void;
  /** Ends this request: aborts its signal and gives back everything at once. */
  abort(reason: unknown): void;
}

export interface Resources {
  used(resource: Resource): number;
  /** @throws ServiceError overloaded */
  enter(uploads: 'pictureUploads' | 'videoUploads', request: Request): Lease;
  /** Shortens the patience with all clients, because the service is shutting down. */
  hurry(): void;
}

export interface ResourceOptions {
  readonly patience: Patience;
  readonly hurriedPatience: Patience;
  /**
   * Finds requests whose clients have left. Called at most once a second, for requests whose bodies were not read for a
   * while: the HTTP server notices that a client has left only after all its bytes were read.
   */
  readonly findAbandoned?: (requests: readonly Request[]) => Promise<readonly Request[]>;
}

const RETRY_AFTER_SECONDS = 5;
/** A client that has kept the service waiting for less than this is not ended for others. */
const SILENT_MS = 1000;
/** The same for a client that has sent nothing: it loses nothing, and floods consist of such clients. */
const NOTHING_SENT_MS = 50;
/** How often slow clients are looked for. */
const SWEEP_MS = 250;
/** A body must be unread for this long before the service checks whether its client has left. */
const UNREAD_MS = 1000;

const shortages: Readonly<Record<Resource, string>> = {
  pictureUploads: 'Too many pictures are being uploaded',
  videoUploads: 'Too many videos are being uploaded',
  partBytes: 'The memory for uploads is full',
  keptBytes: 'The memory for requests is full',
  labelBytes: 'Too many long lists of categories are being encoded',
  answerBytes: 'The memory for large answers is full',
  temporaryBytes: 'The temporary folder has no room for another upload',
};

/** The errors for a client that is too slow, by what the service waited for. */
const slowness = {
  upload: {
    stalled: () => uploadStalled('The upload stopped: the body arrived too slowly.'),
    evicted: () =>
      uploadStalled('There was no room for other uploads, and this one was the slowest; send it again.'),
  },
  answer: {
    stalled: () => clientGone('The client stopped receiving its answer.'),
    evicted: () =>
      clientGone('The client received its answer too slowly, and the room was needed for others.'),
  },
} as const;

/** Whether the service waits for the client to send or to receive. Both can happen at the same time. */
type Occasion = keyof typeof slowness;

/** How much patience a client has used on one occasion. */
interface Watch {
  /** What is left, not counting the current wait. */
  creditMs: number;
  readonly fullMs: number;
  /** When the current wait began. */
  since: number | undefined;
  interrupt: ((reason: unknown) => void) | undefined;
}

function createWatch({ waitMs }: Patience): Watch {
  return { creditMs: waitMs, fullMs: waitMs, since: undefined, interrupt: undefined };
}

/** The patience that is used up; 0 while the service does not wait for the client. */
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
  /** The patience that its client has used up; 0 while the service does not wait for it. */
  spentMs(now: number): number;
  /** Whether any byte of the body has arrived. */
  readonly hasSent: boolean;
  evict(): void;
  /** Ends the request if a wait has lasted too long. */
  check(now: number): void;
  hurry(now: number): void;
  /** Whether its body is incomplete and was not read for UNREAD_MS. */
  isUnread(now: number): boolean;
}

/** @param limits read at each use, because one of them changes */
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
  // Made once, because a flood of refusals must cost as little as possible.
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

  /** Ends requests of the slowest clients until the amount fits; ends none if all of them would not be enough. */
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

  /** Strictly in order. If small amounts could pass a large one, it would never be granted. */
  const grantWaiters = (resource: Resource) => {
    // Requests that are ended to make room give back, which calls this again.
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
    const leave = () => abort(clientGone('The client left before the answer.', request.signal.reason));
    const add = (resource: Resource, amount: number) => {
      held.set(resource, (held.get(resource) ?? 0) + amount);
      used[resource] += amount;
    };
    /** The occasion on which more patience is used up. */
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
      fullness: (resource) => used[resource] / limits[resource],
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
        unread.get(request)?.abort(clientGone('The client left before its body was complete.'));
      }
    } finally {
      isLooking = false;
    }
  };

  const sweep = () => {
    const now = performance.now();
    for (const lease of leases) lease.check(now);
    // Clients may have become slow enough to make room.
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

/** @param why the first half of a sentence */
export function overloaded(why: string): ServiceError {
  return new ServiceError('overloaded', `${why}; try again in a moment.`, {
    retry_after_seconds: RETRY_AFTER_SECONDS,
  });
}

/** @param sentence says how the client left, or that it was too slow */
export function clientGone(sentence: string, cause?: unknown): ServiceError {
  return new ServiceError('client_gone', sentence, {}, { cause });
}

function uploadStalled(sentence: string): ServiceError {
  return new ServiceError('upload_stalled', sentence, { retry_after_seconds: RETRY_AFTER_SECONDS });
}

/** The client's address and port, as text. */
type Peer = string;

/** Linux's number for a connection that the other side has closed. */
const CLOSE_WAIT = '08';

/** @returns '' for a request whose connection is gone */
export function peerOf(
  address: { readonly address: string; readonly port: number } | null | undefined,
): Peer {
  return address ? `${expand(address.address)}:${address.port}` : '';
}

/**
 * Finds the clients that have closed their side of a connection to this port, even if not all their bytes were read.
 * Linux lists them; on other systems the result is empty.
 */
export async function closedPeers(port: number): Promise<ReadonlySet<Peer>> {
  const tables = await Promise.all(
    ['/proc/net/tcp', '/proc/net/tcp6'].map((path) => readFile(path, 'latin1').catch(() => '')),
  );
  const local = port.toString(16).toUpperCase().padStart(4, '0');
  const line = new RegExp(`: [0-9A-F]+:${local} ([0-9A-F]+):([0-9A-F]{4}) ${CLOSE_WAIT} `, 'g');
  const peers = new Set<Peer>();
  for (const table of tables) {
    for (const [, address = '', remotePort = ''] of table.matchAll(line)) {
      peers.add(`${fromTable(address)}:${Number.parseInt(remotePort, 16)}`);
    }
  }
  return peers;
}

/** Converts the table's address: words of 32 bits in hexadecimal, in little-endian order. */
function fromTable(address: string): string {
  const bytes = Buffer.from(address, 'hex');
  for (let at = 0; at < bytes.length; at += 4) bytes.subarray(at, at + 4).reverse();
  return bytes.toString('hex').replace(/^0{20}ffff/, '');
}

/** The bytes of an address in hexadecimal. IPv4 addresses in IPv6 become IPv4. */
function expand(address: string): string {
  const [, v4] = /^(?:::ffff:)?(\d+\.\d+\.\d+\.\d+)$/i.exec(address) ?? [];
  if (v4 !== undefined) return Buffer.from(v4.split('.').map(Number)).toString('hex');
  const [head = '', tail] = (address.split('%')[0] ?? '').split('::');
  const groups = (text: string) =>
    (text === '' ? [] : text.split(':')).map((group) => group.padStart(4, '0'));
  const [before, after] = [groups(head), groups(tail ?? '')];
  return [...before, ...Array(8 - before.length - after.length).fill('0000'), ...after]
    .join('')
    .toLowerCase();
}

export interface AdmissionLimits {
  /** New requests are refused when this many wait for the engine with a complete picture or video. */
  readonly waiting: number;
  /** Admitted requests whose pictures become complete are refused when this many wait. */
  readonly waitingAtMost: number;
  /** The longest wait for a turn. */
  readonly waitMs: number;
}

/** The work of one request for the engine: picture by picture, or its video. One item waits at a time. */
export interface EngineWork {
  /**
   * Waits for the engine, and counts as waiting.
   * @param start resolves when the engine has accepted the item, with a promise that settles when its work is done
   * @throws ServiceError overloaded; what `start` throws
   */
  submit(start: () => Promise<{ readonly settled: Promise<unknown> }>): Promise<void>;
}

/**
 * The queue before the engine. A request is in it while a complete picture or video of it waits or is processed. It is
 * not in it while it uploads or while its categories are encoded, so slow uploads occupy no place.
 */
export interface Admission {
  readonly limits: AdmissionLimits;
  readonly running: number;
  readonly waiting: number;
  /**
   * Call it before reading the body: refused requests must not cost the time for reading them.
   * @throws ServiceError overloaded if too many requests wait
   */
  refuseWhenFull(): void;
  /**
   * @param lease of the request; it is aborted if the request waits too long
   * @param onWaited called after every wait
   */
  createWork(lease: Pick<Lease, 'limitWait' | 'endLimit'>, onWaited?: (ms: number) => void): EngineWork;
}

export function createAdmission(limits: AdmissionLimits): Admission {
  const counts = { running: 0, waiting: 0 };
  // Made once, because a flood of refusals must cost as little as possible.
  const full = overloaded(`${limits.waiting} requests are waiting`);
  const overfull = overloaded(`${limits.waitingAtMost} requests are waiting`);
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
