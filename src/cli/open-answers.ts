import { homedir } from 'node:os';
import { DEMO_MODEL_NAME } from '../clip/demo/demo-checkpoint.ts';
import { prepareModel } from '../clip/store/prepare-model.ts';
import type { LoadingProgress } from '../clip/store/progress-display.ts';
import type { Config } from '../config.ts';
import { type Engine, startEngine } from '../engine.ts';
import { type Log, type LogLevel, logLevels } from '../log.ts';
import type { Answers, Question, TellSynonyms } from './answers/answers.ts';
import type { Embedder } from './answers/embedder.ts';
import { createEmbeddingAnswers } from './answers/embedding-answers.ts';
import { createEngineAnswers } from './answers/engine-answers.ts';
import { createServerAnswers } from './answers/server-answers.ts';
import { createServerClient } from './answers/server-client.ts';
import { openServerEmbedder } from './answers/server-embedder.ts';
import type { Command } from './arguments.ts';
import { defaultIndexPath, type OpenIndex, openIndex } from './index/photo-index.ts';
import type { CommandTerminal } from './terminal.ts';

/** A log that prints the engine's messages as sentences. */
export function createEngineLog(level: LogLevel, note: (sentence: string) => void): Log {
  const write =
    (itsLevel: LogLevel) =>
    (fields: object, message?: string): void => {
      if (logLevels.indexOf(itsLevel) < logLevels.indexOf(level)) return;
      const named = Object.entries(fields).map(([name, value]) => `${name}: ${wordOf(value)}`);
      note(`${message}${named.length > 0 ? ` (${named.join(', ')})` : ''}`);
    };
  return {
    trace: write('trace'),
    debug: write('debug'),
    info: write('info'),
    warn: write('warn'),
    error: write('error'),
  };
}

/** Longer lists would fill the terminal at every start. */
const MAX_LISTED = 3;

function wordOf(value: unknown): string {
  if (value instanceof Error) return value.message;
  if (Array.isArray(value) && value.length > MAX_LISTED) return `one of ${value.length} values`;
  return typeof value === 'string' ? value : JSON.stringify(value);
}

interface OpenAnswersOptions {
  readonly command: Pick<Command, 'task' | 'server' | 'index' | 'isQuiet'>;
  readonly question: Question;
  readonly config: Config;
  readonly terminal: CommandTerminal;
  readonly signal: AbortSignal;
}

/**
 * Uses the server if one is given, otherwise an engine in this process.
 * @throws ModelStoreError, UsageError, ServiceError; the signal's reason
 */
export async function openAnswers(options: OpenAnswersOptions): Promise<Answers> {
  const { command, question, config, terminal, signal } = options;
  if (command.server === undefined) return await openEngine(options);
  const note = (sentence: string) => {
    if (!command.isQuiet) terminal.note(sentence);
  };
  const tellSynonyms = createSynonymNote(terminal);
  const post = createServerClient({ url: command.server, apiKey: config.apiKey, signal, note });
  const maxImageBytes = config.limits.imageBytes;
  const answers = createServerAnswers({ post, question, maxImageBytes, signal, tellSynonyms });
  const { task } = command;
  const isLibraryTask = task === 'search' || task === 'similar' || task === 'duplicates';
  if (task === 'video' || (!command.index.isUsed && !isLibraryTask)) return answers;
  const embedder = await openServerEmbedder({ post, question, signal, tellSynonyms });
  if (!embedder) {
    note('The server is of a version without embeddings: this run does not remember its photos.');
    return answers;
  }
  const index = await openIndexOf(options);
  const held: Embedder = {
    ...embedder,
    async [Symbol.asyncDispose]() {
      await embedder[Symbol.asyncDispose]();
      index?.[Symbol.dispose]();
    },
  };
  try {
    const remembering = await createEmbeddingAnswers(held, { question, maxImageBytes, signal, index });
    return { ...remembering, video: (request) => answers.video(request) };
  } catch (fault) {
    await held[Symbol.asyncDispose]();
    throw fault;
  }
}

/** Every request to a server is answered with the same warnings. */
function createSynonymNote(terminal: CommandTerminal): TellSynonyms {
  const told = new Set<string>();
  return (found) => {
    for (const { warning } of found) {
      if (!told.has(warning)) terminal.note(warning);
      told.add(warning);
    }
  };
}

const stageWords: Readonly<Partial<Record<LoadingProgress['stage'], string>>> = {
  verifying: 'Checking the model…',
  compiling: 'Preparing the model (only once)…',
  warming_up: 'Loading the model…',
};

/** The status line while the model is loaded. A download draws its own bar. */
export function describeLoading({ stage, percent }: Pick<LoadingProgress, 'stage' | 'percent'>): string {
  const words = stageWords[stage] ?? '';
  return words !== '' && percent !== undefined ? `${words} ${percent} %` : words;
}

/** @returns undefined: nothing is to be remembered, or the index cannot be used */
async function openIndexOf({
  command,
  config,
  terminal,
}: OpenAnswersOptions): Promise<OpenIndex | undefined> {
  const { isUsed, file } = command.index;
  if (!isUsed || command.task === 'video') return undefined;
  return await openIndex({
    path: file ?? defaultIndexPath(config.model.cacheDirectory, homedir()),
    isNamed: file !== undefined,
    note: (sentence) => terminal.note(sentence),
  });
}

/** What an engine in this process is started with. */
interface LocalEngineOptions extends Pick<OpenAnswersOptions, 'config' | 'terminal' | 'signal'> {
  readonly isQuiet: boolean;
}

/**
 * Prepares the model and loads it. On a terminal a status line shows the progress.
 * @throws ModelStoreError; the signal's reason
 */
export async function startLocalEngine(options: LocalEngineOptions): Promise<Engine> {
  const { config, terminal, signal, isQuiet } = options;
  const log = createEngineLog(isQuiet ? 'warn' : config.logLevel, (sentence) => terminal.note(sentence));
  const report = (progress: Pick<LoadingProgress, 'stage' | 'percent'>) => {
    if (terminal.isInteractive && !isQuiet) terminal.status(describeLoading(progress));
  };
  const store = { model: config.model, log, ...(isQuiet && { terminal: null }) };
  try {
    const compiled = await prepareModel(store, report, signal);
    report({ stage: 'warming_up' });
    const engine = await startEngine(compiled, config, log);
    if (compiled.name === DEMO_MODEL_NAME) {
      log.warn({}, 'NOT CLIP: the demo model answers. It only knows colours and brightness.');
    }
    return engine;
  } finally {
    terminal.status('');
  }
}

async function openEngine(options: OpenAnswersOptions): Promise<Answers> {
  const { command, question, config, terminal, signal } = options;
  const engine = await startLocalEngine({ config, terminal, signal, isQuiet: command.isQuiet });
  let index: OpenIndex | undefined;
  const dispose = async () => {
    await engine[Symbol.asyncDispose]();
    index?.[Symbol.dispose]();
  };
  try {
    const { classifier } = engine;
    const maxImageBytes = config.limits.imageBytes;
    index = await openIndexOf(options);
    const tellSynonyms = createSynonymNote(terminal);
    return await createEngineAnswers(classifier, {
      question,
      maxImageBytes,
      signal,
      dispose,
      index,
      tellSynonyms,
    });
  } catch (fault) {
    await dispose();
    throw fault;
  }
}
