import * as v from 'valibot';
import type {
  BrokenFile,
  Categories,
  Classifier,
  FileThumbnail,
  FileWarning,
  PictureCollection,
  Ranking,
  RankPicture,
  Synonyms,
} from '../classify/classifier.ts';
import { DECIDING_CANDIDATES, decide, decideSeveral } from '../classify/decide.ts';
import { statusOf } from '../contract/codes.ts';
import { optionsSchema, type PictureOptions, parseImageOptions, parseOptions } from '../contract/options.ts';
import { invariant, ServiceError } from '../errors.ts';
import {
  adviceOf,
  type JsonText,
  jsonItems,
  jsonObject,
  keptCounter,
  rankingLimit,
  SCORE_BYTES,
  type StreamedResponse,
  sendJson,
  wireModel,
  wireSynonyms,
} from './answers.ts';
import { urlOf } from './app.ts';
import { type IdOf, type Refusal, refusalOf, wireFault } from './broken-pictures.ts';
import { decodeBase64, openInput } from './data-url.ts';
import { answerFormatOf, type EventNotation, eventText, notations } from './events.ts';
import { MAX_DOCUMENT_BYTES, readBody, readForm, takeLabelMemory } from './form.ts';
import { isJson, JsonReader, jsonInvalid, MAX_FIELD_BYTES } from './json-reader.ts';
import type { RequestRecord } from './metrics.ts';
import { boundaryOf, readParts, refuseEncodedBody } from './multipart.ts';
import { type PictureNews, respondOneByOne } from './picture-events.ts';
import {
  admitPictures,
  createUpload,
  lookingAt,
  type PictureEndpoint,
  type PictureJob,
  type PictureUpload,
  type SettledPicture,
  wireThumbnails,
} from './picture-upload.ts';
import type { Lease } from './resources.ts';

/** For every subject, the best candidate is the answer. */
const sidesOf = {
  categorize: { subject: 'file', candidate: 'category' },
  image: { subject: 'category', candidate: 'file' },
} as const;

type Use = keyof typeof sidesOf;

/**
 * Answers one request to /categorize or /image. Pictures are encoded while the form arrives; the ranking follows.
 * @param record gets the request's counts and times, and the code of a refusal that is not thrown
 * @throws ServiceError; all work of this request is dropped then
 */
export async function classifyPictures(
  use: Use,
  request: Request,
  endpoint: PictureEndpoint,
  record: RequestRecord,
): Promise<StreamedResponse> {
  const query = urlOf(request).searchParams;
  const options = use === 'categorize' ? parseOptions(query) : parseImageOptions(query);
  const answer =
    use === 'categorize' && isJson(request.headers) ? labelScores(request) : inForm(use, request);
  return await admitPictures(request, endpoint, record, (job) => answer(job, options));
}

type Respond = (job: PictureJob, options: PictureOptions) => Promise<StreamedResponse>;

/** @throws ServiceError if the head of the request cannot be used */
function inForm(use: Use, request: Request): Respond {
  const boundary = boundaryOf(request.headers);
  // Only pictures can be answered one by one: each category needs all pictures.
  const format = use === 'categorize' ? answerFormatOf(request.headers) : 'json';
  return async (job, options) => {
    const question: Question = { use, boundary, options };
    if (format !== 'json') return oneByOne(job, question, notations[format]);
    const { endpoint, lease, record } = job;
    const answer = await answerOf(job, question);
    if (answer.refusal) record.fault = answer.refusal.code;
    return await sendJson(
      answer,
      {
        status: answer.refusal ? statusOf(answer.refusal.code) : 200,
        headers: answer.brokenFiles > 0 ? { 'x-broken-files': String(answer.brokenFiles) } : {},
      },
      lease,
      endpoint.beforeClose,
    );
  };
}

/** What is asked in a form. */
interface Question {
  readonly use: Use;
  readonly boundary: string;
  readonly options: PictureOptions;
}

interface Receiving {
  readonly upload: PictureUpload;
  readonly body: AsyncIterable<Uint8Array>;
  /** Called as soon as the categories are known. */
  readonly onCategories?: (categories: Categories) => void;
}

