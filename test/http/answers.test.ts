import { describe, expect, test } from 'bun:test';
import fc from 'fast-check';
import { adviceOf, jsonItems, jsonObject, MAX_ANSWER_BYTES, sendJson } from '../../src/http/answers.ts';
import { refusalOf } from '../../src/http/broken-pictures.ts';
import { createResources, type ResourceLimits } from '../../src/http/resources.ts';
import {
  categoriesPart,
  closing,
  filePart,
  form,
  openSocket,
  requestHead,
  start,
  until,
  untilIdle,
} from './harness.ts';
import { plenty } from './plenty.ts';
import { post } from './post-pictures.ts';

const KIBI = 1024;
const MEBI = 1024 ** 2;
const patience = { waitMs: 60_000, msPerKibibyte: 1000 };
const code = (expected: string) => expect.objectContaining({ code: expected });

function create(limits: Partial<ResourceLimits> = {}) {
  const resources = createResources({ ...plenty, ...limits }, { patience, hurriedPatience: patience });
  const enter = () => {
    const lease = resources.enter('pictureUploads', new Request('http://localhost'));
    // A client has sent its request before there is an answer.
    lease.credit('upload', 1);
    return lease;
  };
  return { resources, enter };
}

/** An array of numbered texts, each a little over 1 KiB, with characters of two bytes. */
function* numbered(count: number) {
  yield '[';
  for (let index = 0; index < count; index++) {
    yield `${index === 0 ? '' : ','}${JSON.stringify(`${index}${'é'.repeat(512)}`)}`;
  }
  yield ']';
}

const send = (count: number, lease: ReturnType<ReturnType<typeof create>['enter']>) =>
  sendJson(
    { pieces: () => numbered(count), advice: () => 'Send less.' },
    { status: 200, headers: {} },
    lease,
    () => undefined,
  );

describe('a JSON text', () => {
  test.each([0, 1, 50, 70, 900, 1100, 5000])('arrives whole, of %p KiB', async (count) => {
    const { resources, enter } = create();
    const lease = enter();
    lease.take('keptBytes', 100);
    const { response, ended } = await send(count, lease);
    const expected = [...numbered(count)].join('');
    expect((await response.text()) === expected).toBe(true);
    expect(response.headers.get('content-type')).toBe('application/json; charset=utf-8');
    expect(response.headers.get('cache-control')).toBe('no-store');
    expect(await ended).toBeUndefined();
    for (const resource of ['keptBytes', 'answerBytes', 'pictureUploads'] as const) {
      expect(resources.used(resource)).toBe(0);
    }
  });

  test('that is large holds its bytes until they are taken, and nothing else', async () => {
    const { resources, enter } = create();
    const lease = enter();
    lease.take('keptBytes', 100);
    const { response } = await send(4000, lease);
    const bytes = Buffer.byteLength([...numbered(4000)].join(''));
    expect([resources.used('answerBytes'), resources.used('keptBytes')]).toEqual([bytes, 0]);
    const reader = (response.body as ReadableStream<Uint8Array>).getReader();
    await reader.read();
    await reader.read();
    expect(resources.used('answerBytes')).toBeLessThan(bytes);
    expect(resources.used('answerBytes')).toBeGreaterThan(bytes - 4 * 128 * KIBI);
    await reader.cancel();
    await until(() => resources.used('answerBytes') === 0);
  });

  test('that would be enormous is refused, and little of it is made', async () => {
    const { resources, enter } = create();
    const lease = enter();
    let made = 0;
    const endless = function* () {
      for (;;) {
        made += KIBI;
        yield 'x'.repeat(KIBI);
      }
    };
    const text = { pieces: endless, advice: () => 'Shorten it.' };
    const fault = await sendJson(text, { status: 200, headers: {} }, lease, () => undefined).catch(
      (reason: unknown) => reason,
    );
    expect(fault).toEqual(code('option_invalid'));
    expect(String(fault)).toContain(
      `more than ${MAX_ANSWER_BYTES} bytes, the limit for an answer. Shorten it.`,
    );
    expect(made).toBeLessThan(MAX_ANSWER_BYTES + MEBI);
    expect(resources.used('answerBytes')).toBe(0);
    lease.abort(fault);
  });

  test('lets others have their turn of the event loop while it is made', async () => {
    const { enter } = create();
    let turns = 0;
    const others = setInterval(() => {
      turns += 1;
    }, 0);
    const slow = function* () {
      for (let index = 0; index < 20; index++) {
        const beganAt = performance.now();
        while (performance.now() - beganAt < 11);
        yield '"x"';
      }
    };
    const text = { pieces: slow, advice: () => '' };
    await sendJson(text, { status: 200, headers: {} }, enter(), () => undefined);
    clearInterval(others);
    expect(turns).toBeGreaterThan(5);
  });

  test('waits until there is room for it', async () => {
    const { resources, enter } = create({ answerBytes: 5 * MEBI });
    const first = await send(4000, enter());
    let isThere = false;
    const second = send(4000, enter()).then((sent) => {
      isThere = true;
      return sent;
    });
    await Bun.sleep(50);
    expect(isThere).toBe(false);
    await first.response.text();
    expect((await (await second).response.text()).length).toBeGreaterThan(MEBI);
    await until(() => resources.used('answerBytes') === 0);
  });
});

