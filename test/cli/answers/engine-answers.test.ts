import { describe, expect, test } from 'bun:test';
import type { FileOutcome, Question, TakenFile } from '../../../src/cli/answers/answers.ts';
import { createEngineAnswers } from '../../../src/cli/answers/engine-answers.ts';
import type { FoundFile } from '../../../src/cli/files/find-files.ts';
import { ServiceError } from '../../../src/errors.ts';
import { createFakeClassifier, type FakeClassifierOptions, pictureOf } from '../fake-classifier.ts';
import { type TemporaryFolder, temporaryFolder } from '../temporary-folder.ts';

const question: Question = {
  categories: { labels: ['cat', 'dog', 'bird'] },
  fit: 'crop',
  top_k: 2,
};

async function openAnswers(
  options: FakeClassifierOptions & { readonly question?: Question; readonly signal?: AbortSignal } = {},
) {
  const { classifier, added } = createFakeClassifier(options);
  const answers = await createEngineAnswers(classifier, {
    question: options.question ?? question,
    maxImageBytes: 1000,
    signal: options.signal ?? new AbortController().signal,
    dispose: async () => undefined,
    restartMs: 1,
  });
  return { added, ...answers };
}

/** One file a word, in their order: "none" is not there, "text" is no picture. */
async function filesOf(folder: TemporaryFolder, words: readonly string[]): Promise<FoundFile[]> {
  const files: FoundFile[] = [];
  for (const [index, word] of words.entries()) {
    const name = `${String(index).padStart(4, '0')}-${word}`;
    if (word !== 'none') await folder.write({ [name]: word === 'text' ? 'text' : pictureOf(word) });
    files.push({ path: folder.at(name), isNamed: false });
  }
  return files;
}

const brief = (outcome: FileOutcome) =>
  outcome.kind === 'answered'
    ? outcome.category
    : `${outcome.kind} ${'code' in outcome ? outcome.code : outcome.what}`;

describe('every file is answered', () => {
  test('in its order, whatever it is', async () => {
    await using folder = await temporaryFolder();
    const files = await filesOf(folder, ['cat', 'text', 'dog', 'broken', 'none', 'bird']);
    const { categorize } = await openAnswers();
    const outcomes = await Array.fromAsync(categorize(files));
    expect(outcomes.map(({ file }) => file)).toEqual(files.map(({ path }) => path));
    expect(outcomes.map(brief)).toEqual([
      'cat',
      'skipped text',
      'dog',
      'broken image_broken',
      'broken file_unreadable',
      'bird',
    ]);
    expect(outcomes[0]).toEqual({
      kind: 'answered',
      file: files[0]?.path ?? '',
      category: 'cat',
      score: 0.9,
      similarity: 0.3,
      scores: [
        { category: 'cat', score: 0.9, similarity: 0.3 },
        { category: 'dog', score: 0.05, similarity: 0.05 / 3 },
      ],
    });
  });

  test('with no category below the threshold', async () => {
    await using folder = await temporaryFolder();
    const files = await filesOf(folder, ['cat', 'fish']);
    const { categorize } = await openAnswers({ question: { ...question, threshold: 0.5 } });
    const outcomes = await Array.fromAsync(categorize(files));
    expect(outcomes.map(brief)).toEqual(['cat', null]);
    expect(outcomes[1]).toMatchObject({ scores: [{ category: 'cat' }, { category: 'dog' }] });
  });

  test('while the next ones are read and encoded', async () => {
    await using folder = await temporaryFolder();
    const words = Array.from({ length: 200 }, (_, index) => question.categories.labels[index % 3] ?? '');
    const { categorize, added } = await openAnswers();
    let answered = 0;
    let mostAhead = 0;
    for await (const outcome of categorize(await filesOf(folder, words))) {
      expect(brief(outcome)).toBe(words[answered] ?? '');
      answered += 1;
      await Bun.sleep(0);
      mostAhead = Math.max(mostAhead, added.length - answered);
    }
    expect(answered).toBe(200);
    // Never all of them, however slowly the answers are taken: three pieces of eight beside the one in hand. More at
    // once would make the progress jump, and an interruption lose more answers.
    expect(mostAhead).toBeGreaterThanOrEqual(8);
    expect(mostAhead).toBeLessThanOrEqual(32);
  });

  test('until it is interrupted', async () => {
    await using folder = await temporaryFolder();
    const stopping = new AbortController();
    const { categorize, added } = await openAnswers({ signal: stopping.signal });
    const files = await filesOf(
      folder,
      Array.from({ length: 200 }, () => 'cat'),
    );
    const answering = (async () => {
      for await (const _ of categorize(files)) stopping.abort(new Error('stopped'));
    })();
    expect(answering).rejects.toThrow('stopped');
    await answering.catch(() => undefined);
    expect(added.length).toBeLessThan(200);
  });

  test('or a fault that is no picture’s and known ends it', async () => {
    await using folder = await temporaryFolder();
    const onAdd = async (word: string) => {
      if (word === 'dog') throw new ServiceError('shutting_down', 'The engine ends.');
    };
    const { categorize } = await openAnswers({ onAdd });
    const answering = Array.fromAsync(categorize(await filesOf(folder, ['cat', 'dog', 'cat'])));
    expect(answering).rejects.toThrow('The engine ends.');
    await answering.catch(() => undefined);
  });
});

