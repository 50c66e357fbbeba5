import { gunzipSync } from 'node:zlib';
import { openConnection, post, requestHead } from '../exchange.ts';
import { BOUNDARY, CONTENT_TYPE, categoriesPart, type FormPart, filePart, joinForm } from '../form.ts';
import { judge } from '../judge.ts';
import type { Target } from '../target.ts';
import type { Attack } from './attack.ts';

const ATTACK = 'extremes';

interface Extreme {
  readonly name: string;
  readonly path: string;
  readonly body: Uint8Array;
  /** Status, and code of a refusal. */
  readonly expected: string;
}

const part = (disposition: string) =>
  `--${BOUNDARY}\r\nContent-Disposition: form-data; ${disposition}\r\n\r\n\r\n`;
const closing = `--${BOUNDARY}--\r\n`;
const labels = categoriesPart('red,green,blue');

function extremes(picture: Uint8Array): readonly Extreme[] {
  const broken = (name: (index: number) => string): FormPart[] =>
    Array.from({ length: 10_000 }, (_, index) => filePart(name(index), Uint8Array.of(1)));
  return [
    {
      name: '100,000 empty files',
      path: '/categorize',
      body: Buffer.from(part('name="files"; filename="a"').repeat(100_000) + closing),
      expected: '400 files_too_many',
    },
    {
      name: '100,000 file inputs that were left alone',
      path: '/categorize',
      body: Buffer.from(part('name="files"; filename=""').repeat(100_000) + closing),
      expected: '400 part_unexpected',
    },
    {
      name: '100,000 parts of no name',
      path: '/categorize',
      body: Buffer.from(`--${BOUNDARY}\r\n\r\n\r\n`.repeat(100_000) + closing),
      expected: '400 multipart_malformed',
    },
    {
      name: '10,000 broken files of one name',
      path: '/categorize?details=true',
      body: joinForm([...broken(() => 'a'), filePart('sound', picture), labels].slice(1)),
      expected: '200',
    },
    {
      name: '10,000 files with the names that others would get',
      path: '/image?details=true',
      body: joinForm([
        ...broken((index) => (index % 2 ? 'a' : `a (${index})`)).slice(1),
        filePart('a', picture),
        labels,
      ]),
      expected: '200',
    },
    {
      name: '1,000 labels of all the tokens there may be',
      path: '/categorize',
      body: joinForm([
        filePart('a', picture),
        categoriesPart(
          JSON.stringify(Array.from({ length: 1000 }, (_, index) => `${'cat '.repeat(70)}${index}`)),
        ),
      ]),
      expected: '200',
    },
    {
      name: 'categories of 5 MB',
      path: '/categorize',
      body: joinForm([filePart('a', picture), categoriesPart('a'.repeat(5 * 1024 ** 2))]),
      expected: '413 multipart_too_large',
    },
    {
      name: 'a file of more bytes than a picture may have',
      path: '/categorize?details=true',
      body: joinForm([filePart('a', new Uint8Array(70 * 1024 ** 2)), filePart('sound', picture), labels]),
      expected: '200',
    },
  ];
}

/** Single requests at the edge of what may be sent, and beyond it; the answer to each is known. */
export const extremeRequests: Attack = async (target) => {
  for (const { name, path, body, expected } of extremes(target.sentinels[0]?.bytes ?? new Uint8Array())) {
    const outcome = await post({ url: target.url, path, contentType: CONTENT_TYPE, body });
    const answer = judge(target.tally, ATTACK, outcome, () => name);
    const code = (answer?.json as { code?: string } | undefined)?.code;
    const status = [answer?.status, code].filter((word) => word !== undefined).join(' ');
    if (status !== expected) target.tally.fault(ATTACK, `${name}: ${status} instead of ${expected}`);
    await target.expectSound(ATTACK);
  }
  await compressedBody(target);
  await pipelined(target);
};

/** A body that would inflate ten-thousandfold is not even looked at. */
async function compressedBody(target: Target): Promise<void> {
  const body = Bun.gzipSync(new Uint8Array(100 * 1024 ** 2));
  if (gunzipSync(body).length !== 100 * 1024 ** 2) throw new Error('the body does not inflate');
  using connection = await openConnection(target.url);
  const headers = { 'Content-Type': CONTENT_TYPE, 'Content-Encoding': 'gzip', 'Content-Length': body.length };
  await connection.write(requestHead('/categorize', headers));
  await connection.write(body);
  const answer = judge(target.tally, ATTACK, await connection.answer(), () => 'a compressed body');
  if (answer?.status !== 415) target.tally.fault(ATTACK, `a compressed body: ${answer?.status}`);
}

/** Requests one behind another on one connection, without waiting for answers. */
async function pipelined(target: Target): Promise<void> {
  const picture = target.sentinels[0]?.bytes ?? new Uint8Array();
  const body = joinForm([filePart('a', picture), labels]);
  const head = requestHead('/categorize', { 'Content-Type': CONTENT_TYPE, 'Content-Length': body.length });
  using connection = await openConnection(target.url);
  await connection.write(Buffer.concat(Array(20).fill(Buffer.concat([Buffer.from(head), body]))));
  const answer = judge(target.tally, ATTACK, await connection.answer(), () => 'pipelined requests', {
    closed: true,
    bare: true,
  });
  if (answer && answer.status !== 200) target.tally.fault(ATTACK, `pipelined requests: ${answer.body}`);
  await target.expectSound(ATTACK);
}
