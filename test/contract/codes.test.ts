import { expect, test } from 'bun:test';
import { adviceForStatus, errorMeanings } from '../../src/contract/codes.ts';
import type { ErrorCode } from '../../src/errors.ts';

const codesWith = (client: string) =>
  Object.entries(errorMeanings).flatMap(([code, advice]) => (advice.client === client ? code : []));

test('a client waits, retries or sends less only after these codes', () => {
  expect(codesWith('wait')).toEqual(['model_loading', 'engine_restarting', 'overloaded', 'shutting_down']);
  expect(codesWith('retry')).toEqual(['upload_stalled']);
  expect(codesWith('send_less')).toEqual([
    'multipart_too_large',
    'files_too_many',
    'image_too_large',
    'video_too_large',
  ]);
});

test('a busy service has status 503', () => {
  for (const code of codesWith('wait')) expect(errorMeanings[code as ErrorCode].status).toBe(503);
});

test.each([
  [0, 'retry', 'unknown'],
  [400, 'never_retry', 'files'],
  [401, 'never_retry', 'request'],
  [403, 'never_retry', 'unknown'],
  [404, 'never_retry', 'request'],
  [408, 'retry', 'unknown'],
  [413, 'send_less', 'files'],
  [429, 'retry', 'service'],
  [500, 'never_retry', 'files'],
  [502, 'retry', 'unknown'],
  [503, 'wait', 'service'],
  [504, 'retry', 'unknown'],
  [524, 'never_retry', 'files'],
] as const)('after the status %d of a proxy: %s, about %s', (status, client, about) => {
  expect(adviceForStatus(status)).toEqual({ client, about });
});