/** Only detailed answers have a place for thumbnails. */
const seeing = (options: PictureOptions, lease: Lease) =>
  lookingAt({ ...options, thumbnails: options.details && options.thumbnails }, lease);

/** Reads a form. @returns the categories; undefined if the upload ended early because of a broken picture */
async function receive(
  { endpoint, lease }: PictureJob,
  { boundary, options }: Question,
  { upload, body, onCategories }: Receiving,
): Promise<Categories | undefined> {
  const { classifier } = endpoint;
  const { embeddings, ids } = upload.fields;
  const categories = await readForm(readParts(body, boundary), lease, {
    field: 'files',
    receive: upload.receivePicture,
    parseCategories: classifier.parseCategories,
    async checkCategories(sent) {
      await classifier.checkLabels(sent, options, lease);
      onCategories?.(sent);
    },
    further: { embeddings, ids },
    needsNoFile: () => upload.collection.names().length > 0,
  });
  if (categories) upload.endIds();
  lease.give('pictureUploads', 1);
  return categories;
}

/** An answer to /categorize or /image. */
interface Answer extends JsonText {
  readonly brokenFiles: number;
  /** Set if this answer is an error. */
  readonly refusal?: ServiceError;
}

async function answerOf(job: PictureJob, question: Question): Promise<Answer> {
  const { endpoint, request, lease, record } = job;
  const { options } = question;
  await using upload = createUpload(job, {
    endsWithFault: options.on_error === 'fail',
    ...seeing(options, lease),
  });
  const { collection } = upload;
  try {
    const categories = await receive(job, question, { upload, body: readBody(request, lease, record) });
    if (categories) {
      takeLabelMemory(categories, options, endpoint.classifier.model.embeddingDimension, lease);
    }
    const broken = await collection.broken();
    const idOf = upload.idsByFile();
    const refusal = refusalOf(broken, options, idOf);
    if (refusal) return { ...refusal, brokenFiles: 0 };
    invariant(categories, 'an upload ended early without a fault.');
    return await rankedAnswer(job, question, { collection, categories, broken, idOf });
  } finally {
    record.files = collection.names().length;
  }
}

/** A complete form. */
interface Received {
  readonly collection: PictureCollection;
  readonly categories: Categories;
  readonly broken: readonly BrokenFile[];
  readonly idOf: IdOf;
}

async function rankedAnswer(
  { endpoint, lease }: PictureJob,
  { use, options }: Question,
  { collection, categories, broken, idOf }: Received,
): Promise<Answer> {
  const files = collection.names();
  const { labels } = categories;
  const [subjects, candidates] = use === 'categorize' ? [files, labels] : [labels, files];
  const limit = rankingLimit(options, subjects.length, candidates.length);
  const onKept = options.several ? keptCounter(lease) : undefined;
  if (!onKept) lease.take('keptBytes', subjects.length * Math.min(limit, candidates.length) * SCORE_BYTES);
  const asked = { ...options, limit, ...(onKept && { onKept }) };
  const rankings =
    use === 'categorize'
      ? await collection.rankCategories(categories, asked)
      : await collection.rankFiles(categories, asked);
  if (!options.details) {
    const pieces = () => jsonObject(plainEntries(subjects, rankings, options));
    return { pieces, advice: adviceOf(options, files, labels), brokenFiles: broken.length };
  }
  const { classifier } = endpoint;
  const answer: DetailedAnswer = {
    model: classifier.model,
    rankings,
    use,
    options,
    errors: broken,
    idOf,
    warnings: await collection.warnings(),
    thumbnails: await collection.thumbnails(),
    synonyms: await classifier.findSynonyms(categories, options, lease),
  };
  const pieces = () => detailed(answer);
  return { pieces, advice: adviceOf(options, files, labels), brokenFiles: broken.length };
}

/** A subject without a ranking is a broken file: its answer is null. */
function* plainEntries(
  subjects: readonly string[],
  rankings: readonly Ranking[],
  options: PictureOptions,
): Generator<readonly [string, string | readonly string[] | null]> {
  const rankedFor = new Map(rankings.map(({ name, candidates }) => [name, candidates]));
  for (const subject of subjects) {
    const ranked = rankedFor.get(subject);
    if (options.several) yield [subject, ranked ? namesOf(decideSeveral(ranked, options)) : null];
    else yield [subject, decide(ranked ?? [], options)?.name ?? null];
  }
}

