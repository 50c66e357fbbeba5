import { isUtf8 } from 'node:buffer';
import type { Classifier, PictureOutcome } from '../classify/classifier.ts';
import { tilesOf as rowsOf } from '../classify/decide.ts';
import { statusOf } from '../contract/codes.ts';
import {
  type EmbeddingsOptions,
  type EncodingFormat,
  encodingFormats,
  MAX_TEXTS,
  parseEmbeddingsOptions,
} from '../contract/options.ts';
import { ServiceError } from '../errors.ts';
import { jsonItems, type StreamedResponse, sendJson, streamJson, wireModel } from './answers.ts';
import { urlOf } from './app.ts';
import { type Refusal, refusalOf, wireFault } from './broken-pictures.ts';
import { openInput } from './data-url.ts';
import { answerFormatOf, type EventNotation, eventText, notations } from './events.ts';
import { type ReceivePart, readBody, readDocument, readFields, takeLabelMemory } from './form.ts';
import { isJson, JsonReader, jsonInvalid, MAX_FIELD_BYTES } from './json-reader.ts';
import type { RequestRecord } from './metrics.ts';
import { boundaryOf, type Part, readParts, refuseEncodedBody } from './multipart.ts';
import { type PictureNews, respondOneByOne } from './picture-events.ts';
import {
  admitPictures,
  createUpload,
  lookingAt,
  type PictureEndpoint,
  type PictureJob,
  type PictureUpload,
  wireThumbnails,
} from './picture-upload.ts';

/**
 * Answers one request to /embeddings: a form, or a JSON body in the form of OpenAI's API. Pictures are encoded while the
 * request arrives.
 * @throws ServiceError; all work of this request is dropped then
 */
export async function embed(
  request: Request,
  endpoint: PictureEndpoint,
  record: RequestRecord,
): Promise<StreamedResponse> {
  const options = parseEmbeddingsOptions(urlOf(request).searchParams);
  const answer = isJson(request.headers) ? inJson(request, options) : inForm(request, options);
  return await admitPictures(request, endpoint, record, answer);
}

type Respond = (job: PictureJob) => Promise<StreamedResponse>;

/** The objects around a text. */
const TEXT_BYTES = 200;

/** The texts of one request. */
interface Texts {
  readonly list: readonly string[];
  /** @throws ServiceError categories_too_many, label_too_long */
  take(more: readonly string[]): Promise<void>;
  /** Embeds them in portions, so that the first ones need not wait for the last. */
  embed(): AsyncGenerator<{ readonly text: string; readonly embedding: Float32Array }>;
}

function createTexts({ endpoint, lease, record }: PictureJob, options: EmbeddingsOptions): Texts {
  const { classifier } = endpoint;
  const { embeddingDimension } = classifier.model;
  const atMost = Math.floor(MAX_TEXTS / Math.max(1, options.template?.length ?? 1));
  const list: string[] = [];
  return {
    list,
    async take(more) {
      if (list.length + more.length > atMost) {
        throw new ServiceError(
          'categories_too_many',
          `More than ${atMost} texts were sent; at most ${MAX_TEXTS} are accepted in one request, in each template.`,
          { limit: atMost },
        );
      }
      const characters = more.reduce((sum, text) => sum + text.length, 0);
      lease.take('keptBytes', 2 * characters + more.length * (TEXT_BYTES + embeddingDimension * 4));
      await classifier.checkLabels({ labels: more }, options, lease);
      for (const text of more) list.push(text);
    },
    async *embed() {
      takeLabelMemory({ labels: list }, options, embeddingDimension, lease);
      const work = { signal: lease.signal, times: record.work };
      for (let at = 0; at < list.length; at += TEXTS_AT_ONCE) {
        const portion = list.slice(at, at + TEXTS_AT_ONCE);
        const embeddings = await classifier.embedTexts(portion, options, work);
        for (const [index, text] of portion.entries()) yield { text, embedding: embeddings[index]! };
      }
    },
  };
}

const TEXTS_AT_ONCE = 256;

