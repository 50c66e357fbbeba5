import { parseArgs } from 'node:util';
import * as v from 'valibot';
import { type QuestionOptions, questionKeys, questionSchema } from '../contract/options.ts';
import type { FormatName } from './output/line-format.ts';
import { UsageError } from './usage-error.ts';

export const help = `Sorts pictures, or finds the best ones, by plain words.

  bun run classify PHOTOS… --categories cats.json [options]
  bun run classify --video clip.mp4 --categories cats.json [options]

PHOTOS are picture files and folders, which are looked through with all folders in them.
Categories are a JSON, CSV or text file, or words given one by one.

What is asked
  --categories FILE   {"categories":["a","b"]}, ["a","b"], or text with commas or lines
  --category WORDS    one more category; repeatable
  --template TEXT     a sentence around each category, e.g. "a photo of a {}"; repeatable,
                      several are averaged
  --threshold NUMBER  0 to 1: where the best score is less, there is no answer
  --top-k NUMBER      how many candidates --json lists (5)
  --best              the best photo for each category, instead of the category of each photo
  --video FILE        the best frame of a video for each category

What becomes of the answers
  (nothing)           lines: category, tab, file; "-" where the best score is too low
  --json              one JSON object a line, with the scores
  --csv               a table with a header
  --output FILE       into a file. Interrupted, or killed: the same command goes on where it
                      stopped, and skips what the file already has. FILE.question.json says what
                      was asked, and of which model; another question is refused. So is a
                      symbolic link, and a file that another run writes
  --copy-to DIR       copies each photo into DIR/category/; with --best the best ones; with
                      --video the best frames, as JPEG files
  --move-to DIR       moves each photo into DIR/category/
  --dry-run           only says where --copy-to or --move-to would put each file

Sorting never overwrites: where a name is taken, the file becomes "name (2).jpg". Broken photos,
and those below the threshold, stay where they are. Doing it again changes nothing. DIR may be a
symbolic link; the folder of a category in it may not. One run at a time sorts into DIR.

How it is done
  --server URL        asks a running service instead of loading the model here; a busy one, or one
                      that is starting, is waited for
  --quiet             says nothing but warnings and errors
  --help

The settings of the service count here, too: CLIP_MODEL, CLIP_CACHE, CLIP_PRECISION, THREADS,
MAX_IMAGE_BYTES, MAX_IMAGE_PIXELS, MAX_VIDEO_SECONDS, MAX_CATEGORIES, LOG_LEVEL. With --server,
API_KEY is sent along: as an option, everybody on the machine could read it.

Exit codes: 0 all is well; 1 some files cannot be used, each is named on standard error;
2 nothing can be done: wrong options or settings, no model, no server, a full disk;
130 interrupted.

Answers go to standard output, all else to standard error. Bun itself says there what it runs,
unless it is called as "bun run --silent classify". From other folders: bun PATH/src/cli/main.ts
`;

/** Where files are put by category. */
interface Sorting {
  readonly directory: string;
  readonly action: 'move' | 'copy';
  /** Only said, not done. */
  readonly isDry: boolean;
}

/** What was asked for, all of it checked as far as it can be without looking at any file. */
export interface Command {
  /** `best`: the best photo for each category; `video`: the best frame. */
  readonly task: 'categorize' | 'best' | 'video';
  /** Files and folders; of a video the one file. */
  readonly paths: readonly string[];
  readonly categories: { readonly file: string | undefined; readonly words: readonly string[] };
  readonly question: QuestionOptions;
  readonly format: FormatName;
  /** A file; undefined: standard output. */
  readonly output: string | undefined;
  readonly sorting: Sorting | undefined;
  readonly server: URL | undefined;
  readonly isQuiet: boolean;
}

// Repeatable, all of them: what is to be given once is checked, where it would be passed over otherwise.
const text = { type: 'string', multiple: true } as const;
const flag = { type: 'boolean' } as const;

const ownOptions = {
  categories: text,
  category: text,
  best: flag,
  video: text,
  json: flag,
  csv: flag,
  output: text,
  'copy-to': text,
  'move-to': text,
  'dry-run': flag,
  server: text,
  quiet: flag,
  help: { type: 'boolean', short: 'h' },
} as const;

/** The options of a request, by their names there and here. */
const questionOptions = questionKeys.map((key) => [key, key.replaceAll('_', '-')] as const);

/**
 * @param argv without the runtime and the script
 * @returns 'help' where that was asked for
 * @throws UsageError
 */
