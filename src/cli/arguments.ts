import { parseArgs } from 'node:util';
import * as v from 'valibot';
import { parseCategories, writeCategories } from '../classify/categories.ts';
import type { Categories } from '../classify/classifier.ts';
import {
  pictureQuestionSchema,
  type QuestionOptions,
  questionKeys,
  type VideoOptions,
} from '../contract/options.ts';
import { ServiceError } from '../errors.ts';
import { type SidecarNaming, sidecarNamings } from './keywords/sidecar.ts';
import type { FormatName } from './output/line-format.ts';
import { isArchive, type PartFormat, parseShard, type Shard } from './shards/shard.ts';
import { isStorageUrl } from './storage/storage.ts';
import { reasonOf, UsageError } from './usage-error.ts';

export const help = `Sorts photos into categories that you write yourself, or finds the best photo
or video frame for each category. Also searches folders.

  bun run classify PHOTOS… --categories cats.json [options]
  bun run classify --video clip.mp4 --categories cats.json [options]
  bun run classify PHOTOS… --remove-keywords [--dry-run]
  bun run classify undo LOG [--dry-run]
  bun run classify PHOTOS… --categories cats.json --shard I/N --output PARTS
  bun run classify merge PARTS… --output all.jsonl
  bun run classify search "a dog in snow" PHOTOS… [options]
  bun run classify similar PHOTO PHOTOS… [options]
  bun run classify duplicates PHOTOS… [options]

PHOTOS: picture files, and folders (searched with all subfolders). Pictures and
videos in folders that are not used are named on standard error, too.
Questions with categories also take tar files (.tar, .tar.gz, .tgz) and object
storage: s3://bucket/folder/ is all that begins so, tar files included.
Categories: a JSON, CSV or text file, or one --category for each.

Question
  --categories FILE   {"categories":["a","b"]}, ["a","b"], or text with one
                      category per line or commas between them; with several
                      phrases, {"categories":{"dog":["a dog","a puppy"]}}
  --category TEXT     one more category; repeatable
  --template TEXT     a sentence around each category, e.g. "a photo of a {}";
                      or "photo" for this one, or "ensemble" for OpenAI's
                      seven; repeatable, several are averaged
  --others            compare each category, alone, with neutral phrases such as
                      "object": a photo that fits none gets no category. Needed
                      to ask about one category only
  --several           give each photo all categories that fit better than those
                      phrases; implies --others
  --threshold NUMBER  0 to 1: below this score a photo gets no category
                      (with --others 0.5)
  --top-k NUMBER      how many candidates --json lists for each answer (5)
  --background COLOR  show transparent photos on this colour, e.g. white or
                      "#ffcc00"; otherwise their hidden colours show
  --fit FIT           what is looked at of a photo or frame that is not square:
                      "crop" (default) its middle, as CLIP does; "whole" all of
                      it, squeezed; "tiles" all of it, in squares, of which the
                      best one counts; as much slower as there are squares
  --best              find the best photo for each category
  --video FILE        find the best frame of a video for each category
  --thorough          with --video: look at every second of a long video, not
                      only at parts of it; slower
  --moments           with --video and --json: also list when each category
                      fits, from start to end; at most as many as --top-k

Search
  search WORDS        list the photos that fit the words, best first
  similar PHOTO       list the photos that look like this one, best first
  duplicates          list the photos that look almost the same, in groups
  --top-k NUMBER      how many photos search and similar list (20)
  --min-similarity N  -1 to 1: list no photos below it (duplicates: 0.98)

Index
  Each photo is analysed once: its embedding is kept in an index, for the next
  question and after an interruption. A photo that has changed, or another
  photo under an old name, is analysed again.
  --index FILE        use this index (CLIP_CACHE/photos.index, or
                      ~/.cache/clip/photos.index)
  --no-index          keep nothing

Many machines
  --shard I/N         answer only the photos of shard I of N, I from 0. A photo
                      belongs to one shard, and a tar file as a whole
  --output PARTS      a folder, or s3://bucket/folder/: each shard writes its
                      part there when it is complete, part-00003-of-00010.jsonl.
                      Run a shard that was killed again: it continues
  --output FILE       also FILE.parquet, s3://bucket/FILE.jsonl or .parquet
  --parquet           write the parts as Parquet
  merge PARTS…        join the parts to one file, if all are there, of the same
                      run, and have each photo once

Output
  (default)           one line per answer: category, tab, file;
                      "-" where the best score is below the threshold; with
                      --several, "; " is between categories
  --json              one JSON object per line, with the scores
  --csv               a table with a header
  --output FILE       write the answers to FILE. If it is interrupted, run the
                      same command again: it continues. FILE.question.json
                      stores the question and the model, FILE.seen what each
                      photo was; a run with another question or model is
                      refused, and so is a symbolic link
  --copy-to DIR       copy each photo to DIR/category/; with --best the best
                      photos; with --video the best frames, as JPEG files
  --move-to DIR       move each photo to DIR/category/
  --keep-folders      with --copy-to or --move-to: DIR/category/ gets the
                      subfolders that the photos are in
  --write-keywords    write each category as a keyword into the photo's XMP
                      sidecar; the photo itself is never changed
  --sidecar-name NAME how a new sidecar of IMG_1.jpg is named: "full" (default)
                      IMG_1.jpg.xmp, or "stem" IMG_1.xmp. A sidecar that exists
                      is used, whichever name it has
  --remove-keywords   remove the keywords that --write-keywords has written
  --dry-run           with --copy-to, --move-to or keywords, and with undo: only
                      print what would be done
  --no-list           print no answers: for sorting and keywords
  --yes               move, or write keywords, although there is one category
                      only: without --others it fits every photo at 100 %

Sorting never overwrites a file: if a name is taken, "name (2).jpg" is used.
Sidecars (.xmp, .aae and others), the video of a live photo and the raw picture
of a pair go with their photo. Broken photos and photos below the threshold
stay where they are. Running the same command again changes nothing. DIR may be
a symbolic link, the category folders in it may not. Only one run at a time can
sort into DIR. Moves are logged in DIR; "undo LOG" moves all files back.

Other options
  --server URL        ask a running service instead of loading the model here;
                      waits while the service is busy or starting
  --quiet             print only warnings and errors
  --help              print this text

Environment: CLIP_MODEL, CLIP_CACHE, CLIP_PRECISION, THREADS, MAX_IMAGE_BYTES,
MAX_IMAGE_PIXELS, MAX_VIDEO_SECONDS, MAX_CATEGORIES and LOG_LEVEL work as in the
service. Object storage needs AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, and
takes AWS_REGION, AWS_ENDPOINT_URL and AWS_SESSION_TOKEN. With --server, API_KEY
is sent to it (not an option, because other users could see it in the process
list).

Exit codes: 0 success; 1 some pictures, raw pictures, videos or files that you
named could not be used (standard error names each with the reason); 2 nothing
was done, or the run had to stop: wrong options or settings, no model, no
server, a full disk; 130 interrupted. With --output PARTS, broken photos are in
the part and give 0; 1 means that photos are left: run the shard again.

Answers go to standard output, everything else to standard error. "bun run"
adds lines of its own, such as 'error: script "classify" exited with code 1';
"bun run --silent classify" hides them. From another folder, use
"bun PATH/src/cli/main.ts".
`;