function namesOf(candidates: Ranking['candidates']): readonly string[] {
  return candidates.map(({ name }) => name);
}

interface DetailedAnswer {
  readonly model: Classifier['model'];
  readonly rankings: readonly Ranking[];
  readonly use: Use;
  readonly options: PictureOptions;
  readonly errors: readonly BrokenFile[];
  readonly idOf: IdOf;
  readonly warnings: readonly FileWarning[];
  readonly thumbnails: readonly FileThumbnail[];
  readonly synonyms: readonly Synonyms[];
}

function* detailed(answer: DetailedAnswer): Generator<string> {
  const { model, rankings, use, options, errors, idOf, warnings, thumbnails, synonyms } = answer;
  yield `{"model":${JSON.stringify(wireModel(model))},"results":[`;
  let before = '';
  for (const ranking of rankings) {
    const { scores, ...head } = detailedResult(ranking, use, options, idOf);
    yield `${before}${JSON.stringify(head).slice(0, -1)},"scores":[`;
    yield* jsonItems(scores);
    yield ']}';
    before = ',';
  }
  yield '],"errors":[';
  yield* jsonItems(errors.map((fault) => wireFault(fault, idOf)));
  yield ']';
  if (warnings.length > 0) {
    yield ',"warnings":[';
    yield* jsonItems(warnings);
    yield ']';
  }
  if (thumbnails.length > 0) {
    yield ',"thumbnails":[';
    yield* jsonItems(wireThumbnails(thumbnails));
    yield ']';
  }
  // Without its opening brace.
  if (synonyms.length > 0) yield `,${JSON.stringify(wireSynonyms(synonyms)).slice(1, -1)}`;
  yield '}';
}

/** Score and similarity are those of the best candidate, even if it is not good enough to be the answer. */
function detailedResult({ name, candidates }: Ranking, use: Use, options: PictureOptions, idOf: IdOf) {
  const { subject, candidate } = sidesOf[use];
  const answer = decide(candidates, options)?.name ?? null;
  const [best] = candidates;
  const withId = (file: string | null) => {
    const id = file === null ? undefined : idOf(file);
    return id !== undefined && { id };
  };
  return {
    [subject]: name,
    ...(use === 'categorize' && withId(name)),
    [candidate]: answer,
    ...(options.several && { categories: namesOf(decideSeveral(candidates, options)) }),
    ...(use === 'image' && withId(answer)),
    score: best?.score ?? null,
    similarity: best?.similarity ?? null,
    ...(best?.background && { background: best.background }),
    scores: candidates.slice(0, options.top_k).map(({ name: other, score, similarity, background }) => ({
      [candidate]: other,
      ...(use === 'image' && withId(other)),
      score,
      similarity,
      // Of /categorize, all candidates of a file have the same.
      ...(use === 'image' && background && { background }),
    })),
  };
}

