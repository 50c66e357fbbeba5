import { openConnection, post, requestHead } from '../exchange.ts';
import { CONTENT_TYPE, categoriesPart, filePart, joinForm } from '../form.ts';
import { judge } from '../judge.ts';
import type { Target } from '../target.ts';
import type { Attack } from './attack.ts';

const ATTACK = 'heavy requests';
const MEBI = 1024 ** 2;

interface Heavy {
  readonly name: string;
  readonly path: string;
  readonly body: Uint8Array;
  readonly contentType?: string;
  /** Statuses and codes that are right. */
  readonly expected: RegExp;
}

/** A picture of one pixel: a thousand of them weigh nothing. */
const PIXEL = Buffer.from('474946383961010001008000000000000000002c00000000010001000002024401003b', 'hex');

/**
 * Requests that are small, or allowed, and ask for much work or for an enormous answer.
 * @param scale from 0 to 1: how much of the most that may be sent
 */
function heavyRequests(picture: Uint8Array, scale: number): readonly Heavy[] {
  const few = Math.ceil(1000 * scale);
  const megabytes = Math.ceil(4 * MEBI * scale) - 100;
  const withCategories = (document: string | Uint8Array) =>
    joinForm([filePart('a', picture), categoriesPart(document)]);
  const fill = (pattern: string) => Buffer.alloc(megabytes, pattern);
  const files = (count: number) =>
    Array.from({ length: count }, (_, index) => filePart(String(index), PIXEL));
  const controls = '\u0001'.repeat(4000);
  const documents: Readonly<Record<string, Uint8Array>> = {
    'a,a,a': fill('a,'),
    'a line each': fill('a\n'),
    'empty ones in quotes': fill('"",'),
    'opening brackets': fill('['),
    'nested lists': Buffer.concat([fill('['), Buffer.from(']')]),
    'nested objects': Buffer.from('{"categories":'.repeat(megabytes / 14)),
    'opening quotes': fill('"a'),
    'one label': Buffer.concat([Buffer.from('["'), fill('a'), Buffer.from('"]')]),
    escapes: Buffer.concat([
      Buffer.from('["'),
      Buffer.alloc(megabytes - (megabytes % 6), '\\u0041'),
      Buffer.from('"]'),
    ]),
    entities: fill('&amp;'),
    tabs: fill('\t'),
    blanks: fill(' '),
    'bytes that are no UTF-8': Buffer.concat([Buffer.alloc(megabytes, '\ufffd'), Buffer.from([0xff])]),
    'UTF-16': Buffer.concat([Buffer.from([0xff, 0xfe]), Buffer.alloc(megabytes - (megabytes % 2), 'a\0')]),
  };
  const named = (name: string) => ({
    head: [`Content-Disposition: form-data; name="files"; filename*=utf-8''${name}`],
    content: PIXEL,
  });
  return [
    ...Object.entries(documents).map(([name, document]) => ({
      name: `categories: ${name}`,
      path: '/categorize',
      body: withCategories(document),
      expected: /^(?:200|400 (?:categories_|label_)\w+|413 \w+)$/,
    })),
    ...['a', 'é', '1', '中', '.', "'s"].map((letter) => ({
      name: `a word of 4,096 × ${letter}`,
      path: '/categorize',
      body: withCategories(letter.repeat(4096)),
      expected: /^400 \w+$/,
    })),
    {
      name: 'labels of control characters',
      path: '/categorize?details=true&top_k=1000',
      body: joinForm([
        ...files(Math.ceil(250 * scale)),
        categoriesPart(Array.from({ length: few }, (_, index) => `${controls}${index}`).join(',')),
      ]),
      expected: /^(?:400|413) \w+$/,
    },
    {
      name: 'a short label of a control character',
      path: '/categorize',
      body: withCategories(JSON.stringify(['cat', 'd\u0001g'])),
      expected: /^400 \w+$/,
    },
    {
      name: 'names of control characters',
      path: '/image?details=true&top_k=250',
      body: joinForm([
        ...Array.from({ length: Math.ceil(250 * scale) }, (_, index) =>
          named(`${index}${'%01'.repeat(1000)}`),
        ),
        categoriesPart(JSON.stringify(Array.from({ length: few }, (_, index) => `${index}`))),
      ]),
      expected: /^400 \w+$/,
    },
    {
      name: 'long names for many scores',
      path: '/image?details=true&top_k=1000',
      body: joinForm([
        ...Array.from({ length: few }, (_, index) => named(`${index}${'a'.repeat(1000)}`)),
        categoriesPart(JSON.stringify(Array.from({ length: few }, (_, index) => `${index}`))),
      ]),
      expected: /^(?:200|400 \w+|413 \w+)$/,
    },
    {
      name: 'long labels of many pictures',
      path: '/categorize?details=true',
      body: joinForm([
        ...files(Math.ceil(10_000 * scale)),
        categoriesPart(JSON.stringify([1, 2, 3, 4, 5].map((index) => `${controls.slice(0, 3900)}${index}`))),
      ]),
      expected: /^400 \w+$/,
    },
    {
      name: 'labels in templates',
      path: `/categorize?${Array.from({ length: scale === 1 ? 100 : 5 }, (_, index) => `template=${index}%20%7B%7D`).join('&')}`,
      body: joinForm([
        filePart('a', picture),
        categoriesPart(
          JSON.stringify(
            Array.from({ length: few }, (_, index) => `${'cat '.repeat(60)}${Math.random()} ${index}`),
          ),
        ),
      ]),
      // With fewer labels it is work that may be asked for.
      expected: scale === 1 ? /^400 \w+$/ : /^(?:200|400 \w+)$/,
    },
    {
      name: 'unknown query options',
      path: `/categorize?${Array.from({ length: 3600 }, (_, index) => index.toString(36)).join('&')}`,
      body: withCategories('a,b'),
      expected: /^400 option_invalid$/,
    },
    {
      name: 'one query option again and again',
      path: `/categorize?${'top_k=1&'.repeat(1800)}`,
      body: withCategories('a,b'),
      expected: /^400 option_invalid$/,
    },
    {
      name: 'a template of one letter',
      path: `/categorize?template=${'x'.repeat(14_000)}`,
      body: withCategories('a,b'),
      expected: /^400 option_invalid$/,
    },
    ...['-', 'a'].map((letter) => {
      const boundary = letter.repeat(70);
      const part = {
        head: ['Content-Disposition: form-data; name="files"; filename="a"'],
        content: Buffer.alloc(Math.ceil(63 * MEBI * scale), letter),
      };
      return {
        name: `a boundary of 70 × ${letter}`,
        path: '/categorize?details=true',
        contentType: `multipart/form-data; boundary=${boundary}`,
        body: joinForm([part, categoriesPart('a,b')], boundary),
        expected: /^(?:200|4\d\d \w+)$/,
      };
    }),
    {
      name: 'parts of nothing',
      path: '/categorize',
      body: joinForm(
        Array.from({ length: Math.ceil(200_000 * scale) }, () => ({
          head: ['Content-Disposition: form-data; name="files"; filename=""'],
          content: new Uint8Array(),
        })),
      ),
      expected: /^4\d\d \w+$/,
    },
    {
      name: 'line ends before the first boundary',
      path: '/categorize',
      body: Buffer.concat([Buffer.alloc(Math.ceil(63 * MEBI * scale), '\r\n'), withCategories('a,b')]),
      expected: /^(?:200|4\d\d \w+)$/,
    },
    {
      name: 'a part of header lines',
      path: '/categorize',
      body: Buffer.from(`--robust-7d1f\r\n${'a: b\r\n'.repeat(100_000)}`),
      expected: /^4\d\d \w+$/,
    },
  ];
}