/** Options of a video's search, named as on the wire. */
export type VideoSearchOptions = Pick<VideoOptions, 'thorough' | 'moments'>;

/** How files are put into folders by category. */
interface Sorting {
  readonly directory: string;
  readonly action: 'move' | 'copy';
  /** Whether photos keep their subfolders. */
  readonly keepsFolders: boolean;
}

/** What `search`, `similar` and `duplicates` ask for. */
interface SearchQuestion {
  /** The words of `search`, or the photo of `similar`. */
  readonly subject: string;
  readonly limit: number;
  readonly minSimilarity: number;
}

/** The command line, checked as far as possible without reading any file. */
export interface Command {
  /**
   * `best`: the best photo for each category; `video`: the best frame; `search`, `similar` and `duplicates` are about
   * whole folders. `shard` is `categorize` for photos of any place, in parts; `merge` joins the parts. The last three
   * need no model.
   */
  readonly task:
    | 'categorize'
    | 'best'
    | 'video'
    | 'search'
    | 'similar'
    | 'duplicates'
    | 'shard'
    | 'merge'
    | 'remove-keywords'
    | 'undo';
  /** Files and folders; with `video` and `undo` exactly one file. */
  readonly paths: readonly string[];
  readonly categories: { readonly file: string | undefined; readonly words: readonly string[] };
  readonly question: QuestionOptions;
  readonly videoOptions: VideoSearchOptions;
  readonly format: FormatName;
  /** A path; undefined: standard output. */
  readonly output: string | undefined;
  readonly sorting: Sorting | undefined;
  /** How answers are written into sidecars; undefined: they are not. */
  readonly keywords: { readonly naming: SidecarNaming } | undefined;
  /** Says what would be done, and changes no file. */
  readonly isDry: boolean;
  /** Whether answers are printed. */
  readonly isListed: boolean;
  /** Whether the person has confirmed what would otherwise be refused. */
  readonly isConfirmed: boolean;
  readonly search: SearchQuestion;
  /** Of `shard`: the whole, 0/1, unless it was given. */
  readonly shard: Shard;
  /** Of a part whose name does not say it. */
  readonly partFormat: PartFormat;
  readonly index: {
    readonly isUsed: boolean;
    /** undefined: the usual place */
    readonly file: string | undefined;
  };
  readonly server: URL | undefined;
  readonly isQuiet: boolean;
}

