import { post } from '../exchange.ts';
import { CONTENT_TYPE, categoriesPart, filePart, joinForm } from '../form.ts';
import { type Bomb, type BombSize, makeBombs } from '../hostile/bombs.ts';
import { judge } from '../judge.ts';
import { takePeakBytes } from '../process-state.ts';
import type { Attack } from './attack.ts';

const ATTACK = 'bombs';

export interface Explosion {
  readonly name: string;
  readonly bytes: number;
  readonly milliseconds: number;
  /** Of the service, while it had this picture. */
  readonly peakBytes: number;
  readonly answer: string;
}

/** Sends each bomb alone, with a sound picture in the same request. */
export const bombs =
  (size: BombSize, report: (explosion: Explosion) => void = () => undefined): Attack =>
  async (target) => {
    for (const bomb of await makeBombs(size)) {
      takePeakBytes(target.service.pid);
      const startedAt = performance.now();
      const outcome = await post({
        url: target.url,
        path: '/categorize?on_error=skip&details=true',
        contentType: CONTENT_TYPE,
        body: formOf(bomb, target.sentinels[0]?.bytes ?? new Uint8Array()),
      });
      const milliseconds = performance.now() - startedAt;
      const answer = judge(target.tally, ATTACK, outcome, () => bomb.name);
      report({
        name: bomb.name,
        bytes: bomb.bytes.length,
        milliseconds,
        peakBytes: takePeakBytes(target.service.pid),
        answer: answer?.body ?? String(outcome),
      });
      if (answer && !JSON.stringify(answer.json).includes('"file":"sound"')) {
        target.tally.fault(ATTACK, `the sound picture beside ${bomb.name} is not answered: ${answer.body}`);
      }
    }
    await target.expectSound(ATTACK);
  };

function formOf(bomb: Bomb, sound: Uint8Array): Buffer {
  return joinForm([
    filePart(bomb.name, bomb.bytes),
    filePart('sound', sound),
    categoriesPart('red,green,blue'),
  ]);
}
