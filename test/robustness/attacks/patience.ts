import { openConnection, post, requestHead } from '../exchange.ts';
import { BOUNDARY, CONTENT_TYPE, categoriesPart, filePart, joinForm } from '../form.ts';
import { judge } from '../judge.ts';
import { categories, DETAILED, type Target } from '../target.ts';
import type { Attack } from './attack.ts';

/** How long the clients keep at it, and how fast they are. */
export interface Patience {
  readonly seconds: number;
}

/** Requests whose heads come, and nothing more: they keep out no other. */
export const silentConnections =
  ({ seconds }: Patience): Attack =>
  async (target, random, count) => {
    const ATTACK = 'silent connections';
    await using connections = new AsyncDisposableStack();
    const until = performance.now() + seconds * 1000;
    for (let left = count; left > 0; left--) {
      const connection = connections.use(await openConnection(target.url));
      const path = random.chance(0.25) ? '/video' : '/categorize';
      await connection.write(requestHead(path, { 'Content-Type': CONTENT_TYPE, 'Content-Length': 1000 }));
    }
    while (performance.now() < until) {
      await expectServed(target, ATTACK);
      await Bun.sleep(100);
    }
  };

/** A good request is answered, not told to come back. */
async function expectServed(target: Target, attack: string): Promise<void> {
  const body = goodBody(target);
  const outcome = await post({ url: target.url, path: DETAILED, contentType: CONTENT_TYPE, body });
  const answer = judge(target.tally, attack, outcome, () => 'a good request beside it');
  if (answer && answer.status !== 200) target.tally.fault(attack, `a good request got ${answer.body}`);
}

function goodBody({ sentinels }: Target): Buffer {
  return joinForm([
    ...sentinels.map(({ bytes }, index) => filePart(`${index}.jpg`, bytes)),
    categoriesPart(JSON.stringify({ categories }), 'categories.json'),
  ]);
}

const KIBI = 1024;
const TICK_MS = 100;

/** Sound photos at 20 to 100 KB a second, each answered rightly in the end, beside clients that are fast. */
export const slowUploads =
  ({ seconds }: Patience): Attack =>
  async (target, random, count) => {
    const ATTACK = 'slow uploads';
    const expected = target.sentinels[0];
    let isOver = false;
    const one = async (bytesPerSecond: number) => {
      // The end of a JPEG may be followed by anything: so a small picture becomes a large file.
      const photo = Buffer.concat([
        expected?.bytes ?? new Uint8Array(),
        Buffer.alloc(bytesPerSecond * seconds),
      ]);
      const body = joinForm([filePart('photo.jpg', photo), categoriesPart(JSON.stringify({ categories }))]);
      using connection = await openConnection(target.url);
      await connection.write(
        requestHead(DETAILED, { 'Content-Type': CONTENT_TYPE, 'Content-Length': body.length }),
      );
      const piece = Math.ceil((bytesPerSecond * TICK_MS) / 1000);
      for (let at = 0; at < body.length && !connection.isOver; at += piece) {
        await connection.write(body.subarray(at, at + piece));
        await Bun.sleep(TICK_MS);
      }
      const answer = judge(
        target.tally,
        ATTACK,
        await connection.answer(),
        () => `${bytesPerSecond} bytes a second`,
      );
      if (!answer) return;
      const [{ file: _, ...entry } = { file: '' }] =
        (answer.json as { results?: readonly { file: string }[] }).results ?? [];
      if (JSON.stringify(entry) !== expected?.entry) {
        target.tally.fault(ATTACK, `${bytesPerSecond} bytes a second: ${answer.status} ${answer.body}`);
      }
    };
    const slow = Promise.all(
      Array.from({ length: count }, () => one((20 + random.below(81)) * KIBI)),
    ).finally(() => {
      isOver = true;
    });
    while (!isOver) {
      await expectServed(target, ATTACK);
      await Bun.sleep(100);
    }
    await slow;
  };

/** Parts without an end, too slow to be refused for their size: they keep out no other. */
export const endlessParts =
  ({ seconds }: Patience): Attack =>
  async (target, _random, count) => {
    const ATTACK = 'endless parts';
    const until = performance.now() + seconds * 1000;
    const head = requestHead('/categorize', { 'Content-Type': CONTENT_TYPE, 'Content-Length': 2 ** 40 });
    const start = `--${BOUNDARY}\r\nContent-Disposition: form-data; name="files"; filename="a"\r\n\r\n`;
    const endless = async () => {
      using connection = await openConnection(target.url);
      await connection.write(head + start);
      while (performance.now() < until && !connection.isOver) {
        await connection.write(Buffer.alloc(1500, 'x'));
        await Bun.sleep(TICK_MS);
      }
      if (connection.isOver) judge(target.tally, ATTACK, await connection.answer(), () => 'an endless part');
    };
    const running = Promise.all(Array.from({ length: count }, endless));
    while (performance.now() < until) {
      await expectServed(target, ATTACK);
      await Bun.sleep(100);
    }
    await running;
    await target.expectSound(ATTACK);
  };

/** Clients that leave with their data still in the socket, or with their answer unread. */
export const unreadData: Attack = async (target, random, count) => {
  const ATTACK = 'data left unread';
  const body = joinForm([
    ...Array.from({ length: 20 }, (_, index) =>
      filePart(`${index}`, target.sentinels[0]?.bytes ?? new Uint8Array()),
    ),
    filePart('large', new Uint8Array(2_000_000)),
    categoriesPart(categories.join(',')),
  ]);
  for (let turn = 0; turn < count; turn++) {
    const connection = await openConnection(target.url);
    const head = requestHead(DETAILED, { 'Content-Type': CONTENT_TYPE, 'Content-Length': body.length });
    await Promise.race([
      connection.write(Buffer.concat([Buffer.from(head), body])),
      Bun.sleep(random.below(20)),
    ]);
    if (random.chance(0.5)) connection.reset();
    else connection[Symbol.dispose]();
    target.tally.count(ATTACK, 'left');
  }
  await target.expectSound(ATTACK);
};

/** Clients that take their answers a little at a time, or not at all. */
export const slowReaders =
  ({ seconds }: Patience): Attack =>
  async (target, random, count) => {
    const ATTACK = 'slow readers';
    const labels = Array.from({ length: 1000 }, (_, index) => `label ${index}`);
    const body = joinForm([
      ...Array.from({ length: 8 }, (_, index) =>
        filePart(`${index}`, target.sentinels[0]?.bytes ?? new Uint8Array()),
      ),
      categoriesPart(JSON.stringify(labels)),
    ]);
    const head = requestHead('/categorize?details=true&top_k=1000', {
      'Content-Type': CONTENT_TYPE,
      'Content-Length': body.length,
    });
    const until = performance.now() + seconds * 1000;
    const one = async () => {
      using connection = await openConnection(target.url);
      await connection.write(head);
      await connection.write(body);
      connection.pause();
      const takesSome = random.chance(0.5);
      while (performance.now() < until) {
        if (takesSome) {
          connection.resume();
          await Bun.sleep(1);
          connection.pause();
        }
        await Bun.sleep(TICK_MS);
      }
      target.tally.count(ATTACK, 'left');
    };
    const running = Promise.all(Array.from({ length: count }, one));
    while (performance.now() < until) {
      await expectServed(target, ATTACK);
      await Bun.sleep(100);
    }
    await running;
    await target.expectSound(ATTACK);
  };
