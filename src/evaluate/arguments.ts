import { parseArgs } from 'node:util';
import * as v from 'valibot';
import { onlyOne } from '../cli/arguments.ts';
import { UsageError } from '../cli/usage-error.ts';
import { type Fit, fits, namedTemplates, pictureQuestionSchema } from '../contract/options.ts';
import { type Precision, precisions } from '../precision.ts';
import { DEFAULT_NONE } from './labelled-folder.ts';

export const help = `Measures how well the model sorts photos that you have sorted yourself, and
finds the options that work best for them.

  bun run evaluate FOLDER [options]

FOLDER has one subfolder for each category, with photos of it. The name of the
subfolder is the category; "_" and "-" in it are read as spaces. Folders inside
it belong to the same category. A subfolder "${DEFAULT_NONE}" is for photos of no category.
50 photos for each category are a good beginning. No file is changed.

What is compared (without these options, everything)
  --precision NAME    int8 or fp32
  --fit NAME          crop, whole or tiles
  --template NAME     none, photo ("a photo of a {}"), ensemble (seven sentences
                      of OpenAI's), or a sentence with {}
  Each is repeatable. The model looks at each photo once for each precision and
  fit; templates cost no time.

Question
  --categories FILE   the categories, as for "bun run classify". Subfolders are
                      matched by name; categories without one compete, too
  --none NAME         the subfolder of photos that belong to no category
  --background COLOR  show transparent photos on this colour
  --max-wrong NUMBER  how many of 100 answers may be wrong (5): the threshold
                      is chosen by it

Output
  (default)           tables, and the recommended options
  --json              everything that was measured, as JSON
  --output FILE       write the JSON to FILE, besides the tables

Other options
  --quiet             print only warnings and errors besides the result
  --help              print this text

Environment: as for "bun run classify". With CLIP_PRECISION=auto, int8 is
measured if it is accepted for the model; with fp32, only fp32 is.

Exit codes: 0 success; 1 some photos could not be used (standard error names
each with the reason); 2 nothing was measured; 130 interrupted.
`;

/** One way of putting a category into words. */
export interface TemplateSet {
  /** A name, or the sentence itself. */
  readonly name: string;
  /** Sentences with `{}`; several are averaged. */
  readonly sentences: readonly string[];
}

const knownTemplates: readonly TemplateSet[] = [
  { name: 'none', sentences: ['{}'] },
  ...Object.entries(namedTemplates).map(([name, sentences]) => ({ name, sentences })),
];

/** Whether the model looks at a photo several times. */
export const isCostly: Readonly<Record<Fit, boolean>> = { crop: false, whole: false, tiles: true };

/** The command line, checked as far as possible without reading any file. */
export interface EvaluateCommand {
  readonly folder: string;
  /** undefined: those that the settings and the model allow */
  readonly precisions: readonly Precision[] | undefined;
  /** In the order of preference. */
  readonly fits: readonly Fit[];
  /** In the order of preference. */
  readonly templates: readonly TemplateSet[];
  readonly categoriesFile: string | undefined;
  readonly none: string | undefined;
  /** `#rrggbb` */
  readonly background: string | undefined;
  /** 0 to 1. */
  readonly maxWrong: number;
  readonly isJson: boolean;
  /** A path; undefined: no file is written. */
  readonly output: string | undefined;
  readonly isQuiet: boolean;
}

// All are repeatable, because `parseArgs` would silently drop a value that is given twice.
const text = { type: 'string', multiple: true } as const;
const flag = { type: 'boolean' } as const;

/**
 * @param argv without the runtime and the script
 * @returns 'help' for --help
 * @throws UsageError
 */
export function parseEvaluateCommand(argv: readonly string[]): EvaluateCommand | 'help' {
  const { values, positionals } = readArguments(argv);
  if (values.help) return 'help';
  const single = (name: 'categories' | 'none' | 'background' | 'max-wrong' | 'output') => {
    const given = onlyOne(name, values[name]);
    if (given?.trim() === '') throw new UsageError(`--${name} is empty.`);
    return given;
  };
  const [folder, ...more] = positionals;
  if (folder === undefined) {
    throw new UsageError(
      'No folder given. Name a folder that has one subfolder with photos for each category.',
    );
  }
  if (more.length > 0) {
    throw new UsageError(`${positionals.length} folders are given; one is accepted, with subfolders.`);
  }
  const { json = false, quiet = false } = values;
  return {
    folder,
    precisions: values.precision && chosenFrom('precision', precisions, values.precision),
    fits: values.fit ? chosenFrom('fit', fits, values.fit) : fits,
    templates: readTemplates(values.template),
    categoriesFile: single('categories'),
    none: single('none'),
    background: readQuestion({ background: single('background') }).background,
    maxWrong: readPercent(single('max-wrong') ?? '5'),
    isJson: json,
    output: single('output'),
    isQuiet: quiet,
  };
}

function readArguments(argv: readonly string[]) {
  try {
    return parseArgs({
      args: [...argv],
      options: {
        precision: text,
        fit: text,
        template: text,
        categories: text,
        none: text,
        background: text,
        'max-wrong': text,
        json: flag,
        output: text,
        quiet: flag,
        help: { type: 'boolean', short: 'h' },
      },
      allowPositionals: true,
      strict: true,
    });
  } catch (fault) {
    if (!(fault instanceof TypeError)) throw fault;
    throw new UsageError(fault.message.replace(/\. To specify a positional.*/s, '; see --help.'));
  }
}

/** @returns the chosen names in the order of `known` @throws UsageError */
function chosenFrom<Name extends string>(
  option: string,
  known: readonly Name[],
  given: readonly string[],
): readonly Name[] {
  const unknown = given.find((name) => !known.some((one) => one === name));
  if (unknown !== undefined) {
    throw new UsageError(`--${option} ${JSON.stringify(unknown)} is unknown (known: ${known.join(', ')}).`);
  }
  return known.filter((name) => given.includes(name));
}

/** @returns named ones first @throws UsageError */
function readTemplates(given: readonly string[] | undefined): readonly TemplateSet[] {
  if (given === undefined) return knownTemplates;
  const sentences = given.filter((one) => !knownTemplates.some(({ name }) => name === one));
  readQuestion({ template: sentences });
  return [
    ...knownTemplates.filter(({ name }) => given.includes(name)),
    ...[...new Set(sentences)].map((sentence) => ({ name: sentence, sentences: [sentence] })),
  ];
}

/** Reads options of a request, by the rules of the contract. @throws UsageError */
function readQuestion(given: {
  readonly background?: string | undefined;
  readonly template?: readonly string[];
}) {
  const question = v.safeParse(pictureQuestionSchema, given);
  if (question.success) return question.output;
  const faults = question.issues.map((issue) => `--${issue.path?.[0]?.key} ${issue.message}`);
  throw new UsageError(`${faults.join('; ')}.`);
}

/** @returns 0 to 1 @throws UsageError */
function readPercent(given: string): number {
  const percent = /^(?:\d+\.?\d*|\.\d+)$/.test(given) ? Number(given) : Number.NaN;
  if (percent <= 100) return percent / 100;
  throw new UsageError('--max-wrong must be a number from 0 to 100, in percent.');
}