/** Answers with an event for each picture. */
function oneByOne(job: PictureJob, question: Question, notation: EventNotation): StreamedResponse {
  const { endpoint, lease, record } = job;
  const { options } = question;
  const { classifier } = endpoint;
  const limit = Math.max(options.details ? options.top_k : 1, DECIDING_CANDIDATES);
  let rank: RankPicture | undefined;
  let upload: PictureUpload | undefined;
  let broken = 0;
  let synonyms: readonly Synonyms[] = [];

  const receiveAll = async (news: PictureNews<SettledPicture>): Promise<Refusal | undefined> => {
    await using arriving = createUpload(job, {
      endsWithFault: options.on_error === 'fail',
      ...seeing(options, lease),
      onSettled: (settled) => news.add(settled, true),
      idsFirst: true,
      onReceived: news.received,
    });
    upload = arriving;
    let preparing: Promise<void> | undefined;
    const prepare = async (categories: Categories) => {
      takeLabelMemory(categories, options, classifier.model.embeddingDimension, lease);
      rank = await classifier.createRanker(
        categories,
        { ...options, limit },
        { signal: lease.signal, times: record.work },
      );
      news.describable();
      if (options.details) synonyms = await classifier.findSynonyms(categories, options, lease);
    };
    try {
      await receive(job, question, {
        upload: arriving,
        body: news.body,
        onCategories(categories) {
          // Labels are encoded while pictures arrive. A fault ends the request when the form is complete.
          preparing = prepare(categories);
          preparing.catch(() => undefined);
        },
      });
      news.uploaded();
      await preparing;
      const faults = await arriving.collection.broken();
      broken = faults.length;
      return refusalOf(faults, options, arriving.idsByFile());
    } finally {
      record.files = arriving.collection.names().length;
    }
  };

  return respondOneByOne<SettledPicture>(job, notation, {
    receive: receiveAll,
    canDescribe: () => rank !== undefined,
    describe({ index, outcome }) {
      const id = upload?.idOf(index);
      const idOf = () => id;
      if ('error' in outcome) return eventText(notation, 'broken', { index, ...wireFault(outcome, idOf) });
      const candidates = rank?.(outcome.embedding) ?? [];
      const { file, warning, thumbnail } = outcome;
      const { score, similarity, background, scores } = detailedResult(
        { name: file, candidates },
        'categorize',
        options,
        idOf,
      );
      return eventText(notation, 'answer', {
        index,
        file,
        ...(id !== undefined && { id }),
        category: decide(candidates, options)?.name ?? null,
        ...(options.several && { categories: namesOf(decideSeveral(candidates, options)) }),
        ...(options.details && { score, similarity, ...(background && { background }), scores }),
        ...(options.details && warning !== undefined && { warning }),
        ...(thumbnail && { thumbnail: thumbnail.toBase64() }),
      });
    },
    end: () => ({
      model: wireModel(classifier.model),
      files: record.files,
      broken,
      ...wireSynonyms(synonyms),
    }),
  });
}

/**
 * Answers a body in the form of Hugging Face's zero-shot image classification: `inputs` is a picture in base64 or a data
 * URL, `{"image": …}` with one, or a list of them; `parameters` has `candidate_labels` and `hypothesis_template`.
 * @throws ServiceError if the head of the request cannot be used
 */
function labelScores(request: Request): Respond {
  refuseEncodedBody(request.headers);
  if (urlOf(request).searchParams.size > 0) {
    throw new ServiceError(
      'option_invalid',
      'A JSON body has its options in "parameters"; the query must be empty. To use query options, send a form.',
    );
  }
  return async (job, options) => {
    const { endpoint, lease, record } = job;
    const answer = await labelScoresOf(job, options);
    if (answer.refusal) record.fault = answer.refusal.code;
    const status = answer.refusal ? statusOf(answer.refusal.code) : 200;
    return await sendJson(answer, { status, headers: {} }, lease, endpoint.beforeClose);
  };
}

/** A body in the form of Hugging Face. */
interface ZeroShot {
  isList: boolean;
  labels: readonly string[];
  template: readonly string[] | undefined;
  /** Whether a picture is too large, so that the rest was not read. */
  isCut: boolean;
}

async function labelScoresOf(job: PictureJob, options: PictureOptions): Promise<JsonText & Partial<Refusal>> {
  const { endpoint, request, lease, record } = job;
  const { classifier } = endpoint;
  await using upload = createUpload(job, { endsWithFault: true });
  const { collection } = upload;
  try {
    const { isCut, isList, labels, template } = await readZeroShot(readBody(request, lease, record), upload);
    lease.give('pictureUploads', 1);
    const refused = async () => refusalOf(await collection.broken(), { on_error: 'fail' });
    if (isCut) {
      const refusal = await refused();
      invariant(refusal, 'an upload ended early without a fault.');
      return refusal;
    }
    const categories = classifier.parseCategories(Buffer.from(JSON.stringify(labels)));
    const asked = { ...options, ...(template && { template }) };
    await classifier.checkLabels(categories, asked, lease);
    takeLabelMemory(categories, asked, classifier.model.embeddingDimension, lease);
    const count = categories.labels.length;
    // All labels are listed.
    const files = collection.names();
    rankingLimit({ details: true, top_k: count }, files.length, count);
    lease.take('keptBytes', files.length * count * SCORE_BYTES);
    const refusal = await refused();
    if (refusal) return refusal;
    const rankings = await collection.rankCategories(categories, asked);
    const pieces = function* () {
      if (isList) yield '[';
      for (const [index, { candidates }] of rankings.entries()) {
        yield index === 0 ? '[' : ',[';
        yield* jsonItems(candidates.map(({ name, score }) => ({ label: name, score })));
        yield ']';
      }
      if (isList) yield ']';
    };
    return { pieces, advice: adviceOf({ details: false, top_k: 1 }, files, categories.labels) };
  } finally {
    record.files = collection.names().length;
  }
}

