import * as v from 'valibot';
import { ServiceError } from '../errors.ts';
import { pictureFormats } from './formats.ts';

/** The maximum of categories × templates in one request with several templates. */
export const MAX_TEXTS = 10_000;

const MAX_TEMPLATES = 100;
const MAX_TEMPLATE_LENGTH = 1000;
const MAX_TOP_K = 1000;
/** More than a valid query has: each option once, and 100 templates. */
const MAX_QUERY_OPTIONS = 1000;
/** The number of faults that one sentence names. */
const SHOWN_FAULTS = 5;

/** How an embedding is written in JSON, as in the API of OpenAI. */
export const encodingFormats = ['float', 'base64'] as const;
export type EncodingFormat = (typeof encodingFormats)[number];

/** How a picture is fitted into the model's square. */
export const fits = ['crop', 'whole', 'tiles'] as const;
export type Fit = (typeof fits)[number];
/** A picture has at most this number of squares, whatever its shape. */
export const MAX_PICTURE_TILES = 8;

/** In lower case, because Python's `requests` writes `True`. */
const flag = v.pipe(
  v.string(),
  v.toLowerCase(),
  v.picklist(['true', 'false'], 'must be true or false'),
  v.transform((text) => text === 'true'),
  v.boolean(),
);

/** Templates that have a name. The seven of OpenAI's CLIP notebook “Prompt Engineering for ImageNet” work best on average. */
export const namedTemplates = {
  photo: ['a photo of a {}'],
  ensemble: [
    'itap of a {}.',
    'a bad photo of the {}.',
    'a origami {}.',
    'a photo of the large {}.',
    'a {} in a video game.',
    'art of the {}.',
    'a photo of the small {}.',
  ],
} as const satisfies Readonly<Record<string, readonly string[]>>;

function isNamedTemplate(template: string): template is keyof typeof namedTemplates {
  return Object.hasOwn(namedTemplates, template);
}

