import { describe, expect, test } from 'bun:test';
import { ServiceError } from '../../src/errors.ts';
import { errorResponse } from '../../src/http/answers.ts';
import { type Remedy, refusalOf } from '../../src/page/service/refusal.ts';

/** What the service answers, as the page receives it. */
async function refused(error: ServiceError) {
  const response = errorResponse(error);
  const retryAfter = response.headers.get('retry-after');
  return refusalOf({
    status: response.status,
    text: await response.text(),
    retryAfterSeconds: retryAfter === null ? undefined : Number(retryAfter),
  });
}

describe('a request that was refused', () => {
  test.each<[ConstructorParameters<typeof ServiceError>[0], Remedy]>([
    ['overloaded', 'wait'],
    ['model_loading', 'wait'],
    ['model_missing', 'wait'],
    ['shutting_down', 'wait'],
    ['upload_stalled', 'retry'],
    ['unauthorized', 'stop'],
    ['categories_too_many', 'stop'],
    ['label_too_long', 'stop'],
    ['option_invalid', 'stop'],
    ['multipart_too_large', 'stop'],
    ['video_broken', 'blame'],
    ['storage_full', 'blame'],
    ['internal', 'blame'],
  ])('with the code %s: %s', async (code, remedy) => {
    expect(await refused(new ServiceError(code, 'A sentence.'))).toMatchObject({
      code,
      sentence: 'A sentence.',
      remedy,
    });
  });

  test('says when to come back', async () => {
    const busy = new ServiceError('overloaded', 'Busy.', { retry_after_seconds: 17 });
    expect((await refused(busy)).waitSeconds).toBe(17);
    expect((await refused(new ServiceError('overloaded', 'Busy.'))).waitSeconds).toBe(5);
  });

  test.each<[number, Remedy]>([
    [0, 'retry'],
    [502, 'retry'],
    [504, 'retry'],
    [413, 'split'],
    [403, 'stop'],
    [500, 'blame'],
  ])('by something between, with the status %p: %s', (status, remedy) => {
    const text = '<html>Request Entity Too Large</html>';
    const refusal = refusalOf({ status, text, retryAfterSeconds: undefined });
    expect(refusal.remedy).toBe(remedy);
    expect(refusal.sentence).toMatch(status === 0 ? /cannot be reached/ : new RegExp(`${status}`));
  });
});
