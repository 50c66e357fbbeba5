import { describe, expect, test } from 'bun:test';
import { createAdmission } from '../../src/http/admission.ts';

const stay = new AbortController().signal;
/** Of a request whose body has begun to come. */
const arrived = Promise.resolve();
const code = (expected: string) => expect.objectContaining({ code: expected });

describe('admission', () => {
  test('counts who runs and who waits', async () => {
    const admission = createAdmission({ running: 1, waiting: 1, silent: 100 });
    const first = await admission.enter(stay, arrived);
    const second = admission.enter(stay, arrived);
    await Bun.sleep(0);
    expect([admission.running, admission.waiting]).toEqual([1, 1]);
    expect(admission.enter(stay, arrived)).rejects.toEqual(code('overloaded'));
    first[Symbol.dispose]();
    using _ = await second;
    expect([admission.running, admission.waiting]).toEqual([1, 0]);
  });

  test('tells before anything was sent whether anybody may come', async () => {
    const admission = createAdmission({ running: 1, waiting: 1, silent: 100 });
    using _ = await admission.enter(stay, arrived);
    admission.refuseWhenFull();
    const leaver = new AbortController();
    const left = admission.enter(leaver.signal, arrived);
    await Bun.sleep(0);
    expect(admission.refuseWhenFull).toThrow(code('overloaded'));
    leaver.abort(new Error('gone'));
    expect(left).rejects.toThrow('gone');
    admission.refuseWhenFull();
  });

  test('without a waiting room the next one is refused', async () => {
    const admission = createAdmission({ running: 1, waiting: 0, silent: 100 });
    using _ = await admission.enter(stay, arrived);
    expect(admission.enter(stay, arrived)).rejects.toEqual(code('overloaded'));
  });

  test('a waiter that leaves makes room', async () => {
    const admission = createAdmission({ running: 1, waiting: 1, silent: 100 });
    using _ = await admission.enter(stay, arrived);
    const leaver = new AbortController();
    const left = admission.enter(leaver.signal, arrived);
    await Bun.sleep(0);
    leaver.abort(new Error('gone'));
    expect(left).rejects.toThrow('gone');
    expect(admission.waiting).toBe(0);
  });

  test('slow clients keep others waiting while somebody waits, or when all are to hurry', async () => {
    const admission = createAdmission({ running: 1, waiting: 5, silent: 100 });
    const first = await admission.enter(stay, arrived);
    expect(admission.isContended).toBe(false);
    const waiting = admission.enter(stay, arrived);
    await Bun.sleep(0);
    expect(admission.isContended).toBe(true);
    first[Symbol.dispose]();
    using second = await waiting;
    expect(second.waitedMs).toBeGreaterThan(0);
    expect(admission.isContended).toBe(false);
    admission.hurry();
    expect(admission.isContended).toBe(true);
  });

  test('who has not sent anything holds nobody up, and there may be only so many of them', async () => {
    const admission = createAdmission({ running: 1, waiting: 0, silent: 1 });
    const arrival = Promise.withResolvers<void>();
    const silent = admission.enter(stay, arrival.promise);
    const refused = await admission
      .enter(stay, Promise.reject(new Error('gone')))
      .catch((reason: unknown) => reason);
    expect(refused).toEqual(code('overloaded'));
    expect([admission.running, admission.waiting]).toEqual([0, 0]);
    arrival.resolve();
    using _ = await silent;
    expect(admission.running).toBe(1);
  });
});
