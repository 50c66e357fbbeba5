import type { Random } from '../random.ts';
import type { Target } from '../target.ts';

/**
 * Something hostile done to the service, as often as asked for. What it finds stands in the target's tally.
 * @param count pictures, bodies, documents or clients, whatever the attack is made of
 */
export type Attack = (target: Target, random: Random, count: number) => Promise<void>;

/** Clients that send at the same time: enough to fill batches, few enough never to be refused. */
const CLIENTS = 4;

/**
 * Does something `count` times, by several clients at once.
 * @param act gets a random generator of its own, which depends on the seed and its turn alone
 */
export async function repeat(
  count: number,
  random: Random,
  act: (random: Random, turn: number) => Promise<void>,
): Promise<void> {
  let turn = 0;
  const client = async () => {
    while (turn < count) {
      const own = random.fork();
      await act(own, turn++);
    }
  };
  await Promise.all(Array.from({ length: CLIENTS }, client));
}
