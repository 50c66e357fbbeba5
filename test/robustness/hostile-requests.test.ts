import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import type { Attack } from './attacks/attack.ts';
import { endlessTables, rareTiffs } from './attacks/endless.ts';
import { heavyRequest } from './attacks/heavy-requests.ts';
import { endlessParts, silentConnections, slowReaders, slowUploads, unreadData } from './attacks/patience.ts';
import { hugeFrames } from './attacks/videos.ts';
import { attackProbed, type Probe, type Stalls, startProbe } from './probe.ts';
import { createRandom } from './random.ts';
import { startTarget, type Target } from './target.ts';

const SEED = 20_210_304;
/** On a machine that does much else; `bun run soak` is told what a quiet one allows. */
const limits = { healthMs: 2000, requestMs: 30_000 };
const stalls: Stalls = new Map();

let target: Target;
let probe: Probe;

beforeAll(async () => {
  target = await startTarget();
  probe = await startProbe(target);
});

afterAll(async () => {
  await probe[Symbol.asyncDispose]();
  await target[Symbol.asyncDispose]();
});

const attacks: readonly (readonly [what: string, attack: Attack, count: number])[] = [
  ['TIFFs in rare layouts', rareTiffs, 1],
  ['tables and chains without an end', endlessTables(8), 1],
  ['requests that ask for much', heavyRequest(0.1), 1],
  ['a film of huge frames', hugeFrames({ width: 1280, height: 720, seconds: 3 }), 1],
  ['connections that stay silent', silentConnections({ seconds: 2 }), 600],
  ['uploads at 20 to 100 KB a second', slowUploads({ seconds: 2 }), 30],
  ['parts without an end', endlessParts({ seconds: 2 }), 12],
  ['data that is left unread', unreadData, 30],
  ['answers that are taken slowly', slowReaders({ seconds: 2 }), 20],
];

describe.if(process.platform === 'linux')('beside hostile requests others are served', () => {
  test.each(attacks)('%s', async (name, attack, count) => {
    const faultsBefore = target.tally.faults.length;
    const look = { probe, limits, stalls };
    await attackProbed({ name, attack, count }, target, createRandom(SEED), look);
    expect(target.tally.faults.slice(faultsBefore)).toEqual([]);
  });

  test('and no bug has shown in its log', () => {
    expect(target.service.log.filter(({ level }) => level === 'error')).toEqual([]);
  });
});
