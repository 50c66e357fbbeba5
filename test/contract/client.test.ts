import { describe, expect, test } from 'bun:test';
import { type Received, refusalOf, type SendingOptions, sendPatiently } from '../../src/contract/client.ts';
import { errorMeanings } from '../../src/contract/codes.ts';
import { createEventReader } from '../../src/contract/event-stream.ts';
import { type ErrorCode, errorCodes, ServiceError } from '../../src/errors.ts';
import { errorResponse } from '../../src/http/answers.ts';

/** An answer of the service, as a client receives it. */
async function refused(error: ServiceError): Promise<Received> {
  const response = errorResponse(error);
  const retryAfter = response.headers.get('retry-after');
  return {
    status: response.status,
    body: await response.json(),
    ...(retryAfter !== null && { retryAfterSeconds: Number(retryAfter) }),
  };
}

const late = (code: ErrorCode, more = {}): Received => {
  const reader = createEventReader(() => undefined);
  reader.read(`${JSON.stringify({ event: 'error', data: { code, error: 'Not now.', ...more } })}\n`);
  return reader.end();
};
const busy = (retryAfter = 7) =>
  refused(new ServiceError('overloaded', 'Busy.', { retry_after_seconds: retryAfter }));
const answered: Received = { status: 200, body: 'an answer' };

/** Sends a request. After the last of `answers` the connection breaks. */
async function send(
  answers: readonly (Received | Promise<Received>)[],
  options: Partial<SendingOptions> = {},
) {
  const left = [...answers];
  const pauses: number[] = [];
  const notes: string[] = [];
  const outcome = await sendPatiently(async () => (await left.shift()) ?? { status: 0, body: 'broken' }, {
    signal: new AbortController().signal,
    onWait: ({ code }, seconds) => notes.push(`${code} ${seconds}`),
    pause: async (seconds) => {
      pauses.push(seconds);
    },
    ...options,
  });
  return { outcome, pauses, notes };
}

describe('a refusal', () => {
  test.each(errorCodes)('%s has the sentence of the service and the advice of the table', async (code) => {
    const refusal = refusalOf(await refused(new ServiceError(code, 'A sentence.')));
    const { client, about } = errorMeanings[code];
    expect(refusal).toMatchObject({ code, sentence: 'A sentence.', client, about });
    expect(refusalOf(late(code))).toMatchObject({ code, sentence: 'Not now.', client, about });
  });

  test('of a newer service keeps its sentence', () => {
    const refusal = refusalOf({ status: 503, body: { code: 'new_code', error: 'Something new.' } });
    expect(refusal).toMatchObject({ code: 'unknown', sentence: 'Something new.', client: 'wait' });
  });

  test.each([0, 200, 403, 413, 500, 502])(
    'with status %d from a proxy is not taken for the service',
    (status) => {
      const refusal = refusalOf({ status, body: '<html>Request Entity Too Large</html>' });
      expect(refusal.sentence).toMatch(
        status === 0 ? /cannot be reached/ : new RegExp(`${status} did not come`),
      );
      expect(refusal.code).toBe(status === 0 ? 'unreachable' : 'unreadable');
    },
  );
});

describe('a request', () => {
  test('waits for a busy service as often as needed, and as long as it says', async () => {
    const { outcome, pauses, notes } = await send([
      busy(17),
      ...Array.from({ length: 20 }, () => refused(new ServiceError('overloaded', 'Busy.'))),
      late('engine_restarting', { retry_after_seconds: 9 }),
      busy(0),
      { status: 503, body: 'no upstream', retryAfterSeconds: 3 },
      answered,
    ]);
    expect(outcome).toEqual({ answer: 'an answer' });
    expect(pauses).toEqual([17, ...Array(20).fill(5), 9, 1, 3]);
    expect(notes.slice(-4)).toEqual(['overloaded 5', 'engine_restarting 9', 'overloaded 1', 'unreadable 3']);
  });

  test('waits from the first busy answer on, whatever the upload took before it', async () => {
    const slow = async (answer: Received | Promise<Received>) => {
      await Bun.sleep(60);
      return await answer;
    };
    const patience = { busySeconds: 0.05, backOffSeconds: 0 };
    const { outcome } = await send([slow(busy()), answered], { patience });
    expect(outcome).toEqual({ answer: 'an answer' });
    const pause = () => Bun.sleep(60);
    const given = await send([busy(), busy(), answered], { patience, pause });
    expect(given.outcome).toMatchObject({ refusal: { code: 'overloaded' } });
  });

  test('is tried five times where the connection breaks, with pauses that grow', async () => {
    const { outcome, pauses } = await send([{ status: 502, body: '' }, late('upload_stalled')]);
    expect(outcome).toMatchObject({ refusal: { code: 'unreachable', received: { body: 'broken' } } });
    expect(pauses).toEqual([1, 2, 4, 8]);
  });

  test('is tried again no sooner than a proxy says', async () => {
    const { pauses } = await send([{ status: 429, body: '', retryAfterSeconds: 30 }, answered]);
    expect(pauses).toEqual([30]);
  });

  test.each(errorCodes.filter((code) => /never|less/.test(errorMeanings[code].client)))(
    'is not sent again after %s',
    async (code) => {
      const { outcome, pauses } = await send([late(code, { retry_after_seconds: 7 }), answered]);
      expect(outcome).toMatchObject({ refusal: { code } });
      expect(pauses).toEqual([]);
    },
  );

  test('waits for an operator where it can see that the service is ready', async () => {
    const asked: string[] = [];
    const untilReady = async () => {
      asked.push('ready?');
    };
    const { outcome, pauses } = await send(
      [late('model_missing', { retry_after_seconds: 30 }), late('image_broken'), answered],
      { untilReady },
    );
    expect(asked).toEqual(['ready?']);
    expect(pauses).toEqual([1]);
    expect(outcome).toMatchObject({ refusal: { code: 'image_broken' } });
  });

  test('goes on when a service that had gone is ready again, but not with what it dies of', async () => {
    const asked: number[] = [];
    const untilReady = async () => {
      asked.push(asked.length);
    };
    const gone: Received = { status: 0, body: 'refused' };
    const { outcome } = await send([gone, late('shutting_down'), answered], { untilReady });
    expect(outcome).toEqual({ answer: 'an answer' });
    expect(asked).toHaveLength(2);
    const deadly = await send([], { untilReady });
    expect(deadly.outcome).toMatchObject({ refusal: { code: 'unreachable' } });
    expect(deadly.pauses).toEqual([1, 2, 4, 8]);
  });

  test('that is aborted during a pause ends with the reason', async () => {
    const stopping = new AbortController();
    const reason = new Error('stopped');
    const sending = sendPatiently(() => busy(), {
      signal: stopping.signal,
      onWait: () => stopping.abort(reason),
    });
    expect(await sending.catch((fault: unknown) => fault)).toBe(reason);
    const later = new AbortController();
    const options = { signal: later.signal, onWait: () => setTimeout(() => later.abort(reason), 1) };
    expect(await sendPatiently(() => busy(), options).catch((fault: unknown) => fault)).toBe(reason);
  });
});
