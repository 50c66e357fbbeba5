import { MAX_TEXTS } from '../../../src/contract/options.ts';
import { post } from '../exchange.ts';
import { CONTENT_TYPE, categoriesPart, filePart, joinForm } from '../form.ts';
import { judge } from '../judge.ts';
import type { Attack } from './attack.ts';

const ATTACK = 'heavy labels';
/** The service's default limit. */
const MAX_LABELS = 1000;
const ATTEMPTS = 8;

/**
 * One request of as many texts as may be (labels times templates): others, with labels that nobody has asked
 * for before, must not have to wait until it is done.
 * @param count templates, at most 100
 */
export const heavyLabels: Attack = async (target, random, count) => {
  const picture = target.sentinels[0]?.bytes ?? new Uint8Array();
  const templates = Array.from({ length: count }, (_, index) => `template=${index}%20{}`).join('&');
  const ask = async (query: string, documents: readonly string[], about: string) => {
    const body = joinForm([filePart('a', picture), categoriesPart(JSON.stringify(documents))]);
    const outcome = await post({
      url: target.url,
      path: `/categorize?${query}`,
      contentType: CONTENT_TYPE,
      body,
    });
    const answer = judge(target.tally, ATTACK, outcome, () => about);
    if (answer && answer.status !== 200) target.tally.fault(ATTACK, `${about}: ${answer.body}`);
  };
  /** @returns how many other requests were answered meanwhile */
  const askHeavy = async (): Promise<number> => {
    // Once known they would weigh nothing.
    const unheardOf = random.below(2 ** 32);
    const labels = Array.from(
      { length: Math.min(MAX_LABELS, Math.floor(MAX_TEXTS / count)) },
      (_, index) => `${'cat '.repeat(40)}${unheardOf} ${index}`,
    );
    let isDone = false;
    const heavy = ask(templates, labels, `${labels.length} labels in ${count} templates`).then(() => {
      isDone = true;
    });
    let answered = 0;
    while (!isDone) {
      await ask('', ['red', `something new ${random.below(2 ** 32)}`], 'a new label');
      if (!isDone) answered += 1;
    }
    await heavy;
    return answered;
  };
  // On a busy machine, a small model may be done before the others have even been sent.
  let answered = 0;
  for (let attempt = 0; attempt < ATTEMPTS && answered < 2; attempt++) answered = await askHeavy();
  if (answered < 2) target.tally.fault(ATTACK, 'all others waited until the heavy request was done');
  await target.expectSound(ATTACK);
};