export function parseCommand(argv: readonly string[]): Command | 'help' {
  const { values, positionals } = readArguments(argv);
  if (values.help) return 'help';

  const single = (name: 'categories' | 'video' | 'output' | 'copy-to' | 'move-to' | 'server') =>
    nonEmpty(name, onlyOne(name, values[name]));
  const question = readQuestion(values);
  const video = single('video');
  const file = single('categories');
  const words = values.category ?? [];
  if (file === undefined && words.length === 0) {
    throw new UsageError('There are no categories; give --categories FILE, or --category for each.');
  }
  if (values.json && values.csv) throw new UsageError('--json and --csv exclude each other.');
  if (video !== undefined && values.best) throw new UsageError('--video and --best exclude each other.');
  if (video !== undefined && positionals.length > 0) {
    throw new UsageError('With --video there are no photos beside it; look for both one after the other.');
  }
  if (video === undefined && positionals.length === 0) {
    throw new UsageError('There are no photos; name files or folders, or a film with --video.');
  }
  const task = video === undefined ? (values.best ? 'best' : 'categorize') : 'video';
  const output = single('output');
  const isDry = values['dry-run'] ?? false;
  const sorting = sortingOf(single('move-to'), single('copy-to'), isDry);
  checkSorting(task, sorting, output);
  return {
    task,
    paths: video === undefined ? positionals : [video],
    categories: { file, words },
    question,
    format: values.json ? 'json' : values.csv ? 'csv' : 'text',
    output,
    sorting,
    server: serverUrl(single('server')),
    isQuiet: values.quiet ?? false,
  };
}

/**
 * Reads the options of a request, by the rules of the contract.
 * @throws UsageError
 */
function readQuestion(values: Readonly<Record<string, unknown>>): QuestionOptions {
  const given = questionOptions.flatMap(([key, name]) => {
    const texts = v.parse(v.optional(v.array(v.string())), values[name]);
    if (texts === undefined) return [];
    return [[key, key === 'template' ? texts : onlyOne(name, texts)]];
  });
  const question = v.safeParse(questionSchema, Object.fromEntries(given));
  if (question.success) return question.output;
  const names = new Map<unknown, string>(questionOptions);
  const faults = question.issues.map((issue) => `--${names.get(issue.path?.[0]?.key)} ${issue.message}`);
  throw new UsageError(`${faults.join('; ')}.`);
}

function readArguments(argv: readonly string[]) {
  const asked = Object.fromEntries(questionOptions.map(([, name]) => [name, text]));
  try {
    return parseArgs({
      args: [...argv],
      options: { ...asked, ...ownOptions },
      allowPositionals: true,
      strict: true,
    });
  } catch (fault) {
    if (!(fault instanceof TypeError)) throw fault;
    // "Unknown option '--jason'. To specify a positional argument starting with a '-', …"
    throw new UsageError(fault.message);
  }
}

function onlyOne(name: string, given: readonly string[] | undefined): string | undefined {
  if (given !== undefined && given.length > 1) {
    throw new UsageError(`--${name} is given ${given.length} times, once is accepted.`);
  }
  return given?.[0];
}

function nonEmpty(name: string, value: string | undefined): string | undefined {
  if (value?.trim() === '') throw new UsageError(`--${name} is empty.`);
  return value;
}

function sortingOf(
  moveTo: string | undefined,
  copyTo: string | undefined,
  isDry: boolean,
): Sorting | undefined {
  if (moveTo !== undefined && copyTo !== undefined) {
    throw new UsageError('--move-to and --copy-to exclude each other.');
  }
  if (moveTo !== undefined) return { directory: moveTo, action: 'move', isDry };
  if (copyTo !== undefined) return { directory: copyTo, action: 'copy', isDry };
  if (isDry) throw new UsageError('--dry-run goes with --move-to or --copy-to: nothing else changes files.');
  return undefined;
}

function checkSorting(task: Command['task'], sorting: Sorting | undefined, output: string | undefined): void {
  if (sorting?.action === 'move' && task === 'best') {
    throw new UsageError(
      '--best goes with --copy-to, not with --move-to: one photo may be the best for several categories.',
    );
  }
  if (sorting?.action === 'move' && task === 'video') {
    throw new UsageError('--video goes with --copy-to, not with --move-to: frames are copies.');
  }
  if (sorting?.isDry && output !== undefined) {
    throw new UsageError('--dry-run goes without --output: the file would tell of what was not done.');
  }
  if (sorting?.isDry && task === 'video') {
    throw new UsageError('--dry-run goes without --video; without --copy-to its frames are only listed.');
  }
}

function serverUrl(given: string | undefined): URL | undefined {
  if (given === undefined) return undefined;
  const url = URL.parse(given);
  if (url === null || !/^https?:$/.test(url.protocol)) {
    throw new UsageError(
      `--server ${JSON.stringify(given)} is no http or https URL, e.g. http://localhost:8080.`,
    );
  }
  return url;
}
