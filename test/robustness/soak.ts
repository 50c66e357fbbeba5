/**
 * The long run: all attacks, over and over, on one service, for as long as asked.
 *
 *   bun run soak --minutes 20 --seed 1
 *   bun run soak --minutes 20 --only mutatedVideos
 *
 * It ends with 1 when an answer broke a rule, when the service holds on to what it should have given back, or
 * when its memory grows.
 */
import { parseArgs } from 'node:util';
import type { Attack } from './attacks/attack.ts';
import { bombs, type Explosion } from './attacks/bombs.ts';
import { breakdowns } from './attacks/breakdowns.ts';
import { leavingClients, manyClients, slowClients } from './attacks/clients.ts';
import { mutatedDocuments } from './attacks/documents.ts';
import { extremeRequests } from './attacks/extremes.ts';
import { mutatedForms } from './attacks/forms.ts';
import { mutatedHeads } from './attacks/heads.ts';
import { heavyLabels } from './attacks/heavy-labels.ts';
import { type OverloadReport, overload, throughput } from './attacks/overload.ts';
import { mutatedPictures } from './attacks/pictures.ts';
import { mutatedVideos } from './attacks/videos.ts';
import { post } from './exchange.ts';
import { CONTENT_TYPE, categoriesPart, filePart, joinForm } from './form.ts';
import { largestSide } from './hostile/bombs.ts';
import { judge } from './judge.ts';
import { openFiles, processState, settledState } from './process-state.ts';
import { createRandom, type Random } from './random.ts';
import { printReport, type SoakReport } from './soak-report.ts';
import { collectGarbage, mortalAndClean, startTarget, type Target } from './target.ts';

const { values } = parseArgs({
  options: {
    minutes: { type: 'string', default: '20' },
    seed: { type: 'string', default: '1' },
    only: { type: 'string' },
  },
});
const minutes = Number(values.minutes);
const seed = Number(values.seed);
if (!(minutes > 0) || !Number.isInteger(seed)) {
  console.error('bun run soak [--minutes N] [--seed N] [--only ATTACK,ATTACK]');
  process.exit(2);
}

/** In 20 minutes some 25 rounds: 35,000 pictures, 9,000 forms, 4,000 documents, 2,000 videos. */
const everyRound: readonly (readonly [attack: Attack, count: number])[] = [
  [mutatedPictures, 1400],
  [mutatedForms, 350],
  [mutatedDocuments, 150],
  [mutatedHeads, 100],
  [mutatedVideos, 80],
  [leavingClients, 60],
  [manyClients, 200],
  [breakdowns, 1],
];

const explosions: Explosion[] = [];
/** What takes long, and would find the same again. Slow clients stay longer than the service's patience. */
const nowAndThen: readonly (readonly [attack: Attack, count: number])[] = [
  [bombs({ inflatedMebibytes: 1000, side: largestSide }, (explosion) => explosions.push(explosion)), 1],
  [extremeRequests, 1],
  [heavyLabels, 20],
  [slowClients({ seconds: 75 }), 12],
];
const ROUNDS_BETWEEN = 6;

/** By the attacks' own names; undefined: all. */
const only = values.only?.split(',');
const isWanted = ([attack]: readonly [attack: Attack, count: number]) => only?.includes(attack.name) ?? true;
const known = [...everyRound, ...nowAndThen].map(([attack]) => attack.name);
const unknown = only?.find((name) => !known.includes(name));
if (unknown !== undefined) {
  console.error(`--only ${unknown}: there are ${known.filter(Boolean).join(', ')}`);
  process.exit(2);
}

/** More short labels than the cache of the demo model's service holds. */
const LABELS_TO_FILL = 120_000;
const LABELS_A_REQUEST = 1000;

/** So that memory which labels take until their cache is full, as it may, is not taken for a leak. */
async function fillLabelCache(target: Target): Promise<void> {
  const picture = target.sentinels[0]?.bytes ?? new Uint8Array();
  for (let known = 0; known < LABELS_TO_FILL; known += LABELS_A_REQUEST) {
    const labels = Array.from({ length: LABELS_A_REQUEST }, (_, index) => `label ${known + index}`);
    const body = joinForm([filePart('a', picture), categoriesPart(JSON.stringify(labels))]);
    const outcome = await post({ url: target.url, path: '/categorize', contentType: CONTENT_TYPE, body });
    judge(target.tally, 'filling the label cache', outcome, () => `labels from ${known} on`);
  }
}

async function soak(target: Target, random: Random): Promise<SoakReport> {
  await fillLabelCache(target);
  const startedAt = performance.now();
  const elapsedMinutes = () => (performance.now() - startedAt) / 60_000;
  const { pid } = target.service;
  const state = () => processState(pid, target.temporaryFolder);

  await mutatedPictures(target, random.fork(), 200);
  // The page is bundled when it is first asked for, by a thread that stays.
  await fetch(target.url, { headers: { accept: 'text/html' } });
  await collectGarbage(target);
  const before = state();
  const perSecondBefore = await throughput(target, throughputSeconds);
  const memory: [minutes: number, bytes: number][] = [];
  let flooded: OverloadReport | undefined;
  for (let round = 0; elapsedMinutes() < minutes; round++) {
    const isFull = round % ROUNDS_BETWEEN === 0;
    for (const [attack, count] of [...(isFull ? nowAndThen : []), ...everyRound].filter(isWanted)) {
      await attack(target, random.fork(), count);
    }
    if (!only && !flooded && elapsedMinutes() > minutes / 2) {
      flooded = await overload(target, { seconds: Math.min(60, minutes * 3), factor: 10 });
    }
    await collectGarbage(target);
    const { residentBytes, fileDescriptors } = state();
    memory.push([elapsedMinutes(), residentBytes]);
    console.error(
      `round ${round + 1}, ${elapsedMinutes().toFixed(1)} min: ${(residentBytes / 1e6).toFixed(0)} MB, ${fileDescriptors} descriptors, ${target.tally.faultCount} faults`,
    );
  }
  const perSecondAfter = await throughput(target, throughputSeconds);
  await collectGarbage(target);
  const after = await settledState(pid, target.temporaryFolder, before);
  return {
    tally: target.tally,
    before,
    after,
    openAfter: openFiles(pid),
    memory,
    perSecondBefore,
    perSecondAfter,
    flooded,
    explosions,
    loggedErrors: target.service.log.filter(
      ({ level, msg }) => level === 'error' && msg !== 'inference broke down and is restarted',
    ),
  };
}

const throughputSeconds = Math.min(10, minutes);

await using target = await startTarget(mortalAndClean);
process.exitCode = printReport(await soak(target, createRandom(seed))) ? 0 : 1;
