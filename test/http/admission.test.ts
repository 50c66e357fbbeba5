import { describe, expect, test } from 'bun:test';
import { createAdmission, createResources } from '../../src/http/resources.ts';
import { plenty } from './plenty.ts';

const patience = { waitMs: 60_000, msPerKibibyte: 1000 };
const resources = createResources(plenty, { patience, hurriedPatience: patience });
const enter = () => resources.enter('pictureUploads', new Request('http://localhost'));
const code = (expected: string) => expect.objectContaining({ code: expected });

/** Work for the engine. The test decides when the engine accepts it and when it ends. */
function task() {
  const [taken, settled] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
  const start = async () => {
    await taken.promise;
    return { settled: settled.promise };
  };
  return { start, take: taken.resolve, settle: settled.resolve, fail: taken.reject };
}

const limits = { waiting: 2, waitingAtMost: 3, waitMs: 60_000 };

describe('the queue before the engine', () => {
  test('counts requests that wait, and those of which something is worked on', async () => {
    using lease = enter();
    const admission = createAdmission(limits);
    const waits: number[] = [];
    const work = admission.createWork(lease, (ms) => waits.push(ms));
    const counts = () => [admission.waiting, admission.running];
    expect(counts()).toEqual([0, 0]);
    const [first, second] = [task(), task()];
    const submitted = work.submit(first.start);
    expect(counts()).toEqual([1, 0]);
    first.take();
    await submitted;
    expect(counts()).toEqual([0, 1]);
    // Its second picture waits while its first is processed; the request counts once.
    const next = work.submit(second.start);
    expect(counts()).toEqual([1, 0]);
    first.settle();
    second.take();
    await next;
    expect(counts()).toEqual([0, 1]);
    second.settle();
    await Bun.sleep(0);
    expect(counts()).toEqual([0, 0]);
    expect(waits).toHaveLength(2);
  });

  test('refuses newcomers when so many wait, and lets those in before wait, up to a bound', async () => {
    const admission = createAdmission(limits);
    const tasks = [task(), task(), task(), task()];
    using leases = new DisposableStack();
    const submitted: Promise<void>[] = [];
    for (const { start } of tasks.slice(0, 3)) {
      if (submitted.length < 2) admission.refuseWhenFull();
      else expect(() => admission.refuseWhenFull()).toThrow(code('overloaded') as never);
      submitted.push(admission.createWork(leases.use(enter())).submit(start));
    }
    const fourth = admission.createWork(leases.use(enter())).submit(tasks[3]?.start as never);
    expect(await fourth.catch((fault: unknown) => fault)).toEqual(code('overloaded'));
    for (const { take, settle } of tasks) {
      take();
      settle();
    }
    await Promise.all(submitted);
    admission.refuseWhenFull();
  });

  test('what fails waits no more, and is not worked on', async () => {
    using lease = enter();
    const admission = createAdmission(limits);
    const { start, fail } = task();
    const submitted = admission.createWork(lease).submit(start);
    fail(new Error('gone'));
    expect(await submitted.catch((fault: unknown) => fault)).toEqual(new Error('gone'));
    expect([admission.waiting, admission.running]).toEqual([0, 0]);
  });

  test('none waits longer than it may', async () => {
    const lease = enter();
    const admission = createAdmission({ ...limits, waitMs: 10 });
    const { start, fail } = task();
    lease.signal.addEventListener('abort', () => fail(lease.signal.reason));
    const submitted = admission.createWork(lease).submit(start);
    expect(await submitted.catch((fault: unknown) => fault)).toEqual(code('overloaded'));
  });
});