describe('one file at which the engine fails', () => {
  const thousand = Array.from({ length: 1000 }, (_, index) => (index === 500 ? 'dog' : 'cat'));
  const restarting = () => new ServiceError('engine_restarting', 'Inference is being restarted.');

  test('unexpectedly is named, and the 999 others are answered', async () => {
    await using folder = await temporaryFolder();
    const onAdd = async (word: string) => {
      if (word === 'dog') throw new TypeError('x is undefined');
    };
    const { categorize, added } = await openAnswers({ onAdd });
    const outcomes = await Array.fromAsync(categorize(await filesOf(folder, thousand)));
    expect(outcomes.length).toBe(1000);
    expect(outcomes.filter((outcome) => brief(outcome) !== 'cat')).toEqual([
      {
        kind: 'broken',
        file: folder.at('0500-dog'),
        code: 'internal',
        error: 'Looking at it failed unexpectedly, which is a bug: x is undefined',
      },
    ]);
    expect(added.length).toBe(1000);
  });

  test('while it is being restarted is shown again, and those around it are not', async () => {
    await using folder = await temporaryFolder();
    let breakdowns = 3;
    const onAdd = async (word: string) => {
      if (word === 'dog' && breakdowns-- > 0) throw restarting();
    };
    const { categorize, added } = await openAnswers({ onAdd });
    const outcomes = await Array.fromAsync(categorize(await filesOf(folder, ['cat', 'dog', 'bird'])));
    expect(outcomes.map(brief)).toEqual(['cat', 'dog', 'bird']);
    expect(added).toEqual(['cat', 'dog', 'bird', 'dog', 'dog', 'dog']);
  });

  test('each time it is shown is named after five attempts', async () => {
    await using folder = await temporaryFolder();
    const onAdd = async (word: string) => {
      if (word === 'dog') throw restarting();
    };
    const { categorize, added } = await openAnswers({ onAdd });
    const outcomes = await Array.fromAsync(categorize(await filesOf(folder, ['cat', 'dog', 'bird'])));
    expect(outcomes.map(brief)).toEqual(['cat', 'broken engine_restarting', 'bird']);
    expect(added.filter((word) => word === 'dog').length).toBe(5);
  });

  test('is one of many: where it fails at all, the run ends', async () => {
    await using folder = await temporaryFolder();
    const onAdd = async () => {
      throw new Error('no session');
    };
    const { categorize, best } = await openAnswers({ onAdd });
    const files = await filesOf(folder, thousand.slice(0, 100));
    const sentence =
      '20 files in a row could not be answered, so the files are not the reason. The last one: Looking at it failed unexpectedly, which is a bug: no session';
    const answering = Array.fromAsync(categorize(files));
    expect(answering).rejects.toThrow(sentence);
    await answering.catch(() => undefined);
    expect(best(files, () => undefined)).rejects.toThrow(sentence);
  });

  test('does not keep the best from being found', async () => {
    await using folder = await temporaryFolder();
    let breakdowns = 2;
    const onAdd = async (word: string) => {
      if (word === 'fish') throw new TypeError('x is undefined');
      if (word === 'dog' && breakdowns-- > 0) throw restarting();
    };
    const { best } = await openAnswers({ onAdd });
    const told: string[] = [];
    const answer = await best(await filesOf(folder, ['cat', 'fish', 'dog']), (outcome) =>
      told.push(`${outcome.kind} ${outcome.file.slice(-4)}`),
    );
    expect(answer.map(({ category, file }) => [category, file?.slice(-4)])).toEqual([
      ['cat', '-cat'],
      ['dog', '-dog'],
      ['bird', '-cat'],
    ]);
    expect(told).toEqual(['taken -cat', 'broken fish', 'taken -dog']);
  });
});

describe('the best file for every category', () => {
  const bestOf = async (words: readonly string[], threshold?: number) => {
    await using folder = await temporaryFolder();
    const files = await filesOf(folder, words);
    const { best } = await openAnswers({ question: { ...question, threshold } });
    const told: string[] = [];
    const answer = await best(files, (outcome: TakenFile) => told.push(outcome.kind));
    const nameOf = (path: string | null) => (path === null ? null : path.slice(folder.path.length + 1));
    return { told, answer: answer.map((one) => ({ ...one, file: nameOf(one.file) })) };
  };

  test('is found among all sound ones', async () => {
    const { told, answer } = await bestOf(['dog', 'broken', 'text', 'cat', 'fish']);
    expect(answer.map(({ category, file }) => [category, file])).toEqual([
      ['cat', '0003-cat'],
      ['dog', '0000-dog'],
      ['bird', '0000-dog'],
    ]);
    expect(answer[0]).toMatchObject({ score: 0.9, similarity: 0.3 });
    expect(answer[0]?.scores.length).toBe(2);
    expect(told).toEqual(['taken', 'broken', 'skipped', 'taken', 'taken']);
  });

  test('is none below the threshold, or where there is no picture', async () => {
    expect((await bestOf(['dog', 'fish'], 0.5)).answer.map(({ file }) => file)).toEqual([
      null,
      '0000-dog',
      null,
    ]);
    expect((await bestOf(['text'])).answer[0]).toEqual({
      category: 'cat',
      file: null,
      score: null,
      similarity: null,
      scores: [],
    });
  });
});