// All are repeatable, because `parseArgs` would silently drop a value that is given twice; `onlyOne` refuses it.
const text = { type: 'string', multiple: true } as const;
const flag = { type: 'boolean' } as const;

const ownOptions = {
  categories: text,
  category: text,
  best: flag,
  video: text,
  thorough: flag,
  moments: flag,
  json: flag,
  csv: flag,
  output: text,
  'copy-to': text,
  'move-to': text,
  'keep-folders': flag,
  'write-keywords': flag,
  'remove-keywords': flag,
  'sidecar-name': text,
  'dry-run': flag,
  'no-list': flag,
  yes: flag,
  index: text,
  'no-index': flag,
  'min-similarity': text,
  shard: text,
  parquet: flag,
  server: text,
  quiet: flag,
  help: { type: 'boolean', short: 'h' },
} as const;

/** Options of a request that are true if they are there. */
const questionFlags: ReadonlySet<string> = new Set<keyof QuestionOptions>(['others', 'several']);

/** The options of a request: [name on the wire, name on the command line]. */
const questionOptions = questionKeys.map((key) => [key, key.replaceAll('_', '-')] as const);

/**
 * @param argv without the runtime and the script
 * @returns 'help' for --help
 * @throws UsageError
 */
export function parseCommand(argv: readonly string[]): Command | 'help' {
  const { values, positionals } = readArguments(argv);
  if (values.help) return 'help';

  const single = (
    name:
      | 'categories'
      | 'video'
      | 'output'
      | 'copy-to'
      | 'move-to'
      | 'sidecar-name'
      | 'server'
      | 'index'
      | 'shard',
  ) => nonEmpty(name, onlyOne(name, values[name]));
  const question = readQuestion(values);
  const video = single('video');
  const file = single('categories');
  const words = values.category ?? [];
  const output = single('output');
  const [moveTo, copyTo] = [single('move-to'), single('copy-to')];
  const { json = false, csv = false, best = false, 'dry-run': isDry = false, quiet = false } = values;
  const { thorough = false, moments = false } = values;
  const { 'write-keywords': writesKeywords = false, 'remove-keywords': removesKeywords = false } = values;
  const { 'keep-folders': keepsFolders = false, 'no-list': isUnlisted = false, yes = false } = values;
  const naming = single('sidecar-name');
  const hasCategories = file !== undefined || words.length > 0;
  const isUndo = positionals[0] === 'undo' && !hasCategories;
  const isMerge = positionals[0] === 'merge' && !hasCategories;
  const isAsked = !isUndo && !isMerge && !removesKeywords;
  const shard = single('shard');
  const parquet = values.parquet ?? false;
  const sharding = isMerge ? undefined : shardingReason({ shard, parquet, output, positionals });
  const isVideo = video !== undefined;
  const isMove = moveTo !== undefined;
  const directory = moveTo ?? copyTo;
  const { task: library, subject, paths } = readLibraryTask(positionals);
  const ofFiles = sharding === undefined ? 'categorize' : 'shard';
  const asked = library ?? (isVideo ? 'video' : best ? 'best' : ofFiles);
  const task = isUndo ? 'undo' : isMerge ? 'merge' : removesKeywords ? 'remove-keywords' : asked;
  const index = single('index');
  const usesIndex = values['no-index'] !== true;
  const minSimilarity = readSimilarity(onlyOne('min-similarity', values['min-similarity']));
  const refused: readonly (readonly [isRefused: boolean, sentence: string])[] = [
    ...(library === undefined ? [] : refusedWith(library, values)),
    ...(sharding === undefined ? [] : refusedForShards(sharding, task, values)),
    ...(isMerge ? refusedForMerge(values, positionals) : []),
    [
      library !== undefined && library !== 'duplicates' && subject.trim() === '',
      `${library} needs ${library === 'search' ? 'the words to search for' : 'a photo'} and a folder; see --help.`,
    ],
    [library !== undefined && paths.length === 0, `${library} needs photos or a folder; see --help.`],
    [
      library === undefined && minSimilarity !== undefined,
      '--min-similarity needs search, similar or duplicates.',
    ],
    [index !== undefined && !usesIndex, '--index and --no-index cannot be combined.'],
    [
      isAsked && library === undefined && !hasCategories,
      'No categories given. Use --categories FILE or --category TEXT.',
    ],
    [json && csv, '--json and --csv cannot be combined.'],
    [
      isVideo && question.background !== undefined,
      '--background is for photos; videos are never transparent.',
    ],
    [isVideo && best, '--video cannot be combined with --best; it always finds the best frames.'],
    [isVideo && positionals.length > 0, '--video cannot be combined with photos; run it separately.'],
    [
      !isVideo && positionals.length === 0,
      'No photos given. Name files or folders, or a video with --video.',
    ],
    [thorough && !isVideo, '--thorough needs --video.'],
    [moments && !(isVideo && json), '--moments needs --video and --json.'],
    [isMove && copyTo !== undefined, '--move-to and --copy-to cannot be combined.'],
    [
      isDry && isAsked && directory === undefined && !writesKeywords,
      '--dry-run needs --move-to, --copy-to or --write-keywords.',
    ],
    [keepsFolders && directory === undefined, '--keep-folders needs --move-to or --copy-to.'],
    [keepsFolders && isVideo, '--keep-folders cannot be combined with --video.'],
    [writesKeywords && (best || isVideo), '--write-keywords cannot be combined with --best or --video.'],
    [naming !== undefined && !writesKeywords, '--sidecar-name needs --write-keywords.'],
    [naming !== undefined && !isNaming(naming), '--sidecar-name must be "full" or "stem".'],
    [
      isUnlisted && (directory === undefined || isVideo) && !writesKeywords,
      '--no-list needs --move-to, --copy-to or --write-keywords.',
    ],
    [
      isUnlisted && (isDry || output !== undefined),
      '--no-list cannot be combined with --dry-run or --output.',
    ],
    [
      removesKeywords && (hasCategories || isVideo || best || writesKeywords || directory !== undefined),
      '--remove-keywords takes photos and --dry-run only; run it separately.',
    ],
    [
      isUndo && (positionals.length !== 2 || directory !== undefined),
      'undo takes one file, the log of a move.',
    ],
    [!isAsked && !isMerge && output !== undefined, '--output needs categories.'],
    [
      question.several === true && isMove,
      '--several cannot be combined with --move-to, because a photo can be moved into one folder only; use --copy-to.',
    ],
    [
      question.several === true && (best || isVideo),
      '--several cannot be combined with --best or --video; use --others.',
    ],
    [isMove && best, '--best cannot be combined with --move-to; use --copy-to.'],
    [isMove && isVideo, '--video cannot be combined with --move-to; use --copy-to.'],
    [isDry && output !== undefined, '--dry-run cannot be combined with --output.'],
    [isDry && isVideo, '--dry-run cannot be combined with --video.'],
  ];
  for (const [isRefused, sentence] of refused) if (isRefused) throw new UsageError(sentence);
  return {
    task,
    paths: isVideo ? [video] : isUndo || isMerge ? positionals.slice(1) : paths,
    categories: { file, words },
    question,
    videoOptions: { thorough, moments },
    format: json ? 'json' : csv ? 'csv' : 'text',
    output,
    sorting:
      directory === undefined ? undefined : { directory, action: isMove ? 'move' : 'copy', keepsFolders },
    keywords: writesKeywords ? { naming: isNaming(naming) ? naming : 'full' } : undefined,
    isDry,
    isListed: !isUnlisted,
    isConfirmed: yes,
    search: {
      subject,
      limit: isGiven(values, 'top-k') ? question.top_k : LISTED,
      minSimilarity: minSimilarity ?? (library === 'duplicates' ? DUPLICATE_SIMILARITY : -1),
    },
    shard: shard === undefined ? { index: 0, count: 1 } : parseShard(shard),
    partFormat: parquet ? 'parquet' : 'jsonl',
    index: { isUsed: usesIndex && sharding === undefined, file: index },
    server: serverUrl(single('server')),
    isQuiet: quiet,
  };
}

