import { describe, expect, test } from 'bun:test';
import { createHash } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  endlessBrands,
  endlessExtents,
  endlessNumber,
  gifChain,
  jpegChain,
  planarTiles,
  pngChain,
  sharedValues,
} from './hostile/inputs.ts';
import { makeSkipFilm } from './hostile/skip-film.ts';
import { type ProbeAnswer, probeWindow, startProbe } from './load/probe.ts';
import { formRequest, requestHead, sendRaw } from './load/raw-request.ts';
import { slowProcess } from './load/slow-senders.ts';
import { inChild } from './measure/child.ts';
import type { FullDecodeInput } from './measure/full-decode-program.ts';
import { parseOptions } from './options.ts';
import { separateStarts } from './parts/shards.ts';
import { folderBytes } from './process/folder-space.ts';
import { createMemoryCgroup } from './process/memory-cgroup.ts';

const sha1 = (bytes: Uint8Array) => createHash('sha1').update(bytes).digest('hex');

/** Refuses the first requests, whatever they are; says of the others how long their bodies are. */
function scriptedServer(refusals: number) {
  let refused = 0;
  const server = Bun.serve({
    port: 0,
    hostname: '127.0.0.1',
    async fetch(request) {
      if (refused < refusals) {
        refused += 1;
        return new Response('full', { status: 503 });
      }
      const body = await request.bytes();
      return new Response(`ok ${body.length}`);
    },
  });
  return { url: server.url.href, [Symbol.asyncDispose]: () => server.stop(true) };
}

describe('hostile inputs', () => {
  test.each([
    ['planar tiles', planarTiles, 1736, '4d2720e31494d3113cfea45e779a27283bfc627d'],
    ['endless extents', () => endlessExtents(1000), 6157, '9c7997821af39256c980cb43b79cab944060b3c9'],
    ['endless brands', endlessBrands, 67108864, '604afa7848d89774b1a590c5d288d68f1b48f9a1'],
    ['endless number', () => endlessNumber(1), 1048765, '66e0ef581c1cf6f76ef49c85ff1d512fbedd9d61'],
    ['shared values', sharedValues, 1000182, '26952a45a772f4ff723f7c4c16377ed7dc809bb7'],
    ['chain of PNG chunks', pngChain, 67108701, 'e82e5f7cddd119d33fa1071422f5bc01027b96d4'],
    ['chain of JPEG segments', jpegChain, 67108860, 'fdf445f0bc897f57096e15ddb945b85785f33967'],
    ['chain of GIF blocks', gifChain, 67108842, 'ba5df663ba9b1210cae92ec52692ffd70a78142a'],
  ])('%s are what was once found to hurt', (_, make, bytes, digest) => {
    const made = make();
    expect([made.length, sha1(made)]).toEqual([bytes, digest]);
  });

  test('each frame of a film that costs its sender nothing is decoded', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'bench-'));
    try {
      const path = join(folder, 'film.mp4');
      await makeSkipFilm(path, { width: 256, height: 128, frames: 500, seconds: 10 });
      expect(Bun.file(path).size).toBeLessThan(500 * 20 + 4000);
      const input: FullDecodeInput = { path, threads: 1 };
      expect((await inChild('full-decode-program.ts', input)).answer).toEqual({ frames: 500 });
    } finally {
      await rm(folder, { recursive: true });
    }
  });
});

describe('the probe', () => {
  const answer = (askedAt: number, answeredAt: number | undefined, status: ProbeAnswer['status'] = 200) => ({
    ask: 'health',
    askedAt,
    answeredAt,
    status,
    isRight: status === 200,
  });

  test('measures waits and the longest time without an answer', () => {
    const answers = [
      answer(0, 90),
      answer(100, 110),
      answer(200, 230),
      answer(300, 310, 503),
      answer(400, 1400),
      answer(1500, undefined, 'left'),
    ];
    const found = { answers, ownLatenessMs: 0, cpuSeconds: 0 };
    expect(probeWindow(found, 'health', 95, 2000)).toEqual({
      answered: 4,
      right: 3,
      refused: { 503: 1 },
      longestGapMs: 1090,
      medianMs: 500,
      p99Ms: 1000,
      longestMs: 1000,
    });
    expect(probeWindow(found, 'another', 0, 1000)).toMatchObject({ answered: 0, longestGapMs: 1000 });
  });

  test('asks again and again, and tells right answers from others', async () => {
    await using server = scriptedServer(0);
    const url = new URL(server.url);
    const request = { url, pieces: [requestHead(url, 'GET')] };
    using probe = startProbe([
      { name: 'right', request, everyMs: 5, expected: 'ok 0' },
      { name: 'wrong', request, everyMs: 0, expected: 'something else' },
    ]);
    await probe.answered(3, 60_000);
    const { answers } = await probe.stop();
    const of = (name: string) => answers.filter(({ ask, status }) => ask === name && status === 200);
    expect(of('right').length).toBeGreaterThanOrEqual(3);
    expect(of('right').every(({ isRight }) => isRight)).toBe(true);
    expect(of('wrong').length).toBeGreaterThanOrEqual(3);
    expect(of('wrong').some(({ isRight }) => isRight)).toBe(false);
  });
});

