import { describe, expect, test } from 'bun:test';
import { createAdmission } from '../../src/http/admission.ts';

const stay = new AbortController().signal;
const code = (expected: string) => expect.objectContaining({ code: expected });

describe('admission', () => {
  test('counts who runs and who waits', async () => {
    const admission = createAdmission({ running: 1, waiting: 1 });
    const first = await admission.enter(stay);
    const second = admission.enter(stay);
    expect([admission.running, admission.waiting]).toEqual([1, 1]);
    expect(admission.enter(stay)).rejects.toEqual(code('overloaded'));
    first[Symbol.dispose]();
    using _ = await second;
    expect([admission.running, admission.waiting]).toEqual([1, 0]);
  });

  test('without a waiting room the next one is refused', async () => {
    const admission = createAdmission({ running: 1, waiting: 0 });
    using _ = await admission.enter(stay);
    expect(admission.enter(stay)).rejects.toEqual(code('overloaded'));
  });

  test('a waiter that leaves makes room', async () => {
    const admission = createAdmission({ running: 1, waiting: 1 });
    using _ = await admission.enter(stay);
    const leaver = new AbortController();
    const left = admission.enter(leaver.signal);
    leaver.abort(new Error('gone'));
    expect(left).rejects.toThrow('gone');
    expect(admission.waiting).toBe(0);
  });

  test('closing sends waiters and newcomers away, not those who run', async () => {
    const admission = createAdmission({ running: 1, waiting: 5 });
    using _ = await admission.enter(stay);
    const waiting = admission.enter(stay);
    admission.close();
    expect(waiting).rejects.toEqual(code('shutting_down'));
    expect(admission.enter(stay)).rejects.toEqual(code('shutting_down'));
    expect(admission.running).toBe(1);
  });
});