/** How many photos `search` and `similar` list. */
const LISTED = 20;
/** Scaled and recompressed copies of a photo are above it; the photos of a series often are not. */
const DUPLICATE_SIMILARITY = 0.98;

const libraryTasks = ['search', 'similar', 'duplicates'] as const;

/** The first word may name a task about a folder: `search "a red car" photos`. */
function readLibraryTask(positionals: readonly string[]): {
  readonly task: (typeof libraryTasks)[number] | undefined;
  readonly subject: string;
  readonly paths: readonly string[];
} {
  const task = libraryTasks.find((name) => name === positionals[0]);
  if (task === undefined) return { task, subject: '', paths: positionals };
  if (task === 'duplicates') return { task, subject: '', paths: positionals.slice(1) };
  return { task, subject: positionals[1] ?? '', paths: positionals.slice(2) };
}

/** Options of questions with categories. */
const categoryOptions = [
  'categories',
  'category',
  'threshold',
  'others',
  'several',
  'best',
  'video',
  'thorough',
  'moments',
  'copy-to',
  'move-to',
  'dry-run',
  'keep-folders',
  'write-keywords',
  'remove-keywords',
  'sidecar-name',
  'no-list',
  'yes',
] as const;

function refusedWith(
  task: (typeof libraryTasks)[number],
  values: Readonly<Record<string, unknown>>,
): (readonly [boolean, string])[] {
  const others = task === 'search' ? [] : task === 'similar' ? ['template'] : ['template', 'top-k'];
  return [...categoryOptions, ...others].map((name) => [
    isGiven(values, name),
    `--${name} cannot be combined with ${task}. If a folder has that name, write ./${task}.`,
  ]);
}

