import { startLoad } from './load.ts';
import { nginxProgram, startNginx } from './nginx.ts';
import { freePort, startReplicas } from './replicas.ts';

/**
 * Three replicas behind a real nginx, again and again: how load spreads, what a kill costs, and what a rolling
 * restart costs. `bun test/deploy/experiment.ts ROUNDS CLIENTS`
 */
const [rounds = 3, clients = 12] = process.argv.slice(2).map(Number);

if (nginxProgram === null) {
  console.log('skipped: there is no nginx');
  process.exit(0);
}
await using replicas = await startReplicas(3);
await using nginx = await startNginx(freePort(), replicas.ports);

for (let round = 1; round <= rounds; round++) {
  // nginx lets a replica that was away rest for two seconds.
  await Bun.sleep(2500);
  const before = await replicas.answered();
  const steady = await startLoad(nginx.url, clients);
  await steady.more(300);
  const steadyResults = await steady.stop();
  const spread = (await replicas.answered()).map((count, index) => count - (before[index] ?? 0));

  const killed = await startLoad(nginx.url, clients);
  await killed.more(100);
  await replicas.kill(0);
  const deadAt = performance.now();
  await killed.more(200);
  await replicas.start(0);
  await killed.more(200);
  const killResults = await killed.stop();
  const lost = killResults.filter(({ isRight }) => !isRight);

  const rolling = await startLoad(nginx.url, clients);
  await rolling.more(50);
  for (const index of replicas.ports.keys()) {
    await replicas.stop(index);
    await rolling.more(20);
    await replicas.start(index);
    await rolling.more(50);
  }
  const rollingResults = await rolling.stop();
  const seconds = (steadyResults.at(-1)?.endedAt ?? 0) - (steadyResults[0]?.begunAt ?? 0);
  console.log(
    JSON.stringify({
      round,
      steady: steadyResults.length,
      wrong: steadyResults.filter(({ isRight }) => !isRight).length,
      perSecond: Math.round((steadyResults.length / seconds) * 1000),
      spread,
      kill: killResults.length,
      lostByKill: lost.map(({ status }) => status),
      begunAfterDeath: lost.filter(({ begunAt }) => begunAt > deadAt).length,
      rolling: rollingResults.length,
      lostByRolling: rollingResults.filter(({ isRight }) => !isRight).map(({ status }) => status),
    }),
  );
}
