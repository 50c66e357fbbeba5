import type { Answers } from '../../../src/cli/answers/answers.ts';
import { createEngineAnswers } from '../../../src/cli/answers/engine-answers.ts';
import { type Command, parseCommand } from '../../../src/cli/arguments.ts';
import type { OpenIndex } from '../../../src/cli/index/photo-index.ts';
import { findBestFiles, findBestFrames } from '../../../src/cli/tasks/best.ts';
import { categorizeFiles } from '../../../src/cli/tasks/categorize.ts';
import { mergeParts } from '../../../src/cli/tasks/merge.ts';
import { removeKeywordsOfFiles } from '../../../src/cli/tasks/remove-keywords.ts';
import { findDuplicates, findSimilarFiles, searchFiles } from '../../../src/cli/tasks/search.ts';
import { classifyShard } from '../../../src/cli/tasks/shard.ts';
import { createTally, type Tally } from '../../../src/cli/tasks/task.ts';
import { undoMoves } from '../../../src/cli/tasks/undo.ts';
import { createCommandTerminal, type TextStream } from '../../../src/cli/terminal.ts';
import { parseConfig } from '../../../src/config.ts';
import { createFakeClassifier, type FakeClassifierOptions } from '../fake-classifier.ts';

export interface TaskRun {
  readonly stdout: string;
  readonly stderr: string;
  readonly tally: Tally;
  /** Words of the pictures that the engine received. */
  readonly asked: readonly string[];
  readonly fault: unknown;
}

export interface RunOptions extends FakeClassifierOptions {
  /** Interrupts the run after this many answers. */
  readonly interruptAfter?: number;
  /** Called with the number of photos of each batch, before any of them is answered. */
  readonly onBatch?: (photos: number) => void;
  readonly answers?: Answers;
  readonly labels?: readonly string[];
  /** Default: none. */
  readonly index?: OpenIndex | undefined;
}

const tasks = {
  categorize: categorizeFiles,
  shard: classifyShard,
  merge: mergeParts,
  best: findBestFiles,
  video: findBestFrames,
  'remove-keywords': removeKeywordsOfFiles,
  undo: undoMoves,
  search: searchFiles,
  similar: findSimilarFiles,
  duplicates: findDuplicates,
} as const;
const MAX_IMAGE_BYTES = 1000;
export const labels = ['cat', 'dog', 'a/b'];
const withoutCategories = new Set(['merge', 'search', 'similar', 'duplicates', 'undo']);

/**
 * Runs a command as the process does, with a fake engine. The categories are `cat`, `dog` and `a/b`, or those of the
 * options; none for a task without a question.
 */
export async function runTask(argv: readonly string[], options: RunOptions = {}): Promise<TaskRun> {
  const hasCategories = !withoutCategories.has(argv[0] ?? '') && !argv.includes('--remove-keywords');
  const categories = options.labels ?? (hasCategories ? labels : []);
  const command = parseCommand([...argv, ...categories.flatMap((label) => ['--category', label])]) as Command;
  const stopping = new AbortController();
  const { signal } = stopping;
  const [stdout, stderr] = [capture(), capture()];
  const terminal = createCommandTerminal(stdout, stderr);
  const tally = createTally(terminal, () => 0);
  const { classifier, added } = createFakeClassifier(options);
  const { interruptAfter = Number.POSITIVE_INFINITY } = options;
  const question = { ...command.question, categories: { labels: [...categories] } };
  const openAnswers = async (): Promise<Answers> => {
    if (options.answers) return options.answers;
    const dispose = async () => undefined;
    const answers = await createEngineAnswers(classifier, {
      question,
      maxImageBytes: MAX_IMAGE_BYTES,
      signal,
      dispose,
      index: options.index,
    });
    let given = 0;
    return {
      ...answers,
      async *categorize(files) {
        options.onBatch?.(files.length);
        for await (const outcome of answers.categorize(files)) {
          if (given === interruptAfter) stopping.abort(new Error('interrupted'));
          given += 1;
          yield outcome;
        }
      },
    };
  };
  const { limits } = parseConfig({}, []);
  const config = { limits: { ...limits, imageBytes: MAX_IMAGE_BYTES } };
  let fault: unknown;
  try {
    await tasks[command.task]({
      config,
      command,
      categories: { labels: [...categories] },
      terminal,
      tally,
      openAnswers,
      signal,
    });
  } catch (thrown) {
    fault = thrown;
  }
  return { stdout: stdout.text(), stderr: stderr.text(), tally, asked: added, fault };
}

function capture(): TextStream & { text(): string } {
  let written = '';
  return {
    write(text, done) {
      written += text;
      done?.();
      return true;
    },
    text: () => written,
  };
}