/** Why a command is about photos in parts: what it cannot do follows from it. @returns undefined: it is not */
function shardingReason({
  shard,
  parquet,
  output = '',
  positionals,
}: {
  readonly shard: string | undefined;
  readonly parquet: boolean;
  readonly output: string | undefined;
  readonly positionals: readonly string[];
}): string | undefined {
  if (shard !== undefined) return '--shard';
  if (positionals.some(isStorageUrl)) return 'photos in object storage';
  if (positionals.some(isArchive)) return 'photos in tar files';
  if (isStorageUrl(output)) return 'an --output in object storage';
  return parquet || /\.parquet$/i.test(output) ? 'Parquet' : undefined;
}

type Refusals = (readonly [isRefused: boolean, sentence: string])[];

function refusedForShards(
  why: string,
  task: Command['task'],
  values: Readonly<Record<string, unknown>>,
): Refusals {
  const changing = [
    'copy-to',
    'move-to',
    'keep-folders',
    'write-keywords',
    'remove-keywords',
    'sidecar-name',
  ];
  const others = ['best', 'video', 'dry-run', 'no-list', 'yes', 'index', 'min-similarity'];
  const hasOutput = isGiven(values, 'output');
  return [
    ...[...changing, ...others].map((name): Refusals[number] => [
      isGiven(values, name),
      `--${name} cannot be combined with ${why}, which only answers which category each photo has.`,
    ]),
    [task !== 'shard', `${task} cannot be combined with ${why}; it needs photos in files of this computer.`],
    [hasOutput && isGiven(values, 'csv'), `With ${why}, --output is JSON lines or Parquet; leave out --csv.`],
    [
      !hasOutput && (isGiven(values, 'shard') || isGiven(values, 'parquet')),
      `--${isGiven(values, 'shard') ? 'shard' : 'parquet'} needs --output FOLDER, or an address in object storage such as s3://bucket/answers/.`,
    ],
  ];
}

function refusedForMerge(
  values: Readonly<Record<string, unknown>>,
  positionals: readonly string[],
): Refusals {
  const accepted = ['output', 'quiet', 'help'];
  return [
    ...Object.keys(values).map((name): Refusals[number] => [
      !accepted.includes(name),
      `--${name} cannot be combined with merge.`,
    ]),
    [positionals.length < 2, 'merge needs the folder of the parts; see --help.'],
    [!isGiven(values, 'output'), 'merge needs --output FILE, ending in .jsonl or .parquet.'],
  ];
}

