import { post } from '../exchange.ts';
import { CONTENT_TYPE, categoriesPart, filePart, joinForm } from '../form.ts';
import { endlessPictures } from '../hostile/endless.ts';
import { tiffLayouts } from '../hostile/tiffs.ts';
import { judge } from '../judge.ts';
import { categories, type Target } from '../target.ts';
import type { Attack } from './attack.ts';

interface Sent {
  readonly name: string;
  readonly bytes: Uint8Array;
}

/** Each picture beside a sound one: the sound one is answered, whatever becomes of the other. */
async function sendBesideSound(target: Target, attack: string, pictures: readonly Sent[]): Promise<void> {
  const [sentinel] = target.sentinels;
  for (const { name, bytes } of pictures) {
    const body = joinForm([
      filePart('sound', sentinel?.bytes ?? new Uint8Array()),
      filePart(name, bytes),
      categoriesPart(categories.join(',')),
    ]);
    const path = '/categorize?details=true';
    const outcome = await post({ url: target.url, path, contentType: CONTENT_TYPE, body });
    const answer = judge(target.tally, attack, outcome, () => name);
    if (!answer) continue;
    const { results = [], errors = [] } = answer.json as {
      results?: readonly { file: string }[];
      errors?: readonly { file: string; code: string }[];
    };
    const sound = results.find(({ file }) => file === 'sound');
    const { file: _, ...entry } = sound ?? {};
    if (JSON.stringify(entry) !== sentinel?.entry) {
      target.tally.fault(attack, `${name}: the sound picture beside it is ${JSON.stringify(sound)}`);
    }
    const fault = errors.find(({ file }) => file === name);
    if (fault && !/^image_/.test(fault.code)) target.tally.fault(attack, `${name}: ${JSON.stringify(fault)}`);
  }
  await target.expectSound(attack);
}

/**
 * Pictures whose tables and chains take long to walk.
 * @param mebibytes of the large ones
 */
export function endlessTables(mebibytes: number): Attack {
  return (target) => sendBesideSound(target, 'endless tables', endlessPictures(mebibytes));
}

/** TIFFs in layouts that their library reads seldom. */
export const rareTiffs: Attack = (target) => sendBesideSound(target, 'rare TIFFs', tiffLayouts());