test('slow senders send all of their requests, and begin again when they are refused', async () => {
  await using server = scriptedServer(2);
  const url = new URL(server.url);
  const { pieces } = formRequest(url, [{ disposition: 'name="files"', content: 'x'.repeat(4000) }]);
  const request = Buffer.concat(pieces);
  using senders = slowProcess({
    url: url.href,
    requests: [request],
    clients: 5,
    bytesPerSecond: 8000,
    isEndless: false,
  });
  await senders.done(120_000);
  const { answers, sentBytes } = await senders.stop();
  const right = answers.filter(({ status }) => status === 200);
  const body = (await sendRaw({ url, pieces })).body;
  expect(right.map((answer) => answer.body)).toEqual(Array.from({ length: 5 }, () => body));
  expect(new Set(right.map(({ client }) => client)).size).toBe(5);
  expect(right.every((answer) => answer.sentBytes === request.length)).toBe(true);
  expect(answers.length).toBe(7);
  expect(sentBytes).toBeGreaterThanOrEqual(5 * request.length);
});

test('space of a folder counts files that have no name any more', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'bench-'));
  try {
    await Bun.write(join(folder, 'named'), new Uint8Array(100_000));
    const open = Bun.spawn(
      ['sh', '-c', 'exec 3>"$0"; rm "$0"; head -c 200000 /dev/zero >&3; echo; cat', join(folder, 'gone')],
      {
        stdin: 'pipe',
        stdout: 'pipe',
      },
    );
    await open.stdout.getReader().read();
    const bytes = folderBytes(folder, [open.pid]);
    await open.stdin.end();
    await open.exited;
    expect(bytes).toBeGreaterThanOrEqual(300_000);
    expect(bytes).toBeLessThan(400_000);
  } finally {
    await rm(folder, { recursive: true });
  }
});

test('checkouts to measure are this one, or those that are named', () => {
  const [own] = parseOptions([]).roots;
  expect(parseOptions(['--root', '/a', '--root', own]).roots).toEqual(['/a', own]);
  expect(parseOptions(['--only', 'hostile', '--memory-limit', '1G']).memoryLimit).toBe(1024 ** 3);
});

test.if(mayLimitMemory())('a hostile request is measured from outside', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'bench-'));
  try {
    const json = join(folder, 'report.json');
    const main = join(import.meta.dir, 'main.ts');
    const program = Bun.spawn(
      [
        process.execPath,
        main,
        '--only',
        'hostile',
        '--scenarios',
        'a query of',
        '--memory-limit',
        '2G',
        '--json',
        json,
      ],
      { stdout: 'pipe', stderr: 'inherit' },
    );
    const printed = await new Response(program.stdout).text();
    expect(await program.exited).toBe(0);
    expect(printed).toContain('| a query of 3,600 unknown keys |');
    const { findings } = await Bun.file(json).json();
    expect(findings.hostile).toMatchObject([{ outcome: { statuses: { 400: 1 } }, after: 'right', kills: 0 }]);
  } finally {
    await rm(folder, { recursive: true });
  }
});

/** It takes root, and a system that hands the controller of memory down. */
function mayLimitMemory(): boolean {
  try {
    void createMemoryCgroup(1024 ** 3)[Symbol.asyncDispose]();
    return true;
  } catch {
    return false;
  }
}

describe('the processor time of killed workers', () => {
  const START = 0.5;
  const STEADY = 0.004;
  /** Compiling goes on, but ever less, and ends with 1,000 photos. */
  const compiling = (photos: number) => 0.3 * Math.sqrt(Math.min(photos - 1, 1000 - 1) / 999);
  const cost = (photos: number) => START + compiling(photos) + (photos - 1) * STEADY;
  const fresh = [1, 60, 250, 1000].map((photos) => ({ photos, cpuSeconds: cost(photos) }));
  const calm = Array.from({ length: 4 }, () => ({ photos: 25_000, cpuSeconds: cost(25_000) }));

  test('is what undisturbed workers use beyond their starts, and what the kills have cost', () => {
    const { startSeconds, steadySeconds, withoutStarts, withoutWarmStarts } = separateStarts(calm, fresh);
    expect(startSeconds).toBe(START);
    expect(steadySeconds).toBeCloseTo(STEADY, 10);
    expect(withoutStarts(calm)).toBeCloseTo(4 * (compiling(1000) + 24_999 * STEADY), 6);
    expect(withoutWarmStarts(calm)).toBeCloseTo(100_000 * STEADY, 6);
    const lost = 0.05;
    const killed = fresh.map(({ photos, cpuSeconds }) => ({ photos, cpuSeconds: cpuSeconds + lost }));
    expect(withoutWarmStarts(killed)).toBeCloseTo(1311 * STEADY + 4 * lost, 6);
  });

  test('never gets smaller by what is not measured', () => {
    const { withoutWarmStarts } = separateStarts(calm, fresh);
    for (const photos of [0, 2, 30, 100, 500, 900, 5000]) {
      const killed = { photos, cpuSeconds: cost(Math.max(1, photos)) };
      // Until it has recorded one photo, a worker is starting.
      expect(withoutWarmStarts([killed])).toBeGreaterThanOrEqual(Math.max(0, photos * STEADY - 1e-9));
    }
    expect(withoutWarmStarts([{ photos: 0, cpuSeconds: START / 2 }])).toBe(0);
    expect(withoutWarmStarts([{ photos: 0, cpuSeconds: START + 0.05 }])).toBeGreaterThan(0.05);
  });
});
