import type { Question } from '../../../src/cli/answers/answers.ts';
import { createServerAnswers } from '../../../src/cli/answers/server-answers.ts';
import { createServerClient } from '../../../src/cli/answers/server-client.ts';
import type { FoundFile } from '../../../src/cli/files/find-files.ts';
import type { Patience } from '../../../src/contract/client.ts';
import { start } from '../../http/harness.ts';
import { createFakeClassifier, pictureOf } from '../fake-classifier.ts';
import type { TemporaryFolder } from '../temporary-folder.ts';

export const question: Question = {
  categories: { labels: ['cat', 'dog', 'a "b", c'] },
  fit: 'crop',
  threshold: 0.5,
  top_k: 2,
};
export const { signal } = new AbortController();
const patience: Partial<Patience> = { backOffSeconds: 0.001, busyPauseSeconds: 0.001, attempts: 3 };

export function answersOf(
  url: string,
  options: { readonly apiKey?: string; readonly question?: Question } = {},
) {
  const notes: string[] = [];
  const post = createServerClient({
    url: new URL(url),
    apiKey: options.apiKey,
    signal,
    note: (sentence) => notes.push(sentence),
    patience,
  });
  const asked = options.question ?? question;
  const answers = createServerAnswers({ post, question: asked, maxImageBytes: 1000, signal });
  return Object.assign(answers, { notes });
}

export function serve(environment: Record<string, string> = {}) {
  const { classifier, added } = createFakeClassifier();
  return { classifier, added, server: start({ environment, engine: { state: 'ready', classifier } }) };
}

export async function filesOf(folder: TemporaryFolder, words: readonly string[]): Promise<FoundFile[]> {
  const names = words.map((word, index) => `${index} ${word.replaceAll(/\W/g, '_')} "ü\n".gif`);
  for (const [index, word] of words.entries()) {
    await folder.write({ [names[index] ?? '']: word === 'text' ? 'text' : pictureOf(word) });
  }
  return names.map((name) => ({ path: folder.at(name), isNamed: false }));
}

export const words = ['cat', 'text', 'dog', 'broken', 'a "b", c', 'fish'];
