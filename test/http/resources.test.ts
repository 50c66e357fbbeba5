import { describe, expect, test } from 'bun:test';
import { ServiceError } from '../../src/errors.ts';
import {
  createResources,
  type Lease,
  type Patience,
  type ResourceLimits,
  type ResourceOptions,
} from '../../src/http/resources.ts';
import { until } from './harness.ts';
import { plenty } from './plenty.ts';

const patience: Patience = { waitMs: 60_000, msPerKibibyte: 1000 };
const code = (expected: string) => expect.objectContaining({ code: expected });
const never = () => new Promise<never>(() => undefined);

function create(limits: Partial<ResourceLimits> = {}, options: Partial<ResourceOptions> = {}) {
  return createResources({ ...plenty, ...limits }, { patience, hurriedPatience: patience, ...options });
}

const enter = (resources: ReturnType<typeof create>, signal?: AbortSignal) =>
  resources.enter('pictureUploads', new Request('http://localhost', signal ? { signal } : {}));

/** Lets a client keep the service waiting until it may be ended for others. */
async function silence(lease: Lease): Promise<unknown> {
  const waiting = lease.awaitClient(never(), 'upload').catch((fault: unknown) => fault);
  await Bun.sleep(1050);
  return { waiting };
}

describe('what requests share', () => {
  test('is counted, and given back when they end', () => {
    const resources = create({ partBytes: 100 });
    const lease = enter(resources);
    expect(resources.used('pictureUploads')).toBe(1);
    expect(lease.tryTake('partBytes', 60)).toBe(true);
    expect(lease.tryTake('partBytes', 60)).toBe(false);
    lease.give('partBytes', 20);
    expect([lease.held('partBytes'), resources.used('partBytes')]).toEqual([40, 40]);
    lease[Symbol.dispose]();
    lease[Symbol.dispose]();
    expect([resources.used('partBytes'), resources.used('pictureUploads')]).toEqual([0, 0]);
  });

  test('is never given back more than once', () => {
    const resources = create();
    const [one, other] = [enter(resources), enter(resources)];
    one.take('partBytes', 10);
    other.take('partBytes', 10);
    one.give('partBytes', 1000);
    one.abort(new Error('over'));
    one.give('partBytes', 10);
    expect(resources.used('partBytes')).toBe(10);
    other[Symbol.dispose]();
  });

  test('where it is short, and nobody is slow, the newcomer is refused', () => {
    const resources = create({ pictureUploads: 1, keptBytes: 100 });
    using lease = enter(resources);
    expect(() => enter(resources)).toThrow(code('overloaded') as never);
    using video = resources.enter('videoUploads', new Request('http://localhost'));
    lease.take('keptBytes', 60);
    expect(() => video.take('keptBytes', 60)).toThrow(code('overloaded') as never);
    expect(lease.signal.aborted).toBe(false);
  });

  test('where it is short, one that has sent nothing makes room sooner than one that has', async () => {
    const resources = create({ pictureUploads: 2 });
    using sender = enter(resources);
    sender.credit('upload', 1024);
    using silent = enter(resources);
    const waiting = [sender, silent].map((lease) =>
      lease.awaitClient(never(), 'upload').catch((fault: unknown) => fault),
    );
    expect(() => enter(resources)).toThrow(code('overloaded') as never);
    await Bun.sleep(60);
    using _newcomer = enter(resources);
    expect(await waiting[1]).toEqual(code('upload_stalled'));
    expect(sender.signal.aborted).toBe(false);
  });

  test('a request that is alone gets as much as it asks for', () => {
    const resources = create({ keptBytes: 100 });
    using lease = enter(resources);
    lease.take('keptBytes', 90);
    lease.take('keptBytes', 90);
    expect(resources.used('keptBytes')).toBe(180);
  });

  test('a client that leaves gives all back', () => {
    const resources = create();
    const leaving = new AbortController();
    const lease = enter(resources, leaving.signal);
    lease.take('partBytes', 10);
    leaving.abort();
    expect(lease.signal.reason).toEqual(code('client_gone'));
    expect(resources.used('partBytes')).toBe(0);
    expect(() => lease.take('partBytes', 1)).toThrow(code('client_gone') as never);
  });
});