/** A sentence or a name. */
const template = v.pipe(
  v.string(),
  v.maxLength(MAX_TEMPLATE_LENGTH, `must have at most ${MAX_TEMPLATE_LENGTH} characters`),
  // Without lookaheads, which many languages of generated clients do not have.
  v.regex(
    /^(?:photo|ensemble|(?:[^{]|\{+[^{}])*\{+\}(?:[^{]|\{+[^{}])*\{*)$/,
    'must hold {} exactly once, where the category goes, e.g. a photo of a {}; or be photo or ensemble',
  ),
);

const fewTemplates = v.maxLength<string[], number, string>(
  MAX_TEMPLATES,
  `must be given at most ${MAX_TEMPLATES} times`,
);

/** Names become their sentences. */
const templates = v.pipe(
  v.array(template),
  fewTemplates,
  v.transform((given) =>
    given.flatMap((one): readonly string[] => (isNamedTemplate(one) ? namedTemplates[one] : [one])),
  ),
  v.array(template),
  fewTemplates,
  v.readonly(),
);

/** CSS's sixteen basic colours. */
const namedColours: ReadonlyMap<string, string> = new Map([
  ['black', '#000000'],
  ['silver', '#c0c0c0'],
  ['gray', '#808080'],
  ['grey', '#808080'],
  ['white', '#ffffff'],
  ['maroon', '#800000'],
  ['red', '#ff0000'],
  ['purple', '#800080'],
  ['fuchsia', '#ff00ff'],
  ['green', '#008000'],
  ['lime', '#00ff00'],
  ['olive', '#808000'],
  ['yellow', '#ffff00'],
  ['navy', '#000080'],
  ['blue', '#0000ff'],
  ['teal', '#008080'],
  ['aqua', '#00ffff'],
]);

/** @returns `#rrggbb`; undefined if it is not a colour */
function hexColour(text: string): string | undefined {
  const colour = text.toLowerCase();
  if (/^#[0-9a-f]{6}$/.test(colour)) return colour;
  if (/^#[0-9a-f]{3}$/.test(colour)) return colour.replaceAll(/[0-9a-f]/g, '$&$&');
  return namedColours.get(colour);
}

const fit = v.pipe(
  v.optional(v.picklist(fits, `must be ${fits.slice(0, -1).join(', ')} or ${fits.at(-1)}`), 'crop'),
  v.description(
    'How a picture that is not square is fitted into the model’s square. crop: its middle is looked at, as CLIP does; a third of a 3:2 photo is not. whole: all of it, squeezed. tiles: all of it, in up to eight squares along its longer side; the best one counts. It takes as much more time as there are squares, two for most photos.',
  ),
);

/** The options that say how pictures are read. */
const reading = {
  background: v.pipe(
    v.optional(
      v.pipe(
        v.string(),
        v.check(
          (text) => hexColour(text) !== undefined,
          'must be a colour: white, black or another of CSS’s basic colours, or #rrggbb',
        ),
        v.transform((text) => hexColour(text)!),
        v.string(),
      ),
    ),
    v.description(
      'The colour behind transparent pictures, e.g. `white` or `%23ffcc00` (`#ffcc00`, encoded). Default: none; opacity is dropped as CLIP does, and hidden colours show, often black.',
    ),
  ),
  fit,
};

/** The rules by which the best candidate becomes the answer. `decide` of the use cases applies them. */
const rules = {
  threshold: v.pipe(
    v.optional(
      v.pipe(
        v.string(),
        v.regex(/^(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d{1,3})?$/i, 'must be a number from 0 to 1'),
        v.transform(Number),
        v.number(),
        v.minValue(0, 'must be a number from 0 to 1'),
        v.maxValue(1, 'must be a number from 0 to 1'),
      ),
    ),
    v.description(
      'The lowest score of an answer, e.g. `0.5`; below it the answer is null. Default: none; with `others`, 0.5.',
    ),
  ),
};

/** Whether categories compete with the background. */
const backgroundRule = {
  others: v.pipe(
    v.optional(flag),
    v.description(
      'true: each category competes, alone, with neutral phrases such as “object”. Its score does not depend on the other categories; above 0.5 it fits better than all of these phrases. The answer is null if no category reaches the threshold, which is then 0.5 by default. Default: false.',
    ),
  ),
};

/** Only for questions about pictures: for /categorize, the command line and the page. */
const severalRule = {
  several: v.pipe(
    v.optional(flag),
    v.description(
      'true: the answer is the list of all categories that reach the threshold, best first; none: an empty list. Implies `others`. Default: false.',
    ),
  ),
};

/** The options of a question, for all three endpoints. */
const questionSchema = v.object({
  top_k: v.pipe(
    v.optional(
      v.pipe(
        v.string(),
        v.regex(/^\d{1,6}$/, 'must be a whole number'),
        v.transform(Number),
        v.number(),
        v.integer(),
        v.minValue(1, 'must be at least 1'),
        v.maxValue(MAX_TOP_K, `must be at most ${MAX_TOP_K}`),
      ),
      '5',
    ),
    v.description('With details: the number of candidates in `scores`, best first.'),
  ),
  template: v.pipe(
    v.optional(templates),
    v.description(
      `A sentence with {} in the place of the category, e.g. \`a photo of a {}\`. Several templates are averaged; categories × templates may then be at most ${MAX_TEXTS}. Names: \`photo\` is “a photo of a {}”, \`ensemble\` are the seven sentences that OpenAI recommends for CLIP. Default: the category alone.`,
    ),
  ),
  ...rules,
  ...backgroundRule,
});

/** The options of a question about pictures, for /categorize, the command line and the page. */
export const pictureQuestionSchema = v.object({
  ...questionSchema.entries,
  ...severalRule,
  ...reading,
});

const withThumbnails = Object.values(pictureFormats)
  .filter(({ shownByBrowsers }) => !shownByBrowsers)
  .map(({ title }) => title)
  .join(', ');

/** The options of /image; /categorize has one more. */
const imageEntries = {
  details: v.pipe(
    v.optional(flag, 'false'),
    v.description('true: adds scores, similarities and the model, and lists broken files under `errors`.'),
  ),
  ...questionSchema.entries,
  ...reading,
  thumbnails: v.pipe(
    v.optional(flag, 'false'),
    v.description(
      `With details, true: adds a small JPEG in base64 of each picture that browsers do not show (${withThumbnails}): the square that the model looks at.`,
    ),
  ),
  on_error: v.pipe(
    v.optional(v.picklist(['fail', 'skip'], 'must be fail or skip')),
    v.description(
      'How the service treats a broken picture. fail: it answers the whole request with 422 and names every broken file. skip: it answers the others; with details it lists broken files under `errors`, otherwise their answer is null. The header x-broken-files counts them. Default: skip with details, otherwise fail.',
    ),
  ),
};

function withErrorTreatment<
  Options extends { readonly details: boolean; readonly on_error?: 'fail' | 'skip' | undefined },
>(options: Options) {
  return { ...options, on_error: options.on_error ?? (options.details ? 'skip' : 'fail') };
}

/** The query options of /categorize: what is accepted, and how the API document describes it. */
export const optionsSchema = v.pipe(
  v.strictObject({ ...imageEntries, ...severalRule }),
  v.transform(withErrorTreatment),
);

/** The query options of /image. */
export const imageOptionsSchema = v.pipe(v.strictObject(imageEntries), v.transform(withErrorTreatment));

/** The query options of /embeddings. */
export const embeddingsOptionsSchema = v.strictObject({
  ...reading,
  template: v.pipe(
    questionSchema.entries.template,
    v.description(
      'A sentence with {} in the place of the text, e.g. `a photo of a {}`, or a name: `photo` or `ensemble`. Several templates are averaged. Default: the text alone.',
    ),
  ),
  encoding_format: v.pipe(
    v.optional(v.picklist(encodingFormats, 'must be float or base64'), 'float'),
    v.description(
      'How an embedding is written. float: a list of numbers. base64: the base64 of its float32 numbers, in little-endian order, which has half the length.',
    ),
  ),
  thumbnails: v.pipe(
    v.optional(flag, 'false'),
    v.description(
      `true: adds a small JPEG in base64 of each picture that browsers do not show (${withThumbnails}): the square that the model looks at.`,
    ),
  ),
  on_error: v.pipe(
    v.optional(v.picklist(['fail', 'skip'], 'must be fail or skip'), 'fail'),
    v.description(
      'How the service treats a broken picture. fail: it answers the whole request with 422 and names every broken file. skip: it answers the others, and lists broken files under `errors`. The header x-broken-files counts them.',
    ),
  ),
});

/** The query options of /video. */
export const videoOptionsSchema = v.strictObject({
  details: v.pipe(
    v.optional(flag, 'false'),
    v.description('true: adds times, scores, similarities, and a description of the video and the model.'),
  ),
  ...questionSchema.entries,
  images: v.pipe(
    v.optional(flag, 'true'),
    v.description(
      'false: leaves out the pictures. The names of the frames remain, and with details their times.',
    ),
  ),
  thorough: v.pipe(
    v.optional(flag, 'false'),
    v.description(
      'true: decodes all of a long video, which may take minutes, and the model looks at up to four times more frames. Otherwise parts of it are decoded: one minute, or a tenth of it.',
    ),
  ),
  fit: v.pipe(
    fit,
    v.description(
      'How a frame is fitted into the model’s square. crop: its middle is looked at, as CLIP does; 44 % of a 16:9 frame is not. whole: all of it, squeezed. tiles: all of it, in up to eight squares along its longer side; the best one counts, and the model looks at fewer frames: half of them for 16:9.',
    ),
  ),
  moments: v.pipe(
    v.optional(flag, 'false'),
    v.description(
      'With details, true: adds to each category the parts of the video in which it holds, at most `top_k`.',
    ),
  ),
});

/** The options of a question, by their names on the wire. */
export const questionKeys = Object.keys(pictureQuestionSchema.entries) as readonly (keyof QuestionOptions)[];

/** The rules of `decide`. The keys of these objects are the names on the wire. */
export type Rules = v.InferOutput<
  v.ObjectSchema<typeof rules & typeof backgroundRule & typeof severalRule, undefined>
>;
export type QuestionOptions = v.InferOutput<typeof pictureQuestionSchema>;
export type PictureOptions = v.InferOutput<typeof optionsSchema>;
export type EmbeddingsOptions = v.InferOutput<typeof embeddingsOptionsSchema>;
export type VideoOptions = v.InferOutput<typeof videoOptionsSchema>;

const defaultOptions = readQuery(optionsSchema, new URLSearchParams());

/** @throws ServiceError option_invalid */
export function parseOptions(query: URLSearchParams): PictureOptions {
  // Most requests have no options; these must cost little in a flood.
  return query.size === 0 ? defaultOptions : readQuery(optionsSchema, query);
}

/** @throws ServiceError option_invalid */
export function parseImageOptions(query: URLSearchParams): PictureOptions {
  return query.size === 0 ? defaultOptions : readQuery(imageOptionsSchema, query);
}

/** @throws ServiceError option_invalid */
export function parseEmbeddingsOptions(query: URLSearchParams): EmbeddingsOptions {
  return readQuery(embeddingsOptionsSchema, query);
}

/** @throws ServiceError option_invalid */
export function parseVideoOptions(query: URLSearchParams): VideoOptions {
  return readQuery(videoOptionsSchema, query);
}

export type QuerySchema =
  | typeof optionsSchema
  | typeof imageOptionsSchema
  | typeof embeddingsOptionsSchema
  | typeof videoOptionsSchema;

/** @throws ServiceError option_invalid, with a sentence that names the first faults */
function readQuery<Schema extends QuerySchema>(
  schema: Schema,
  query: URLSearchParams,
): v.InferOutput<Schema> {
  if (query.size > MAX_QUERY_OPTIONS) {
    throw new ServiceError(
      'option_invalid',
      `The query has ${query.size} options; at most ${MAX_QUERY_OPTIONS} are accepted.`,
    );
  }
  const known = Object.keys(schema.entries);
  const faults: string[] = [];
  const given = new Map<string, string | string[]>();
  const sent = Map.groupBy(query, ([key]) => key);
  for (const [key, pairs] of sent) {
    const values = pairs.map(([, value]) => value);
    const [first = ''] = values;
    if (!known.includes(key)) {
      const isElsewhere = Object.hasOwn(severalRule, key);
      faults.push(
        isElsewhere
          ? `${key} is accepted at /categorize only`
          : `${quote(key)} is unknown (known: ${known.join(', ')})`,
      );
    } else if (key === 'template') given.set(key, values);
    else if (values.length > 1) faults.push(`${key} is given ${values.length} times, once is accepted`);
    else given.set(key, first);
  }
  const parsed = v.safeParse(schema, Object.fromEntries(given));
  for (const issue of parsed.issues ?? []) {
    const key = String(issue.path?.[0]?.key);
    const value = given.get(key);
    faults.push(`${key}${typeof value === 'string' ? `=${quote(value)}` : ''} ${issue.message}`);
  }
  if (!parsed.success || faults.length > 0) {
    const more = faults.length - SHOWN_FAULTS;
    const named = faults.slice(0, SHOWN_FAULTS).join('; ');
    throw new ServiceError(
      'option_invalid',
      `Query options cannot be used: ${named}${more > 0 ? `; and ${more} more` : ''}.`,
    );
  }
  return parsed.output;
}

function quote(text: string): string {
  return JSON.stringify(text.length > 100 ? `${text.slice(0, 100)}…` : text);
}
