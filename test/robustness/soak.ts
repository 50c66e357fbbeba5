/**
 * The long run: all attacks, over and over, on one service, for as long as asked.
 *
 *   bun run soak --minutes 20 --seed 1
 *   bun run soak --minutes 20 --only mutatedVideos,endlessTables --stall 250 --wait 5000
 *
 * Beside every attack a probe in a process of its own asks for /health and for the answer to a normal request, every
 * 100 ms. On a quiet machine the first should never take 250 ms (--stall), the second 5 s (--wait): more is a fault.
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
import { endlessTables, rareTiffs } from './attacks/endless.ts';
import { extremeRequests } from './attacks/extremes.ts';
import { mutatedForms } from './attacks/forms.ts';
import { mutatedHeads } from './attacks/heads.ts';
import { heavyLabels } from './attacks/heavy-labels.ts';
import { heavyRequest } from './attacks/heavy-requests.ts';
import { type OverloadReport, overload, throughput } from './attacks/overload.ts';
import { endlessParts, silentConnections, slowReaders, slowUploads, unreadData } from './attacks/patience.ts';
import { mutatedPictures } from './attacks/pictures.ts';
import { hugeFrames, mutatedVideos } from './attacks/videos.ts';
import { post } from './exchange.ts';
import { CONTENT_TYPE, categoriesPart, filePart, joinForm } from './form.ts';
import { largestSide } from './hostile/bombs.ts';
import { judge } from './judge.ts';
import { attackProbed, type Probe, type Stalls, startProbe } from './probe.ts';
import { openFiles, processState, settledState } from './process-state.ts';
import { createRandom, type Random } from './random.ts';
import { printReport, type SoakReport } from './soak-report.ts';
import { collectGarbage, fillQueues, mortalAndClean, startTarget, type Target } from './target.ts';

const { values } = parseArgs({
  options: {
    minutes: { type: 'string', default: '20' },
    seed: { type: 'string', default: '1' },
    only: { type: 'string' },
    stall: { type: 'string', default: '250' },
    wait: { type: 'string', default: '5000' },
  },
});
const minutes = Number(values.minutes);
const seed = Number(values.seed);
const limits = { healthMs: Number(values.stall), requestMs: Number(values.wait) };
if (!(minutes > 0) || !Number.isInteger(seed) || !(limits.healthMs > 0) || !(limits.requestMs > 0)) {
  console.error('bun run soak [--minutes N] [--seed N] [--only ATTACK,ATTACK] [--stall MS] [--wait MS]');
  process.exit(2);
}

const explosions: Explosion[] = [];
/** By name, with how much of it. In 20 minutes some 25 rounds: 35,000 pictures, 9,000 forms, 4,000 documents, 2,000 videos. */
const everyRound: Attacks = {
  mutatedPictures: [mutatedPictures, 1400],
  mutatedForms: [mutatedForms, 350],
  mutatedDocuments: [mutatedDocuments, 150],
  mutatedHeads: [mutatedHeads, 100],
  mutatedVideos: [mutatedVideos, 80],
  rareTiffs: [rareTiffs, 1],
  leavingClients: [leavingClients, 60],
  unreadData: [unreadData, 30],
  manyClients: [manyClients, 200],
  breakdowns: [breakdowns, 1],
};

/** What takes long, and would find the same again. Slow clients stay longer than the service's patience. */
const nowAndThen: Attacks = {
  bombs: [
    bombs({ inflatedMebibytes: 1000, side: largestSide }, (explosion) => explosions.push(explosion)),
    1,
  ],
  extremeRequests: [extremeRequests, 1],
  endlessTables: [endlessTables(63), 1],
  heavyRequests: [heavyRequest(1), 1],
  hugeFrames: [hugeFrames({ width: 4096, height: 2160, seconds: 20 }), 1],
  heavyLabels: [heavyLabels, 20],
  slowClients: [slowClients({ seconds: 75 }), 12],
  silentConnections: [silentConnections({ seconds: 20 }), 512],
  slowUploads: [slowUploads({ seconds: 30 }), 100],
  endlessParts: [endlessParts({ seconds: 20 }), 8],
  slowReaders: [slowReaders({ seconds: 10 }), 20],
};
const ROUNDS_BETWEEN = 6;

type Attacks = Readonly<Record<string, readonly [attack: Attack, count: number]>>;

const known = Object.keys({ ...everyRound, ...nowAndThen });
const only = values.only?.split(',') ?? known;
const unknown = only.find((name) => !known.includes(name));
if (unknown !== undefined) {
  console.error(`--only ${unknown}: there are ${known.join(', ')}`);
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

async function soak(target: Target, random: Random, probe: Probe): Promise<SoakReport> {
  const stalls: Stalls = new Map();
  await fillLabelCache(target);
  const startedAt = performance.now();
  const elapsedMinutes = () => (performance.now() - startedAt) / 60_000;
  const { pid } = target.service;
  const state = () => processState(pid, target.temporaryFolder);

  await mutatedPictures(target, random.fork(), 200);
  await fillQueues(target);
  // The page is bundled when it is first asked for, by a thread that stays.
  await fetch(target.url, { headers: { accept: 'text/html' } });
  await collectGarbage(target);
  const before = state();
  const perSecondBefore = await throughput(target, throughputSeconds);
  const memory: [minutes: number, bytes: number][] = [];
  let flooded: OverloadReport | undefined;
  for (let round = 0; elapsedMinutes() < minutes; round++) {
    const isFull = round % ROUNDS_BETWEEN === 0;
    for (const [name, [attack, count]] of Object.entries({ ...(isFull && nowAndThen), ...everyRound })) {
      if (!only.includes(name)) continue;
      await attackProbed({ name, attack, count }, target, random.fork(), { probe, limits, stalls });
    }
    if (!values.only && !flooded && elapsedMinutes() > minutes / 2) {
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
    stalls,
    loggedErrors: target.service.log.filter(
      ({ level, msg }) => level === 'error' && msg !== 'inference failed; restarting it',
    ),
  };
}

const throughputSeconds = Math.min(10, minutes);

await using target = await startTarget(mortalAndClean);
await using probe = await startProbe(target);
process.exitCode = printReport(await soak(target, createRandom(seed), probe)) ? 0 : 1;
