import { openConnection, requestHead } from '../exchange.ts';
import { hostileForm } from '../hostile/forms.ts';
import { judge } from '../judge.ts';
import { type Attack, repeat } from './attack.ts';

const ATTACK = 'mutated forms';
/** Of so many, one is followed by a good request on a connection of its own. */
const CHECK_EVERY = 50;

/** Broken forms, and HTTP that lies about them, over raw connections. */
export const mutatedForms: Attack = async (target, random, count) => {
  const picture = target.sentinels[0]?.bytes ?? new Uint8Array();
  await repeat(count, random, async (own, turn) => {
    const request = hostileForm(picture, own);
    using connection = await openConnection(target.url);
    await connection.write(requestHead(request.path, request.headers));
    for (const piece of request.pieces) await connection.write(piece);
    if (request.halfClose) connection.halfClose();
    const about = () =>
      `form ${turn}, ${request.kind}: ${JSON.stringify(request.headers)} ${request.pieces.map((piece) => piece.length)}`;
    judge(target.tally, ATTACK, await connection.answer(), about, request.leniency);
    if (turn % CHECK_EVERY === 0) await target.expectSound(ATTACK);
  });
};