function isGiven(values: Readonly<Record<string, unknown>>, name: string): boolean {
  return values[name] !== undefined;
}

/** @throws UsageError */
function readSimilarity(given: string | undefined): number | undefined {
  if (given === undefined) return undefined;
  const similarity = /^-?(?:\d+\.?\d*|\.\d+)$/.test(given) ? Number(given) : Number.NaN;
  if (Math.abs(similarity) <= 1) return similarity;
  throw new UsageError('--min-similarity must be a number from -1 to 1.');
}

/**
 * Reads the options of a request, by the rules of the contract.
 * @throws UsageError
 */
function readQuestion(values: Readonly<Record<string, unknown>>): QuestionOptions {
  const given = questionOptions.flatMap(([key, name]) => {
    if (questionFlags.has(key)) return values[name] === true ? [[key, 'true']] : [];
    const texts = v.parse(v.optional(v.array(v.string())), values[name]);
    if (texts === undefined) return [];
    return [[key, key === 'template' ? texts : onlyOne(name, texts)]];
  });
  const question = v.safeParse(pictureQuestionSchema, Object.fromEntries(given));
  if (question.success) return question.output;
  const names = new Map<unknown, string>(questionOptions);
  const faults = question.issues.map((issue) => `--${names.get(issue.path?.[0]?.key)} ${issue.message}`);
  throw new UsageError(`${faults.join('; ')}.`);
}

function readArguments(argv: readonly string[]) {
  const asked = Object.fromEntries(
    questionOptions.map(([key, name]) => [name, questionFlags.has(key) ? flag : text]),
  );
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
    throw new UsageError(fault.message.replace(/\. To specify a positional.*/s, '; see --help.'));
  }
}

function isNaming(name: string | undefined): name is SidecarNaming {
  return sidecarNamings.some((known) => known === name);
}

/** @throws UsageError if an option is given more than once */
export function onlyOne(name: string, given: readonly string[] | undefined): string | undefined {
  if (given !== undefined && given.length > 1) {
    throw new UsageError(`--${name} is given ${given.length} times; it is accepted once.`);
  }
  return given?.[0];
}

function nonEmpty(name: string, value: string | undefined): string | undefined {
  if (value?.trim() === '') throw new UsageError(`--${name} is empty.`);
  return value;
}

function serverUrl(given: string | undefined): URL | undefined {
  if (given === undefined) return undefined;
  const url = URL.parse(given);
  if (url === null || !/^https?:$/.test(url.protocol)) {
    throw new UsageError(
      `--server ${JSON.stringify(given)} is not an http or https URL, such as http://localhost:8080.`,
    );
  }
  return url;
}

/**
 * Reads the categories of a file, then those given one by one.
 * @throws UsageError
 */
export async function readCategories(
  { file, words }: Command['categories'],
  maxCategories: number,
): Promise<Categories> {
  const listed: Categories = file === undefined ? { labels: [] } : await readListed(file);
  const known = new Set(listed.labels);
  const more = words.filter((word) => !known.has(word.trim()));
  const { phrases } = listed;
  if (!phrases) return parsed(JSON.stringify([...listed.labels, ...more]), maxCategories);
  const further = more.length === 0 ? [] : parsed(JSON.stringify(more), Number.POSITIVE_INFINITY).labels;
  const all: Categories = {
    labels: [...listed.labels, ...further],
    phrases: [...phrases, ...further.map((word) => [word])],
  };
  return parsed(writeCategories(all), maxCategories);
}

async function readListed(file: string): Promise<Categories> {
  const document = await Bun.file(file)
    .bytes()
    .catch((fault: unknown) => {
      throw new UsageError(`The categories file ${file} cannot be read, because ${reasonOf(fault)}.`);
    });
  return parsed(document, Number.POSITIVE_INFINITY, `${file}: `);
}

function parsed(document: string | Uint8Array, maxCategories: number, where = ''): Categories {
  try {
    const bytes = typeof document === 'string' ? new TextEncoder().encode(document) : document;
    return parseCategories(bytes, maxCategories);
  } catch (fault) {
    if (fault instanceof ServiceError) throw new UsageError(`${where}${fault.message}`);
    throw fault;
  }
}