describe.concurrent('where room is short', () => {
  test('the client that has kept the service waiting longest makes room, and only that one', async () => {
    const resources = create({ pictureUploads: 3 });
    const leases = [enter(resources), enter(resources), enter(resources)];
    const [busy, longest, shorter] = leases as [Lease, Lease, Lease];
    const evicted = longest.awaitClient(never(), 'upload').catch((fault: unknown) => fault);
    await Bun.sleep(30);
    await silence(shorter);
    using newcomer = enter(resources);
    expect(await evicted).toEqual(code('upload_stalled'));
    expect((await evicted) as ServiceError).toMatchObject({ details: { retry_after_seconds: 5 } });
    expect([busy, shorter, newcomer].map(({ signal }) => signal.aborted)).toEqual([false, false, false]);
    for (const lease of leases) lease[Symbol.dispose]();
  });

  test('one that sends a byte now and then is slow as well; one that has just sent enough is not', async () => {
    const resources = create({ keptBytes: 100 });
    const [trickler, honest, newcomer] = [enter(resources), enter(resources), enter(resources)];
    trickler.take('keptBytes', 50);
    honest.take('keptBytes', 50);
    for (let turn = 0; turn < 6; turn++) {
      await Promise.all([
        trickler.awaitClient(Bun.sleep(220), 'upload'),
        honest.awaitClient(Bun.sleep(220), 'upload'),
      ]);
      trickler.credit('upload', 1);
      honest.credit('upload', 1024);
    }
    for (const lease of [trickler, honest]) lease.awaitClient(never(), 'upload').catch(() => undefined);
    newcomer.take('keptBytes', 40);
    expect(trickler.signal.reason).toEqual(code('upload_stalled'));
    expect(honest.signal.aborted).toBe(false);
    expect(() => newcomer.take('keptBytes', 40)).toThrow(code('overloaded') as never);
    for (const lease of [honest, newcomer]) lease[Symbol.dispose]();
  });

  test('nobody is sent away in vain', async () => {
    const resources = create({ keptBytes: 100 });
    const [slow, busy, newcomer] = [enter(resources), enter(resources), enter(resources)];
    slow.take('keptBytes', 10);
    busy.take('keptBytes', 90);
    await silence(slow);
    expect(() => newcomer.take('keptBytes', 50)).toThrow(code('overloaded') as never);
    expect(slow.signal.aborted).toBe(false);
    for (const lease of [slow, busy, newcomer]) lease[Symbol.dispose]();
  });

  test('who waits for room gets it in turn, from those who end and from those who have become slow', async () => {
    const resources = create({ answerBytes: 100 });
    const [first, second, third] = [enter(resources), enter(resources), enter(resources)];
    await first.takeInTurn('answerBytes', 80, 60_000);
    const order: string[] = [];
    const large = second.takeInTurn('answerBytes', 100, 60_000).then(() => order.push('large'));
    const small = third.takeInTurn('answerBytes', 10, 60_000).then(() => order.push('small'));
    first.awaitClient(never(), 'answer').catch(() => undefined);
    await large;
    expect(first.signal.reason).toEqual(code('client_gone'));
    expect(order).toEqual(['large']);
    second[Symbol.dispose]();
    await small;
    third[Symbol.dispose]();
    expect(resources.used('answerBytes')).toBe(0);
  });

  test('who waits too long for room, or leaves, waits no more', async () => {
    const resources = create({ answerBytes: 100 });
    const leaving = new AbortController();
    const [holder, late, gone] = [enter(resources), enter(resources), enter(resources, leaving.signal)];
    await holder.takeInTurn('answerBytes', 80, 60_000);
    const refused = late.takeInTurn('answerBytes', 80, 10).catch((fault: unknown) => fault);
    const left = gone.takeInTurn('answerBytes', 80, 60_000).catch((fault: unknown) => fault);
    expect(await refused).toEqual(code('overloaded'));
    leaving.abort();
    expect(await left).toEqual(code('client_gone'));
    holder[Symbol.dispose]();
    expect(resources.used('answerBytes')).toBe(0);
  });
});

