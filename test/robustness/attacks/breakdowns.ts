import { post } from '../exchange.ts';
import { CONTENT_TYPE, categoriesPart, filePart, joinForm } from '../form.ts';
import { judge } from '../judge.ts';
import { categories, DETAILED, killThreads } from '../target.ts';
import type { Attack } from './attack.ts';

const ATTACK = 'breakdowns';
const CLIENTS = 4;

/**
 * The inference thread ends, so many times, under requests: those are answered rightly, or with 503 where the
 * next thread ended as well. It takes a service that was started with `mortal`.
 */
export const breakdowns: Attack = async (target, random, count) => {
  let left = count;
  let labels = 0;
  const client = async () => {
    while (left > 0) {
      // A new label each time: the known ones would not need the thread.
      const label = `something unheard of, number ${labels++}`;
      const sent = random.pick(target.sentinels);
      const body = joinForm([
        filePart('sound', sent.bytes),
        categoriesPart(JSON.stringify([...categories, label])),
      ]);
      const outcome = await post({ url: target.url, path: DETAILED, contentType: CONTENT_TYPE, body });
      const answer = judge(target.tally, ATTACK, outcome, () => `a good request with ${label}`);
      if (answer?.status === 200) {
        const { results } = answer.json as { results: readonly { scores: readonly Score[] }[] };
        if (!hasKnownSimilarities(results[0]?.scores ?? [], sent.entry)) {
          target.tally.fault(ATTACK, `another answer: ${answer.body}; expected ${sent.entry}`);
        }
      } else if (answer && answer.status !== 503) {
        target.tally.fault(ATTACK, `a good request was refused: ${answer.status} ${answer.body}`);
      }
    }
  };
  const killer = async () => {
    for (; left > 0; left--) {
      await Bun.sleep(50 + random.below(400));
      killThreads(target);
    }
  };
  await Promise.all([killer(), ...Array.from({ length: CLIENTS }, client)]);
  await target.expectSound(ATTACK);
};

interface Score {
  readonly category: string;
  readonly similarity: number;
}

/** With one more label the scores differ; the cosines keep their digits. */
function hasKnownSimilarities(scores: readonly Score[], entry: string): boolean {
  const expected = (JSON.parse(entry) as { scores: readonly Score[] }).scores;
  const similarities = new Map(scores.map(({ category, similarity }) => [category, similarity]));
  return expected.every(({ category, similarity }) => similarities.get(category) === similarity);
}
