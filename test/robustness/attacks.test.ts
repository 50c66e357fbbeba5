import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import type { Attack } from './attacks/attack.ts';
import { bombs } from './attacks/bombs.ts';
import { breakdowns } from './attacks/breakdowns.ts';
import { leavingClients, manyClients, slowClients } from './attacks/clients.ts';
import { mutatedDocuments } from './attacks/documents.ts';
import { extremeRequests } from './attacks/extremes.ts';
import { mutatedForms } from './attacks/forms.ts';
import { mutatedHeads } from './attacks/heads.ts';
import { heavyLabels } from './attacks/heavy-labels.ts';
import { overload } from './attacks/overload.ts';
import { mutatedPictures } from './attacks/pictures.ts';
import { mutatedVideos } from './attacks/videos.ts';
import { openFiles, type ProcessState, processState, settledState } from './process-state.ts';
import { createRandom } from './random.ts';
import { collectGarbage, fillQueues, mortalAndClean, startTarget, type Target } from './target.ts';

/** A few of each; `bun run soak` does it for as long as asked. */
const SEED = 20_210_303;
const MEBI = 1024 ** 2;

let target: Target;
let before: ProcessState;

beforeAll(async () => {
  target = await startTarget(mortalAndClean);
  // Fills what is filled once: pools of threads and buffers, compiled code.
  await mutatedPictures(target, createRandom(SEED - 1), 200);
  await fillQueues(target);
  before = processState(target.service.pid, target.temporaryFolder);
});

afterAll(async () => {
  await target[Symbol.asyncDispose]();
});

const attacks: readonly (readonly [what: string, attack: Attack, count: number])[] = [
  ['mutated pictures', mutatedPictures, 700],
  ['mutated forms', mutatedForms, 300],
  ['mutated categories', mutatedDocuments, 250],
  ['mutated heads', mutatedHeads, 300],
  ['mutated videos', mutatedVideos, 24],
  ['requests at the edge', extremeRequests, 1],
  ['bombs', bombs({ inflatedMebibytes: 200, side: 2500 }), 1],
  ['thousands of labels in many templates', heavyLabels, 5],
  ['slow clients', slowClients({ seconds: 2 }), 12],
  ['leaving clients', leavingClients, 80],
  ['500 clients at once', manyClients, 500],
  ['a thread that breaks down', breakdowns, 5],
];

describe.if(process.platform === 'linux')('the service under attack', () => {
  test.each(attacks)('%s: every answer keeps the rules, good ones their digits', async (_, attack, count) => {
    const faultsBefore = target.tally.faults.length;
    await attack(target, createRandom(SEED), count);
    expect(target.tally.faults.slice(faultsBefore)).toEqual([]);
  });

  test('ten times more requests than it can serve: answered rightly or sent away, and served again after', async () => {
    const { accepted, refused } = await overload(target, { seconds: 1, factor: 10 });
    expect(target.tally.faults).toEqual([]);
    expect(accepted).toBeGreaterThan(0);
    expect(refused).toBeGreaterThan(0);
  });

  test('afterwards it holds no more files, temporary files and memory than before', async () => {
    const { pid } = target.service;
    await collectGarbage(target);
    const after = await settledState(pid, target.temporaryFolder, before);
    expect(after.temporaryFiles).toEqual(before.temporaryFiles);
    expect(after.fileDescriptors > before.fileDescriptors ? openFiles(pid) : []).toEqual([]);
    expect(after.residentBytes - before.residentBytes).toBeLessThan(200 * MEBI);
  });

  test('and no bug has shown in its log', () => {
    const errors = target.service.log.filter(({ level, msg }) => level === 'error' && msg !== BREAKDOWN);
    expect(errors).toEqual([]);
  });
});

const BREAKDOWN = 'inference failed; restarting it';