async function readZeroShot(body: AsyncGenerator<Uint8Array>, upload: PictureUpload): Promise<ZeroShot> {
  const reader = new JsonReader(body, (why) => jsonInvalid(`is malformed: ${why}`));
  const found: ZeroShot = { isList: false, labels: [], template: undefined, isCut: false };
  /** @returns whether the rest of the body is needed */
  const readPicture = async (place: string): Promise<boolean> => {
    const kind = await reader.peek();
    if (kind === 'object') {
      for await (const key of reader.members()) {
        if (key !== 'image') await reader.value(MAX_FIELD_BYTES);
        else if (!(await readPicture(`${place}.image`))) return false;
      }
      return true;
    }
    if (kind !== 'string') throw jsonInvalid(`has something else as ${place} than a picture in base64`);
    const input = await openInput(reader.text(), place);
    const content = input.kind === 'picture' ? input.content : decodeBase64(input.pieces, place);
    return await upload.receivePicture(place, content);
  };
  const readInputs = async (): Promise<boolean> => {
    if ((await reader.peek()) !== 'list') return await readPicture('inputs');
    found.isList = true;
    for await (const index of reader.entries()) if (!(await readPicture(`inputs[${index}]`))) return false;
    return true;
  };

  for await (const key of reader.members()) {
    if (key === 'parameters') await readParameters(reader, found);
    else if (key === 'inputs') {
      if (await readInputs()) continue;
      return { ...found, isCut: true };
    } else await reader.value(MAX_FIELD_BYTES);
  }
  await reader.end();
  if (upload.collection.names().length === 0) {
    throw jsonInvalid(
      'has no picture; send {"inputs":"<base64>","parameters":{"candidate_labels":["cat","dog"]}}',
    );
  }
  if (found.labels.length === 0) {
    throw jsonInvalid('has no labels; send {"candidate_labels":["cat","dog"]} in "parameters"');
  }
  return found;
}

async function readParameters(reader: JsonReader, found: ZeroShot): Promise<void> {
  if ((await reader.peek()) !== 'object')
    throw jsonInvalid('has something else than an object as "parameters"');
  for await (const key of reader.members()) {
    if (key === 'candidate_labels' && (await reader.peek()) === 'list') {
      found.labels = await readStrings(reader, 'parameters.candidate_labels');
    } else if (key === 'hypothesis_template') {
      const parsed = v.safeParse(optionsSchema.entries.template, [await reader.value(MAX_FIELD_BYTES)]);
      const template = parsed.success ? parsed.output : undefined;
      if (template === undefined) {
        const [issue] = parsed.issues ?? [];
        throw jsonInvalid(`has a hypothesis_template that ${issue?.message ?? 'is missing'}`);
      }
      found.template = template;
    } else {
      const value = await reader.value(MAX_FIELD_BYTES);
      if (key === 'candidate_labels') {
        throw jsonInvalid(
          `has ${JSON.stringify(value)?.slice(0, 100)} as candidate_labels, not a list of strings`,
        );
      }
    }
  }
}

/** In characters: at most 100,000 strings are read. */
const STRING_COST = 40;

async function readStrings(reader: JsonReader, place: string): Promise<readonly string[]> {
  const strings: string[] = [];
  let length = 0;
  for await (const index of reader.entries()) {
    const value = await reader.value(MAX_FIELD_BYTES);
    if (typeof value !== 'string')
      throw jsonInvalid(`has something else than a string as ${place}[${index}]`);
    // An empty string takes memory and time, too.
    length += value.length + STRING_COST;
    if (length > MAX_DOCUMENT_BYTES)
      throw jsonInvalid(`has more than ${MAX_DOCUMENT_BYTES} characters as ${place}`);
    strings.push(value);
  }
  return strings;
}