/** Requests that ask for more than they look like: each is answered or refused rightly, and holds up no other. */
export function heavyRequest(scale: number): Attack {
  return async (target) => {
    for (const { name, path, body, contentType = CONTENT_TYPE, expected } of heavyRequests(
      target.sentinels[0]?.bytes ?? new Uint8Array(),
      scale,
    )) {
      const outcome = await post({ url: target.url, path, contentType, body });
      const answer = judge(target.tally, ATTACK, outcome, () => name);
      const code = (answer?.json as { code?: string } | undefined)?.code;
      const status = [answer?.status, code].filter((word) => word !== undefined).join(' ');
      if (!expected.test(status))
        target.tally.fault(ATTACK, `${name}: ${status} instead of ${expected.source}`);
    }
    await longPaths(target, Math.ceil(2000 * scale));
    await target.expectSound(ATTACK);
  };
}

const MAXIMUM_LINE = 4000;

/** Paths that are as long as a head may be do not fill the log. */
async function longPaths(target: Target, count: number): Promise<void> {
  const seen = target.service.log.length;
  const path = `/${'a'.repeat(15_000)}`;
  using connection = await openConnection(target.url);
  await connection.write(requestHead(path, { Connection: 'close' }, 'GET'));
  const answer = await connection.answer();
  if (typeof answer === 'string' || answer.status < 400 || answer.status >= 500) {
    target.tally.fault(ATTACK, `a long path: ${typeof answer === 'string' ? answer : answer.status}`);
  }
  for (let sent = 1; sent < count; sent++) {
    using other = await openConnection(target.url);
    await other.write(requestHead(path, { Connection: 'close' }, 'GET'));
    await other.answer();
  }
  const longest = Math.max(0, ...target.service.log.slice(seen).map((line) => JSON.stringify(line).length));
  if (longest > MAXIMUM_LINE) target.tally.fault(ATTACK, `a log line of ${longest} characters`);
}
