import { post } from '../exchange.ts';
import { CONTENT_TYPE, categoriesPart, filePart, joinForm } from '../form.ts';
import { hostileDocument } from '../hostile/documents.ts';
import { judge } from '../judge.ts';
import { type Attack, repeat } from './attack.ts';

const ATTACK = 'mutated categories';
const CHECK_EVERY = 50;

interface Detailed {
  readonly results: readonly {
    readonly category: string;
    readonly scores: readonly { readonly category: string; readonly score: number }[];
  }[];
}

/** Categories documents, sound and otherwise, as a file or as a field, with a sound picture beside them. */
export const mutatedDocuments: Attack = async (target, random, count) => {
  const picture = target.sentinels[0]?.bytes ?? new Uint8Array();
  await repeat(count, random, async (own, turn) => {
    const document = hostileDocument(own);
    const fileName = own.pick([undefined, 'a.json', 'a.csv', 'a.txt', 'a.exe']);
    const parts = [filePart('a.jpg', picture), categoriesPart(document, fileName)];
    const body = joinForm(own.chance(0.5) ? parts : parts.toReversed());
    const path = '/categorize?details=true&top_k=1000';
    const outcome = await post({ url: target.url, path, contentType: CONTENT_TYPE, body });
    const about = () =>
      `document ${turn}, ${document.length} bytes: ${JSON.stringify(Buffer.from(document.subarray(0, 400)).toString('latin1'))}`;
    const answer = judge(target.tally, ATTACK, outcome, about);
    if (answer?.status === 200 && !isSound(answer.json as Detailed)) {
      target.tally.fault(ATTACK, `impossible scores: ${answer.body.slice(0, 300)}; ${about()}`);
    }
    if (turn % CHECK_EVERY === 0) await target.expectSound(ATTACK);
  });
};

function isSound({ results }: Detailed): boolean {
  const [result] = results;
  if (!result || results.length !== 1) return false;
  const { scores, category } = result;
  const names = new Set(scores.map((score) => score.category));
  const total = scores.reduce((sum, { score }) => sum + score, 0);
  return (
    names.size === scores.length &&
    scores[0]?.category === category &&
    Math.abs(total - 1) < 1e-3 &&
    scores.every(({ category: name, score }) => name.trim() !== '' && score >= 0)
  );
}