/** @throws ServiceError if the head of the request cannot be used */
function inForm(request: Request, options: EmbeddingsOptions): Respond {
  const boundary = boundaryOf(request.headers);
  const format = answerFormatOf(request.headers);
  if (format !== 'json') return async (job) => oneByOne(job, boundary, options, notations[format]);
  return async (job) => {
    const { endpoint, lease, record } = job;
    await using upload = createUpload(job, {
      endsWithFault: options.on_error === 'fail',
      ...lookingAt(options, lease),
    });
    const { collection } = upload;
    const texts = createTexts(job, options);
    try {
      await receive(job, readParts(readBody(request, lease, record), boundary), upload, texts);
      const broken = await collection.broken();
      const idOf = upload.idsByFile();
      const refusal = refusalOf(broken, options, idOf);
      if (refusal) return await refuse(job, refusal);
      const pictures = await collection.embeddings();
      const warnings = await collection.warnings();
      const thumbnails = await collection.thumbnails();
      const embedded = await Array.fromAsync(texts.embed());
      const { encoding_format: encoding } = options;
      const pieces = function* () {
        yield `${JSON.stringify(originOf(endpoint.classifier, options)).slice(0, -1)},"embeddings":[`;
        let before = '';
        for (const { file, embedding } of pictures) {
          const id = idOf(file);
          const head = { file, ...(id !== undefined && { id }) };
          for (const tile of tilesOf(embedding, options, endpoint.classifier)) {
            yield `${before}${JSON.stringify({ ...head, ...tile.place, embedding: encode(tile.embedding, encoding) })}`;
            before = ',';
          }
        }
        for (const { text, embedding } of embedded) {
          yield `${before}${JSON.stringify({ text, embedding: encode(embedding, encoding) })}`;
          before = ',';
        }
        yield '],"errors":[';
        yield* jsonItems(broken.map((fault) => wireFault(fault, idOf)));
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
        yield '}';
      };
      const headers: Record<string, string> =
        broken.length > 0 ? { 'x-broken-files': String(broken.length) } : {};
      return await streamJson(pieces(), headers, lease, endpoint.beforeClose);
    } finally {
      record.files = collection.names().length;
    }
  };
}

/** Answers with an error that names the broken pictures. */
async function refuse({ endpoint, lease, record }: PictureJob, refusal: Refusal): Promise<StreamedResponse> {
  const { code } = refusal.refusal;
  record.fault = code;
  return await sendJson(refusal, { status: statusOf(code), headers: {} }, lease, endpoint.beforeClose);
}

/** Reads a form with pictures and texts, until its end or until a broken picture ends the upload. */
async function receive(
  { endpoint, lease }: PictureJob,
  parts: ReturnType<typeof readParts>,
  upload: PictureUpload,
  texts: Texts,
): Promise<void> {
  const { files, ids } = upload.fields;
  const receiveTexts: ReceivePart = async (part) => {
    const document = await readDocument(part, lease);
    if (document) await texts.take(textsOf(document, part, endpoint.classifier));
    return true;
  };
  const isWhole = await readFields(
    parts,
    { files, ids, texts: receiveTexts },
    'files (pictures, one part each), texts (text fields, or a file with a list) and ids',
  );
  lease.give('pictureUploads', 1);
  if (!isWhole) return;
  upload.endIds();
  if (upload.collection.names().length === 0 && texts.list.length === 0) {
    throw new ServiceError(
      'files_missing',
      'Neither a picture nor a text was sent; send pictures as parts named files, e.g. curl -F files=@photo.jpg, and texts as parts named texts, e.g. curl -F texts="a dog".',
    );
  }
}

