import { openConnection } from '../exchange.ts';
import { hostileHead } from '../hostile/heads.ts';
import type { Attack } from './attack.ts';
import { repeat } from './attack.ts';

const ATTACK = 'mutated heads';

/**
 * Requests that are hardly HTTP: most are answered by the HTTP parser, which knows nothing of us. All that
 * counts is that nobody is kept waiting, that nothing breaks, and that no bug shows.
 */
export const mutatedHeads: Attack = async (target, random, count) => {
  await repeat(count, random, async (own, turn) => {
    const head = hostileHead(own);
    using connection = await openConnection(target.url);
    await connection.write(head);
    connection.halfClose();
    const outcome = await connection.answer();
    const status = typeof outcome === 'string' ? outcome : outcome.status;
    target.tally.count(ATTACK, status);
    const isBug =
      outcome === 'silent' ||
      (typeof status === 'number' && status >= 500 && ![501, 503, 505].includes(status));
    if (isBug)
      target.tally.fault(
        ATTACK,
        `${status}; head ${turn}: ${JSON.stringify(Buffer.from(head).toString('latin1'))}`,
      );
  });
  await target.expectSound(ATTACK);
};
