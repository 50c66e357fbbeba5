import { join } from 'node:path';
import { childEnvironment } from '../../src/config.ts';
import type { Attack } from './attacks/attack.ts';
import { CONTENT_TYPE } from './form.ts';
import type { Random } from './random.ts';
import { DETAILED, goodForm, type Target, temporaryFolder } from './target.ts';

/** What a probe has seen since it was last asked. */
export interface Sighting {
  /** Longest time until `/health` answered, or for which it has not yet. */
  healthMs: number;
  /** As long for a normal request. */
  requestMs: number;
  /** How late the probe itself was at most: a machine that is busy with others holds up everything. */
  lateMs: number;
  /** Normal requests. */
  answered: number;
  /** Normal requests that were told to come back. */
  refused: number;
  wrong: string[];
}

export type ProbeOrder = 'tell';

export interface Probe extends AsyncDisposable {
  /** What it has seen since the last call. */
  take(): Promise<Sighting>;
}

/** Asks the service every 100 ms for `/health` and for the answer to a normal request, until it is disposed of. */
export async function startProbe({ url }: Pick<Target, 'url'>): Promise<Probe> {
  await using cleanup = new AsyncDisposableStack();
  const folder = cleanup.use(await temporaryFolder());
  const bodyFile = join(folder.path, 'body');
  await Bun.write(bodyFile, await goodForm());
  const ready = Promise.withResolvers<void>();
  let told = Promise.withResolvers<Sighting>();
  const command = [
    process.execPath,
    join(import.meta.dir, 'probe-program.ts'),
    url,
    DETAILED,
    CONTENT_TYPE,
    bodyFile,
  ];
  const child = Bun.spawn(command, {
    env: childEnvironment(),
    stdio: ['ignore', 'inherit', 'inherit'],
    ipc(message: 'ready' | Sighting) {
      if (message === 'ready') ready.resolve();
      else told.resolve(message);
    },
    onExit() {
      const fault = new Error('the probe has ended');
      ready.reject(fault);
      told.reject(fault);
    },
  });
  told.promise.catch(() => undefined);
  await ready.promise;
  const kept = cleanup.move();
  return {
    async take() {
      told = Promise.withResolvers<Sighting>();
      child.send('tell' satisfies ProbeOrder);
      return await told.promise;
    },
    async [Symbol.asyncDispose]() {
      told.promise.catch(() => undefined);
      child.kill();
      await child.exited;
      await kept.disposeAsync();
    },
  };
}

export interface StallLimits {
  readonly healthMs: number;
  readonly requestMs: number;
}

/** The longest stalls, by attack. */
export type Stalls = Map<string, { healthMs: number; requestMs: number }>;

export interface ProbedAttack {
  readonly name: string;
  readonly attack: Attack;
  readonly count: number;
}

/** Attacks while the probe looks on; a stall is a fault of the service, as a wrong answer is. */
export async function attackProbed(
  { name, attack, count }: ProbedAttack,
  target: Target,
  random: Random,
  { probe, limits, stalls }: { readonly probe: Probe; readonly limits: StallLimits; readonly stalls: Stalls },
): Promise<void> {
  await probe.take();
  await attack(target, random, count);
  const { healthMs, requestMs, lateMs, wrong } = await probe.take();
  const stall = { healthMs: Math.max(0, healthMs - lateMs), requestMs: Math.max(0, requestMs - lateMs) };
  const known = stalls.get(name) ?? { healthMs: 0, requestMs: 0 };
  stalls.set(name, {
    healthMs: Math.max(known.healthMs, stall.healthMs),
    requestMs: Math.max(known.requestMs, stall.requestMs),
  });
  for (const fault of wrong) target.tally.fault(name, `beside it: ${fault}`);
  if (stall.healthMs > limits.healthMs) {
    target.tally.fault(name, `/health beside it took ${stall.healthMs.toFixed(0)} ms`);
  }
  if (stall.requestMs > limits.requestMs) {
    target.tally.fault(name, `a normal request beside it took ${stall.requestMs.toFixed(0)} ms`);
  }
}
