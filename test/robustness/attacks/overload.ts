import { percentile } from '../../bench/load/load.ts';
import { bitmap } from '../../fixtures/colour-pictures.ts';
import { post } from '../exchange.ts';
import { CONTENT_TYPE, categoriesPart, filePart, joinForm } from '../form.ts';
import { judge } from '../judge.ts';
import { categories, DETAILED, type Target } from '../target.ts';

const ATTACK = 'overload';
/** As many as the service works for at a time, and some that wait: enough to keep it busy. */
const STEADY_CLIENTS = 12;

/** Requests of an overload, also of a service that has hardly a core: twice as many as it has places. */
const AT_LEAST = 150;

export interface OverloadReport {
  /** Answers a second that it gives when nobody is refused. */
  readonly perSecondBefore: number;
  readonly perSecondDuring: number;
  readonly perSecondAfter: number;
  /** Of the requests that were answered, in milliseconds; from connecting to the last byte. */
  readonly acceptedMedianMs: number;
  readonly acceptedP99Ms: number;
  readonly refusedMedianMs: number;
  readonly refusedP99Ms: number;
  readonly accepted: number;
  readonly refused: number;
}

export interface Overload {
  /** Of the overload; before and after it, half of that each. */
  readonly seconds: number;
  /** How many times more requests come than can be served. */
  readonly factor: number;
}

/**
 * Sends so many times more requests than the service can serve, without ever waiting for an answer. The
 * accepted ones must be answered rightly, and the others with 503 and Retry-After.
 */
export async function overload(target: Target, { seconds, factor }: Overload): Promise<OverloadReport> {
  const send = await heavyRequest(target);
  const perSecondBefore = await steadyRate(send, seconds / 2);
  const perSecond = Math.max(perSecondBefore * factor, AT_LEAST / seconds);
  const during = await flood(send, perSecond, seconds);
  await target.expectSound(ATTACK);
  const perSecondAfter = await steadyRate(send, seconds / 2);

  const of = (status: number) =>
    during.answers
      .filter((answer) => answer.status === status)
      .map(({ milliseconds }) => milliseconds)
      .sort((a, b) => a - b);
  const accepted = of(200);
  const refused = of(503);
  return {
    perSecondBefore,
    perSecondDuring: accepted.length / during.seconds,
    perSecondAfter,
    acceptedMedianMs: percentile(accepted, 0.5),
    acceptedP99Ms: percentile(accepted, 0.99),
    refusedMedianMs: percentile(refused, 0.5),
    refusedP99Ms: percentile(refused, 0.99),
    accepted: accepted.length,
    refused: refused.length,
  };
}

/** Answers a second that the service gives when it is busy and refuses nobody. */
export async function throughput(target: Target, seconds: number): Promise<number> {
  return await steadyRate(await heavyRequest(target), seconds);
}

interface Sent {
  readonly status: number | undefined;
  readonly milliseconds: number;
}

/** @returns sends the same request again and again; its answer is held to the first one's digits */
async function heavyRequest(target: Target): Promise<() => Promise<Sent>> {
  const body = await heavyForm();
  const expected = await ask(target, body);
  return async () => {
    const startedAt = performance.now();
    const answer = await ask(target, body);
    if (answer?.status === 200 && answer.body !== expected?.body) {
      target.tally.fault(ATTACK, `another answer: ${answer.body}; expected ${expected?.body}`);
    } else if (answer && answer.status !== 200 && answer.status !== 503) {
      target.tally.fault(ATTACK, `a good request was refused: ${answer.status} ${answer.body}`);
    }
    return { status: answer?.status, milliseconds: performance.now() - startedAt };
  };
}

/** Answers a second when each client waits for its answer before it asks again. */
async function steadyRate(send: () => Promise<Sent>, seconds: number): Promise<number> {
  const startedAt = performance.now();
  let answers = 0;
  const client = async () => {
    while (performance.now() - startedAt < seconds * 1000) {
      const { status } = await send();
      if (status === 200) answers += 1;
    }
  };
  await Promise.all(Array.from({ length: STEADY_CLIENTS }, client));
  return answers / ((performance.now() - startedAt) / 1000);
}

/** @returns all answers, and the time until the last of them */
async function flood(
  send: () => Promise<Sent>,
  perSecond: number,
  seconds: number,
): Promise<{ readonly answers: readonly Sent[]; readonly seconds: number }> {
  const startedAt = performance.now();
  const running: Promise<Sent>[] = [];
  for (;;) {
    const elapsed = (performance.now() - startedAt) / 1000;
    if (elapsed > seconds) break;
    while (running.length < elapsed * perSecond) running.push(send());
    await Bun.sleep(5);
  }
  const answers = await Promise.all(running);
  return { answers, seconds: (performance.now() - startedAt) / 1000 };
}

async function ask(target: Target, body: Buffer) {
  const outcome = await post({ url: target.url, path: DETAILED, contentType: CONTENT_TYPE, body });
  return judge(target.tally, ATTACK, outcome, () => 'a good request');
}

/** Few bytes that take long to decode: the load is the service's, not that of whoever sends it. */
async function heavyForm(): Promise<Buffer> {
  const side = 1600;
  const stripes = bitmap(side, side, (x, y) => [(x >> 3) & 255, (y >> 3) & 255, ((x + y) >> 4) & 255]);
  const png = await new Bun.Image(stripes).png().bytes();
  return joinForm([filePart('heavy.png', png), categoriesPart(JSON.stringify(categories))]);
}