describe('what is told of an answer that would be enormous', () => {
  test('the option and the longest name, with what it takes', () => {
    const advice = adviceOf({ details: true, top_k: 30 }, ['a.jpg', '"'.repeat(60)], ['cat']);
    expect(advice()).toBe(
      `Ask for a smaller top_k than 30, or shorten names (the longest, the file name ${JSON.stringify(`${'"'.repeat(40)}…`)}, takes 122 bytes in JSON), or send less at once.`,
    );
    expect(adviceOf({ details: false, top_k: 5 }, ['a'], ['a\u0001b'])()).toBe(
      'Shorten names (the longest, the category "a\\u0001b", takes 10 bytes in JSON), or send less at once.',
    );
  });
});

test('the list of broken pictures of a refusal is bounded as well', async () => {
  const broken = Array.from({ length: 20_000 }, (_, index) => ({
    file: `${index}${'\u0001'.repeat(300)}`,
    code: 'image_broken' as const,
    error: 'It is broken.',
  }));
  const refusal = refusalOf(broken, { on_error: 'fail' });
  if (!refusal) throw new Error('no refusal');
  const { enter } = create();
  const fault = await sendJson(refusal, { status: 422, headers: {} }, enter(), () => undefined).catch(
    (reason: unknown) => reason,
  );
  expect(fault).toMatchObject({ code: 'option_invalid', message: expect.stringContaining('20000 files') });
  const few = refusalOf(broken.slice(0, 3), { on_error: 'fail' });
  if (!few) throw new Error('no refusal');
  const { response } = await sendJson(few, { status: 422, headers: {} }, enter(), () => undefined);
  expect(await response.json()).toMatchObject({ code: 'files_broken', errors: broken.slice(0, 3) });
});

describe('answers over HTTP', () => {
  const labels = Array.from({ length: 1000 }, (_, index) => `${index}${'"'.repeat(290)}`).join(',');
  const files = (count: number, name: (index: number) => string) =>
    form(
      Array.from({ length: count }, (_, index): [string, string] => [name(index), 'x']),
      labels,
    );

  test.each([
    ['/categorize?details=true&top_k=1000', files(250, (index) => `${index}.jpg`)],
    ['/image?details=true&top_k=250', files(250, (index) => `${index}${'"'.repeat(500)}`)],
  ])('names that grow in JSON are refused by size: %s', async (path, body) => {
    const { status, text } = await post(path, body);
    expect(status).toBe(400);
    expect(JSON.parse(text)).toMatchObject({
      code: 'option_invalid',
      error: expect.stringMatching(/more than 33554432 bytes.*top_k.*takes \d+ bytes in JSON/),
    });
  });

  test('a large one has the same text as a small one would', async () => {
    const many = form(
      Array.from({ length: 3000 }, (_, index): [string, string] => [
        `${index}.jpg`,
        index % 2 ? 'cat' : 'dog',
      ]),
      'cat,dog,"',
    );
    const { status, text, headers } = await post('/categorize?details=true', many);
    expect([status, headers.get('content-type')]).toEqual([200, 'application/json; charset=utf-8']);
    const answer = JSON.parse(text);
    expect(JSON.stringify(answer) === text).toBe(true);
    expect(answer.results).toHaveLength(3000);
    expect(answer.results[1]).toMatchObject({ file: '1.jpg', category: 'cat' });
  });

  test('a client that does not take its answer is given up, and what was for it is free', async () => {
    await using server = start({ tuning: { patience: { waitMs: 1000, msPerKibibyte: 1000 } } });
    const labels = Array.from({ length: 1000 }, (_, index) => `l${index}`).join(',');
    const pictures = Array.from({ length: 100 }, (_, index) => filePart(`${index}`, 'x'));
    const body = Buffer.concat([...pictures, categoriesPart(labels), closing]);
    const socket = await openSocket(server);
    socket.pause();
    socket.write(requestHead('/categorize?details=true&top_k=1000', body.length));
    socket.write(body);
    await until(() => server.lines.length === 1);
    expect(server.lines[0]?.fields).toMatchObject({ status: 200, lateFault: 'client_gone' });
    await untilIdle(server);
    socket.destroy();
  });
});

const textOf = (entries: Parameters<typeof jsonObject>[0]) => [...jsonObject(entries)].join('');

test('items of an array are written as in the whole', () => {
  for (const items of [[], [{ a: 'é"' }], [{ a: 1 }, { b: null }, { c: 2.5e-7 }]]) {
    expect(`[${[...jsonItems(items)].join('')}]`).toBe(JSON.stringify(items));
  }
});

test('keys stay in order, also those that objects would move or swallow', () => {
  expect(
    textOf([
      ['b', 'x'],
      ['10', 'y'],
      ['2', null],
      ['__proto__', 'z'],
      ['"\n', 1],
    ]),
  ).toBe('{"b":"x","10":"y","2":null,"__proto__":"z","\\"\\n":1}');
});

test('no entries are an empty object', () => {
  expect(textOf([])).toBe('{}');
});

test('it reads back as what was written', () => {
  const entries = fc.uniqueArray(fc.tuple(fc.string(), fc.jsonValue()), { selector: ([key]) => key });
  fc.assert(
    fc.property(entries, (written) => {
      const expected = new Map(written);
      const read: unknown = JSON.parse(textOf(written));
      expect(Object.keys(read as object).toSorted()).toEqual([...expected.keys()].toSorted());
      for (const [key, value] of Object.entries(read as object)) {
        expect(JSON.stringify(value)).toBe(JSON.stringify(expected.get(key)));
      }
    }),
  );
});
