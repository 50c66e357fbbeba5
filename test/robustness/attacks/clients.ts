import { openConnection, post, type RawConnection, requestHead } from '../exchange.ts';
import { CONTENT_TYPE, categoriesPart, filePart, joinForm } from '../form.ts';
import { judge } from '../judge.ts';
import type { Random } from '../random.ts';
import { categories, DETAILED, type Target } from '../target.ts';
import { type Attack, repeat } from './attack.ts';

const goodBody = ({ sentinels }: Target): Buffer =>
  joinForm([
    ...sentinels.map(({ bytes }, index) => filePart(`${index}.jpg`, bytes)),
    categoriesPart(JSON.stringify({ categories }), 'categories.json'),
  ]);

const goodHead = (body: Uint8Array) =>
  requestHead(DETAILED, { 'Content-Type': CONTENT_TYPE, 'Content-Length': body.length });

/** How long the patient ones keep at it. */
export interface Duration {
  readonly seconds: number;
}

/** Whether a byte a second comes, nothing at all, or half of the body at first. */
const slownesses = ['a byte a second', 'nothing after the head', 'nothing after half of the body'] as const;

/**
 * Clients that send a byte a second, or stop in the middle, while others ask as usual. Those that stay long
 * enough get 408.
 */
export const slowClients =
  ({ seconds }: Duration): Attack =>
  async (target, random, count) => {
    const ATTACK = 'slow clients';
    const body = goodBody(target);
    const until = performance.now() + seconds * 1000;
    const slow = async (own: Random) => {
      const slowness = own.pick(slownesses);
      using connection = await openConnection(target.url);
      await connection.write(goodHead(body));
      if (slowness === 'nothing after half of the body') {
        await connection.write(body.subarray(0, body.length / 2));
      }
      for (let at = 0; performance.now() < until && !connection.isOver; at++) {
        if (slowness === 'a byte a second') await connection.write(body.subarray(at, at + 1));
        await Bun.sleep(1000);
      }
      if (connection.isOver) judge(target.tally, ATTACK, await connection.answer(), () => slowness);
      else target.tally.count(ATTACK, 'left');
    };
    const slowOnes = Array.from({ length: count }, () => slow(random.fork()));
    while (performance.now() < until) {
      await target.expectSound(ATTACK);
      await Bun.sleep(200);
    }
    await Promise.all(slowOnes);
    await target.expectSound(ATTACK);
  };

const departures = ['reset', 'close', 'half-close'] as const;

/** Clients that leave in the middle of their upload, or while their pictures are being classified. */
export const leavingClients: Attack = async (target, random, count) => {
  const ATTACK = 'leaving clients';
  const body = goodBody(target);
  await repeat(count, random, async (own, turn) => {
    const connection = await openConnection(target.url);
    await connection.write(goodHead(body));
    const isComplete = own.chance(0.5);
    await connection.write(isComplete ? body : body.subarray(0, own.below(body.length)));
    await Bun.sleep(own.below(30));
    const departure = own.pick(departures);
    await leave(target, ATTACK, connection, departure, isComplete);
    if (turn % 20 === 0) await target.expectSound(ATTACK);
  });
  await target.expectSound(ATTACK);
};

async function leave(
  target: Target,
  attack: string,
  connection: RawConnection,
  departure: (typeof departures)[number],
  isComplete: boolean,
): Promise<void> {
  switch (departure) {
    case 'reset':
      connection.reset();
      target.tally.count(attack, 'left');
      return;
    case 'close':
      connection[Symbol.dispose]();
      target.tally.count(attack, 'left');
      return;
    case 'half-close': {
      // It says that it sends no more, which may be taken for leaving; an answer must be right all the same.
      connection.halfClose();
      const outcome = await connection.answer();
      judge(target.tally, attack, outcome, () => `half-closed, complete: ${isComplete}`, { closed: true });
      connection[Symbol.dispose]();
    }
  }
}

/** So many clients at the same moment, each with a good request: each is answered rightly or sent away. */
export const manyClients: Attack = async (target, _random, count) => {
  const ATTACK = 'many clients at once';
  const body = goodBody(target);
  const expected = await rightAnswer(target, body);
  const one = async () => {
    const outcome = await post({ url: target.url, path: DETAILED, contentType: CONTENT_TYPE, body });
    const answer = judge(target.tally, ATTACK, outcome, () => 'a good request');
    if (answer && answer.status !== 503 && answer.body !== expected) {
      target.tally.fault(ATTACK, `another answer: ${answer.status} ${answer.body}`);
    }
  };
  await Promise.all(Array.from({ length: count }, one));
  await target.expectSound(ATTACK);
};

async function rightAnswer(target: Target, body: Buffer): Promise<string> {
  const outcome = await post({ url: target.url, path: DETAILED, contentType: CONTENT_TYPE, body });
  if (typeof outcome === 'string' || outcome.status !== 200) throw new Error('no answer before the attack');
  return outcome.body;
}