describe.concurrent('patience', () => {
  test('ends for a client that sends nothing, or too little', async () => {
    const resources = create({}, { patience: { waitMs: 300, msPerKibibyte: 1000 } });
    const [silent, trickler] = [enter(resources), enter(resources)];
    const stalled = silent.awaitClient(never(), 'upload').catch((fault: unknown) => fault);
    const trickled = (async () => {
      for (;;) {
        await trickler.awaitClient(Bun.sleep(20), 'upload');
        trickler.credit('upload', 1);
      }
    })().catch((fault: unknown) => fault);
    expect(await stalled).toEqual(code('upload_stalled'));
    expect(await trickled).toEqual(code('upload_stalled'));
    expect(resources.used('pictureUploads')).toBe(0);
  });

  test('is earned by what is sent, and is never more than at first', async () => {
    const resources = create({}, { patience: { waitMs: 1000, msPerKibibyte: 1000 } });
    const steady = enter(resources);
    for (let turn = 0; turn < 8; turn++) {
      await steady.awaitClient(Bun.sleep(300), 'upload');
      steady.credit('upload', 1024 ** 2);
    }
    expect(steady.signal.aborted).toBe(false);
    const stalled = await steady.awaitClient(never(), 'upload').catch((fault: unknown) => fault);
    expect(stalled).toEqual(code('upload_stalled'));
  });

  test('is not tried by our own work', async () => {
    const resources = create({}, { patience: { waitMs: 300, msPerKibibyte: 1000 } });
    using lease = enter(resources);
    await Bun.sleep(900);
    expect(lease.signal.aborted).toBe(false);
  });

  test('is shorter when the service is about to stop, also for those who are waited for', async () => {
    const resources = create({}, { hurriedPatience: { waitMs: 50, msPerKibibyte: 80 } });
    const lease = enter(resources);
    const stalled = lease.awaitClient(never(), 'answer').catch((fault: unknown) => fault);
    resources.hurry();
    expect(await stalled).toEqual(code('client_gone'));
  });

  test('has its own end for what is waited for elsewhere', async () => {
    const resources = create();
    const [late, inTime] = [enter(resources), enter(resources)];
    late.limitWait(10, () => new ServiceError('overloaded', 'Too late.'));
    inTime.limitWait(10, () => new ServiceError('overloaded', 'Too late.'));
    inTime.endLimit();
    await until(() => late.signal.aborted);
    expect(late.signal.reason).toEqual(code('overloaded'));
    expect(inTime.signal.aborted).toBe(false);
    inTime[Symbol.dispose]();
  });
});

test.concurrent('a client is looked for where its body has not been read for a while, and only there', async () => {
  const asked: (readonly Request[])[] = [];
  const resources = create(
    {},
    {
      findAbandoned: async (requests) => {
        asked.push(requests);
        return requests;
      },
    },
  );
  const [unread, read, complete] = [enter(resources), enter(resources), enter(resources)];
  read.awaitClient(never(), 'upload').catch(() => undefined);
  complete.give('pictureUploads', 1);
  await until(() => unread.signal.aborted);
  expect(unread.signal.reason).toEqual(code('client_gone'));
  expect(asked.map(({ length }) => length)).toEqual([1]);
  expect([read.signal.aborted, complete.signal.aborted]).toEqual([false, false]);
  for (const lease of [read, complete]) lease[Symbol.dispose]();
});