/** A field is one text, exactly as written, commas included. A file, or a field with JSON, is a list. */
function textsOf(
  document: Uint8Array,
  { filename, mediaType }: Part,
  classifier: Classifier,
): readonly string[] {
  const isList =
    filename !== undefined ||
    mediaType === 'text/csv' ||
    mediaType === 'application/json' ||
    /^\s*[[{]/.test(Buffer.from(document.subarray(0, 100)).toString('latin1'));
  if (isList) return classifier.parseTexts(document);
  if (!isUtf8(document)) {
    throw new ServiceError('categories_malformed', 'A part named texts is not valid UTF-8; send UTF-8.');
  }
  return [new TextDecoder().decode(document)];
}

/** What made the embeddings. The fit is left out where it is CLIP's own. */
function originOf({ model }: Classifier, { fit }: EmbeddingsOptions) {
  const { name, sha256, precision, embeddingDimension, logitScale } = model;
  return {
    model: name,
    sha256,
    precision,
    dimension: embeddingDimension,
    logit_scale: logitScale,
    ...(fit !== 'crop' && { fit }),
  };
}

/** An embedding of each square of a picture; with the fit `tiles`, with its place. */
function tilesOf(embedding: Float32Array, { fit }: EmbeddingsOptions, { model }: Classifier) {
  const rows = rowsOf(embedding, model.embeddingDimension);
  return rows.map((row, index) => ({
    embedding: row,
    place: fit === 'tiles' && { tile: index + 1, tiles: rows.length },
  }));
}

/** Digits that restore any float32. */
const DIGITS = 9;

/** An embedding as JSON shows it. Reading it again gives the same float32 numbers. */
function encode(embedding: Float32Array, format: EncodingFormat): string | readonly number[] {
  if (format === 'float') return Array.from(embedding, (value) => Number(value.toPrecision(DIGITS)));
  // All systems that this runs on are little-endian.
  return Buffer.from(embedding.buffer, embedding.byteOffset, embedding.byteLength).toString('base64');
}

/** An answer to one picture or text. */
interface Item {
  readonly index: number;
  readonly outcome: PictureOutcome | { readonly text: string; readonly embedding: Float32Array };
}

/** Answers with an event for each picture and text. */
function oneByOne(
  job: PictureJob,
  boundary: string,
  options: EmbeddingsOptions,
  notation: EventNotation,
): StreamedResponse {
  const { endpoint, lease, record } = job;
  const { classifier } = endpoint;
  const origin = originOf(classifier, options);
  let upload: PictureUpload | undefined;
  let broken = 0;

  const receiveAll = async (news: PictureNews<Item>): Promise<Refusal | undefined> => {
    await using arriving = createUpload(job, {
      ...lookingAt(options, lease),
      endsWithFault: options.on_error === 'fail',
      idsFirst: true,
      onReceived: news.received,
      onSettled: (settled) => news.add(settled, true),
    });
    upload = arriving;
    const { collection } = arriving;
    const texts = createTexts(job, options);
    try {
      await receive(job, readParts(news.body, boundary), arriving, texts);
      news.uploaded();
      let index = collection.names().length;
      for await (const outcome of texts.embed()) {
        news.add({ index, outcome }, false);
        index += 1;
      }
      const faults = await collection.broken();
      broken = faults.length;
      return refusalOf(faults, options, arriving.idsByFile());
    } finally {
      record.files = collection.names().length;
    }
  };

  return respondOneByOne<Item>(job, notation, {
    receive: receiveAll,
    canDescribe: () => true,
    describe({ index, outcome }) {
      const id = upload?.idOf(index);
      if ('error' in outcome)
        return eventText(notation, 'broken', { index, ...wireFault(outcome, () => id) });
      const { embedding, ...named } = outcome;
      const thumbnail = 'file' in outcome ? outcome.thumbnail?.toBase64() : undefined;
      const event = (own: object) =>
        eventText(notation, 'embedding', {
          index,
          ...named,
          thumbnail: undefined,
          ...(id !== undefined && { id }),
          ...origin,
          ...own,
        });
      if (!('file' in outcome)) return event({ embedding: encode(embedding, options.encoding_format) });
      // Together, so that the tiles of a picture follow each other.
      return tilesOf(embedding, options, classifier)
        .map((tile, order) =>
          event({
            ...tile.place,
            embedding: encode(tile.embedding, options.encoding_format),
            ...(order === 0 && { thumbnail }),
          }),
        )
        .join('');
    },
    end: () => ({ model: wireModel(classifier.model), files: record.files, broken }),
  });
}

/** @throws ServiceError if the head of the request cannot be used */
function inJson(request: Request, options: EmbeddingsOptions): Respond {
  refuseEncodedBody(request.headers);
  const needsForm = (option: string, what: string) =>
    new ServiceError(
      'option_invalid',
      `The option ${option} needs a form: the answer to a JSON body has no place for ${what}.`,
    );
  if (options.on_error === 'skip') throw needsForm('on_error=skip', 'broken pictures');
  if (options.thumbnails) throw needsForm('thumbnails=true', 'thumbnails');
  if (options.fit === 'tiles') throw needsForm('fit=tiles', 'several embeddings of a picture');
  return async (job) => {
    const { endpoint, lease, record } = job;
    const { classifier } = endpoint;
    await using upload = createUpload(job, { endsWithFault: true, ...lookingAt(options, lease) });
    const { collection } = upload;
    const texts = createTexts(job, options);
    try {
      const body = await readInputs(readBody(request, lease, record), { upload, texts, classifier });
      lease.give('pictureUploads', 1);
      const refusal = refusalOf(await collection.broken(), options);
      if (refusal) return await refuse(job, refusal);
      const pictures = await collection.embeddings();
      const embedded = await Array.fromAsync(texts.embed());
      const tokens = await classifier.countTokens(texts.list, options, lease);
      const encoding = body.encoding ?? options.encoding_format;
      const [nextPicture, nextText] = [pictures.values(), embedded.values()];
      const pieces = function* () {
        yield '{"object":"list","data":[';
        for (const [index, kind] of body.kinds.entries()) {
          const { value } = kind === 'picture' ? nextPicture.next() : nextText.next();
          const embedding = encode(value?.embedding ?? new Float32Array(), encoding);
          yield `${index === 0 ? '' : ','}${JSON.stringify({ object: 'embedding', index, embedding })}`;
        }
        const usage = { prompt_tokens: tokens, total_tokens: tokens };
        const { name, logitScale } = classifier.model;
        yield `],${JSON.stringify({ model: name, usage, logit_scale: logitScale }).slice(1)}`;
      };
      return await streamJson(pieces(), {}, lease, endpoint.beforeClose);
    } finally {
      record.files = collection.names().length;
    }
  };
}

/** A body in the form of OpenAI's API. */
interface Inputs {
  /** In the order sent. */
  readonly kinds: readonly ('picture' | 'text')[];
  readonly encoding: EncodingFormat | undefined;
}

interface Receivers {
  readonly upload: PictureUpload;
  readonly texts: Texts;
  readonly classifier: Classifier;
}

/** More than any model reads. */
const MAX_TEXT_LENGTH = 64 * 1024;

async function readInputs(
  body: AsyncGenerator<Uint8Array>,
  { upload, texts, classifier }: Receivers,
): Promise<Inputs> {
  const reader = new JsonReader(body, (why) => jsonInvalid(`is malformed: ${why}`));
  const kinds: Inputs['kinds'][number][] = [];
  const { embeddingDimension } = classifier.model;
  let encoding: EncodingFormat | undefined;

  /** @returns whether the rest of the body is needed */
  const readInput = async (place: string): Promise<boolean> => {
    if ((await reader.peek()) !== 'string') {
      throw jsonInvalid(`has something else as ${place} than a string; send texts or data URLs, not tokens`);
    }
    const input = await openInput(reader.text(), place);
    kinds.push(input.kind);
    if (input.kind === 'picture') return await upload.receivePicture(place, input.content);
    let text = '';
    for await (const piece of input.pieces) {
      text += piece;
      if (text.length > MAX_TEXT_LENGTH) {
        throw jsonInvalid(`has a text of more than ${MAX_TEXT_LENGTH} characters as ${place}`);
      }
    }
    if (text === '') throw jsonInvalid(`has an empty text as ${place}`);
    await texts.take([text]);
    return true;
  };

  for await (const key of reader.members()) {
    if (key === 'input') {
      if ((await reader.peek()) !== 'list') {
        if (!(await readInput('input'))) return { kinds, encoding };
      } else {
        for await (const index of reader.entries()) {
          if (!(await readInput(`input[${index}]`))) return { kinds, encoding };
        }
      }
      continue;
    }
    const value = await reader.value(MAX_FIELD_BYTES);
    if (value === null) continue;
    if (key === 'encoding_format') {
      encoding = encodingFormats.find((known) => known === value);
      if (!encoding) throw jsonInvalid('has an encoding_format that is neither "float" nor "base64"');
    }
    if (key === 'dimensions' && value !== embeddingDimension) {
      throw jsonInvalid(
        `asks for other dimensions than ${embeddingDimension}, which embeddings of this model have`,
      );
    }
  }
  await reader.end();
  if (kinds.length === 0) {
    throw jsonInvalid('has no input; send {"input":["a text","data:image/jpeg;base64,/9j/4AAQ…"]}');
  }
  return { kinds, encoding };
}
