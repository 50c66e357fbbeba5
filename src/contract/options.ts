import * as v from 'valibot';
import { ServiceError } from '../errors.ts';

/** Most texts in one request, categories × templates, where there are several templates. */
export const MAX_TEXTS = 10_000;

const MAX_TEMPLATES = 100;
const MAX_TEMPLATE_LENGTH = 1000;
const MAX_TOP_K = 1000;
/** More than a valid query can have: each option once, and 100 templates. */
const MAX_QUERY_OPTIONS = 1000;
/** How many faults one sentence names. */
const SHOWN_FAULTS = 5;

/** In lower case, because Python's `requests` writes `True`. */
const flag = v.pipe(
  v.string(),
  v.toLowerCase(),
  v.picklist(['true', 'false'], 'must be true or false'),
  v.transform((text) => text === 'true'),
  v.boolean(),
);

const template = v.pipe(
  v.string(),
  v.maxLength(MAX_TEMPLATE_LENGTH, `must have at most ${MAX_TEMPLATE_LENGTH} characters`),
  // Without lookaheads, which many languages of generated clients do not have.
  v.regex(
    /^(?:[^{]|\{+[^{}])*\{+\}(?:[^{]|\{+[^{}])*\{*$/,
    'must hold {} exactly once, where the category goes, e.g. a photo of a {}',
  ),
);

/** When the best candidate is good enough to be the answer: `decide` of the use cases reads them. */
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
    v.description('The least score that counts, e.g. `0.5`: below it the answer is null. Default: none.'),
  ),
};

/** What a question has beside its categories, at all three endpoints, on the command line and on the page. */
export const questionSchema = v.object({
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
    v.description('With details: how many candidates `scores` lists, best first.'),
  ),
  template: v.pipe(
    v.optional(
      v.pipe(
        v.array(template),
        v.maxLength(MAX_TEMPLATES, `must be given at most ${MAX_TEMPLATES} times`),
        v.readonly(),
      ),
    ),
    v.description(
      `A sentence around the category, e.g. \`a photo of a {}\`. Repeatable: several are averaged. With several, categories × templates may be at most ${MAX_TEXTS}. Default: the category as it is.`,
    ),
  ),
  ...rules,
});

/** The query options of /categorize and /image: what is accepted, and what the documentation says about it. */
export const optionsSchema = v.pipe(
  v.strictObject({
    details: v.pipe(
      v.optional(flag, 'false'),
      v.description(
        'true: scores, similarities and the model’s name beside each answer, and broken files under `errors`.',
      ),
    ),
    ...questionSchema.entries,
    on_error: v.pipe(
      v.optional(v.picklist(['fail', 'skip'], 'must be fail or skip')),
      v.description(
        'What one broken picture does. fail: the whole request is answered with 422, naming every broken file. skip: the others are answered; broken files stand under `errors` with details, and are null without (the header x-broken-files counts them). Default: fail without details, skip with.',
      ),
    ),
  }),
  v.transform((options) => ({
    ...options,
    on_error: options.on_error ?? (options.details ? 'skip' : 'fail'),
  })),
);

/** The query options of /video. */
export const videoOptionsSchema = v.strictObject({
  details: v.pipe(
    v.optional(flag, 'false'),
    v.description(
      'true: times, scores, similarities and what is known of the video and the model beside each answer.',
    ),
  ),
  ...questionSchema.entries,
  images: v.pipe(
    v.optional(flag, 'true'),
    v.description('false: leaves the pictures out; the frames’ names remain, and their times with details.'),
  ),
});

/** The options of a question, by their names on the wire. */
export const questionKeys = Object.keys(questionSchema.entries) as readonly (keyof QuestionOptions)[];

/** The rules of `decide`. The keys of these objects are the names on the wire. */
export type Rules = v.InferOutput<v.ObjectSchema<typeof rules, undefined>>;
export type QuestionOptions = v.InferOutput<typeof questionSchema>;
export type PictureOptions = v.InferOutput<typeof optionsSchema>;
export type VideoOptions = v.InferOutput<typeof videoOptionsSchema>;

const defaultOptions = readQuery(optionsSchema, new URLSearchParams());

/** @throws ServiceError option_invalid */
export function parseOptions(query: URLSearchParams): PictureOptions {
  // Most requests have no options, and those of a flood have none.
  return query.size === 0 ? defaultOptions : readQuery(optionsSchema, query);
}

/** @throws ServiceError option_invalid */
export function parseVideoOptions(query: URLSearchParams): VideoOptions {
  return readQuery(videoOptionsSchema, query);
}

export type QuerySchema = typeof optionsSchema | typeof videoOptionsSchema;

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
    if (!known.includes(key)) faults.push(`${quote(key)} is unknown (known: ${known.join(', ')})`);
    else if (key === 'template') given.set(key, values);
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
