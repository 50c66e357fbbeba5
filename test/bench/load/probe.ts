/** Clients that ask the same again and again, in a process of their own: what a service is like for others. */
import { Buffer } from 'node:buffer';
import { type RawRequest, sendRaw } from './raw-request.ts';

/** A request, and how often it is asked. */
export interface ProbeAsk {
  readonly name: string;
  readonly request: RawRequest;
  /** From one beginning to the next; where the answer takes longer, the next follows it. 0: one after another. */
  readonly everyMs: number;
  /** The right answer's body; undefined: every 200 is right. */
  readonly expected?: string | undefined;
}

/** One answer. Times are those of the machine's clock, in ms. */
export interface ProbeAnswer {
  readonly ask: string;
  readonly askedAt: number;
  /** Undefined where the probe ended first. */
  readonly answeredAt: number | undefined;
  readonly status: number | 'closed' | 'not connected' | 'left';
  /** Whether the body is the expected one. */
  readonly isRight: boolean;
}

export interface ProbeFindings {
  readonly answers: readonly ProbeAnswer[];
  /** The most that the probe itself came too late with a request that was due: above it, gaps mean something. */
  readonly ownLatenessMs: number;
  readonly cpuSeconds: number;
}

export interface Probe extends Disposable {
  /** Resolves when every ask has been answered so often, or when the time is over. */
  answered(times: number, withinMs: number): Promise<void>;
  /** Ends it. */
  stop(): Promise<ProbeFindings>;
}

interface PlainAsk extends Omit<ProbeAsk, 'request'> {
  readonly url: string;
  readonly bytes: string;
}

type Message = { readonly asks: readonly PlainAsk[] } | 'stop';
type Reply = { readonly answered: Readonly<Record<string, number>> } | { readonly findings: ProbeFindings };

const TELL_MS = 100;

/** The machine's clock, in ms, with fractions of them. */
export function clockMs(): number {
  return performance.timeOrigin + performance.now();
}

export function startProbe(asks: readonly ProbeAsk[]): Probe {
  const found = Promise.withResolvers<ProbeFindings>();
  found.promise.catch(() => undefined);
  let answered: Readonly<Record<string, number>> = {};
  const child = Bun.spawn([process.execPath, import.meta.path], {
    stdout: 'inherit',
    stderr: 'inherit',
    ipc(reply: Reply) {
      if ('findings' in reply) found.resolve(reply.findings);
      else answered = reply.answered;
    },
    onExit: (_, code) => found.reject(new Error(`The probe ended with ${code}.`)),
  });
  const plain = asks.map(({ request, ...ask }) => ({
    ...ask,
    url: request.url.href,
    bytes: Buffer.concat(request.pieces).toString('base64'),
  }));
  child.send({ asks: plain } satisfies Message);
  return {
    async answered(times, withinMs) {
      const before = { ...answered };
      const isDone = () => asks.every(({ name }) => (answered[name] ?? 0) >= (before[name] ?? 0) + times);
      for (const until = clockMs() + withinMs; !isDone() && clockMs() < until; ) await Bun.sleep(20);
    },
    async stop() {
      child.send('stop' satisfies Message);
      const findings = await found.promise;
      await child.exited;
      return findings;
    },
    [Symbol.dispose]: () => child.kill(),
  };
}

if (import.meta.main) {
  process.on('message', (message: Message) => {
    if (message === 'stop') void finish();
    else for (const ask of message.asks) void repeat(ask);
  });
}

const answers: ProbeAnswer[] = [];
const pending = new Map<PlainAsk, number>();
const counts: Record<string, number> = {};
let ownLatenessMs = 0;

async function repeat(ask: PlainAsk): Promise<void> {
  const request = { url: new URL(ask.url), pieces: [Buffer.from(ask.bytes, 'base64')] };
  for (;;) {
    const askedAt = clockMs();
    pending.set(ask, askedAt);
    const { status, body } = await sendRaw(request);
    const answeredAt = clockMs();
    const isRight = status === 200 && (ask.expected === undefined || body === ask.expected);
    answers.push({ ask: ask.name, askedAt, answeredAt, status, isRight });
    if (typeof status === 'number') counts[ask.name] = (counts[ask.name] ?? 0) + 1;
    pending.delete(ask);
    // A service that refuses or is gone is not asked without a pause.
    const pauseMs = status === 200 ? ask.everyMs : Math.max(ask.everyMs, 10);
    const dueAt = Math.max(answeredAt, askedAt + pauseMs);
    if (dueAt > answeredAt) {
      await Bun.sleep(dueAt - answeredAt);
      ownLatenessMs = Math.max(ownLatenessMs, clockMs() - dueAt);
    }
  }
}

async function finish(): Promise<void> {
  const left = [...pending].map(([{ name: ask }, askedAt]): ProbeAnswer => {
    return { ask, askedAt, answeredAt: undefined, status: 'left', isRight: false };
  });
  const { user, system } = process.cpuUsage();
  const findings = { answers: [...answers, ...left], ownLatenessMs, cpuSeconds: (user + system) / 1e6 };
  process.send?.({ findings } satisfies Reply, undefined, undefined, () => process.exit());
}

if (import.meta.main) {
  setInterval(() => process.send?.({ answered: counts } satisfies Reply), TELL_MS);
}

/** What a probe saw in a stretch of time. */
export interface ProbeWindow {
  readonly answered: number;
  readonly right: number;
  /** Answers that were none, by status. */
  readonly refused: Readonly<Record<string, number>>;
  /** The longest time without any answer, from the last one before the window to its end. */
  readonly longestGapMs: number;
  /** Of right answers, and of those that are still waited for what they have waited, in ms. */
  readonly medianMs: number;
  readonly p99Ms: number;
  readonly longestMs: number;
}

/** @param ask its name */
export function probeWindow(
  { answers }: ProbeFindings,
  ask: string,
  fromMs: number,
  untilMs: number,
): ProbeWindow {
  const own = answers.filter((answer) => answer.ask === ask);
  const isSaid = ({ status, answeredAt }: ProbeAnswer) =>
    typeof status === 'number' && answeredAt !== undefined;
  const times = own
    .filter(isSaid)
    .map(({ answeredAt }) => answeredAt as number)
    .sort((a, b) => a - b);
  const before = times.findLast((time) => time <= fromMs) ?? fromMs;
  const within = times.filter((time) => time > fromMs && time < untilMs);
  const marks = [before, ...within, untilMs];
  const longestGapMs = Math.max(...marks.slice(1).map((time, index) => time - (marks[index] as number)));
  const asked = own.filter(
    ({ askedAt, answeredAt }) => askedAt < untilMs && (answeredAt ?? untilMs) > fromMs,
  );
  const right = asked.filter(({ isRight }) => isRight);
  const waits = asked
    .filter(({ isRight, status }) => isRight || status === 'left')
    .map(({ askedAt, answeredAt }) => (answeredAt ?? untilMs) - askedAt)
    .sort((a, b) => a - b);
  const at = (share: number) =>
    waits[Math.min(waits.length - 1, Math.floor(waits.length * share))] ?? Number.NaN;
  const refused: Record<string, number> = {};
  for (const { isRight, status } of asked) {
    if (isRight || status === 'left') continue;
    const name = status === 200 ? 'wrong' : String(status);
    refused[name] = (refused[name] ?? 0) + 1;
  }
  return {
    answered: asked.filter(isSaid).length,
    right: right.length,
    refused,
    longestGapMs,
    medianMs: at(0.5),
    p99Ms: at(0.99),
    longestMs: waits.at(-1) ?? Number.NaN,
  };
}
