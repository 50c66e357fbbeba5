import { describe, expect, test } from 'bun:test';
import { statusOf } from '../../src/contract/codes.ts';
import { errorCodes } from '../../src/errors.ts';
import { classifyVideo, createLineReader } from '../../src/page/service/classify-video.ts';
import type { Received } from '../../src/page/service/refusal.ts';
import { videoDetails } from './video-details.ts';

const line = (event: string, data: unknown) => `${JSON.stringify({ event, data })}\n`;
const result = line('result', videoDetails);

/** Sends a video; `answers` are what comes back, each in pieces, and the status. */
async function run(answers: readonly (readonly [status: number, ...pieces: readonly string[]])[]) {
  const left = [...answers];
  const told: unknown[] = [];
  const outcome = await classifyVideo({
    signal: new AbortController().signal,
    async post(_, onSent, onText): Promise<Received> {
      onSent(7);
      const [status = 0, ...pieces] = left.shift() ?? [];
      let text = '';
      for (const piece of pieces) {
        text += piece;
        onText(text);
      }
      return { status, text, retryAfterSeconds: undefined };
    },
    pause: async (seconds) => {
      told.push(['pause', seconds]);
    },
    onSent: (bytes) => told.push(['sent', bytes]),
    onProgress: (progress) => told.push(progress),
    onWait: ({ code }) => told.push(['wait', code]),
  });
  return { outcome, told };
}

describe('a video', () => {
  test('is followed while it is looked through, and answered', async () => {
    const searching = { stage: 'searching', seconds_done: 3, seconds_total: 10, frames: 2 };
    const text = `${line('progress', { stage: 'uploading', bytes_done: 7 })}${line('progress', searching)}${result}`;
    const { outcome, told } = await run([[200, text.slice(0, 30), text.slice(30, 170), text.slice(170)]]);
    expect(outcome).toEqual(videoDetails);
    expect(told).toEqual([['sent', 7], searching]);
  });

  test('that is refused tells why', async () => {
    const error = { code: 'video_unsupported', error: 'Not a video.' };
    expect((await run([[415, JSON.stringify(error)]])).outcome).toMatchObject({
      code: 'video_unsupported',
      sentence: 'Not a video.',
      remedy: 'blame',
    });
    expect((await run([[200, line('error', error)]])).outcome).toMatchObject({
      code: 'video_unsupported',
      remedy: 'blame',
    });
  });

  test('waits for a busy service, also where that turns out late', async () => {
    const busy = { code: 'overloaded', error: 'Busy.' };
    const { outcome, told } = await run([
      [503, JSON.stringify(busy)],
      [200, line('error', busy)],
      [200, result],
    ]);
    expect(outcome).toEqual(videoDetails);
    expect(told.filter((item) => Array.isArray(item) && item[0] !== 'sent')).toEqual([
      ['wait', 'overloaded'],
      ['pause', 5],
      ['wait', 'overloaded'],
      ['pause', 5],
    ]);
  });

  test.each(errorCodes.filter((code) => statusOf(code) === 503))(
    'is sent again, when that helps, after %s',
    async (code) => {
      const busy = { code, error: 'Not now.', retry_after_seconds: 7 };
      const { outcome, told } = await run([
        [200, line('error', busy)],
        [200, result],
      ]);
      expect(outcome).toEqual(videoDetails);
      expect(told).toContainEqual(['pause', 7]);
    },
  );

  test('whose upload stopped may be sent again, and is not to blame', async () => {
    const stalled = { code: 'upload_stalled', error: 'The upload stopped.' };
    for (const status of [200, 408]) {
      const text = status === 200 ? line('error', stalled) : JSON.stringify(stalled);
      expect((await run([[status, text]])).outcome).toMatchObject({
        code: 'upload_stalled',
        remedy: 'retry',
      });
    }
  });

  test('whose answer breaks off is not taken for answered', async () => {
    expect((await run([[200, result.slice(0, 50)]])).outcome).toMatchObject({ remedy: 'stop' });
    expect((await run([[0]])).outcome).toMatchObject({ code: 'unreachable', remedy: 'retry' });
  });
});

test('lines are read once each, however the text grows', () => {
  const text = 'one\ntwo\n\nthree\nfour';
  const read = createLineReader();
  const lines = [...text].flatMap((_, index) => read(text.slice(0, index + 1)));
  expect(lines).toEqual(['one', 'two', 'three']);
});
