import type { ModelSummary } from '../classify/classifier.ts';
import { ServiceError } from '../errors.ts';
import { JsonReader } from './json-reader.ts';

/** A picture that the client has sent as its embedding. */
export interface StoredEmbedding {
  readonly file: string;
  readonly embedding: Float32Array;
  /** The client's own name for it. */
  readonly id: string | undefined;
}

/** What an embedding was made with. */
interface Origin {
  readonly sha256?: unknown;
  readonly precision?: unknown;
}

/** An embedding of 2048 numbers with all their digits has 50 KB. */
const MAX_ENTRY_BYTES = 256 * 1024;
/** Events of /embeddings without an embedding. */
const passedOver: ReadonlySet<unknown> = new Set(['progress', 'broken', 'end']);

/**
 * Reads a part named embeddings: an answer of /embeddings, as JSON or as lines of JSON, or what a client has written
 * like it: `{"sha256", "precision", "embeddings": [{"file", "embedding"}]}`, or `{"file", "embedding", "sha256"}` in a
 * list or in lines. An embedding is a list of numbers, or the base64 of float32 numbers in little-endian order.
 * @param add called for each embedding
 * @throws ServiceError embeddings_invalid, embeddings_mismatch; what `add` throws
 */
export async function readStoredEmbeddings(
  content: AsyncIterator<Uint8Array>,
  model: ModelSummary,
  add: (embedding: StoredEmbedding) => void,
): Promise<void> {
  const reader = new JsonReader(content, (why) => invalid(`The part embeddings is malformed: ${why}.`));
  let count = 0;
  /** @returns a name for sentences if only the document can say what made the embedding */
  const addEntry = (value: unknown, document: Origin): string | undefined => {
    count += 1;
    const entry = isObject(value) ? value : {};
    const { file, id } = entry;
    if (typeof file !== 'string') {
      throw invalid(
        `Entry ${count} of the embeddings has no "file"; each needs the name of its picture, e.g. {"file":"photo.jpg","embedding":[…]}.`,
      );
    }
    if (id !== undefined && typeof id !== 'string') {
      throw invalid(`Entry ${count} of the embeddings has an "id" that is not a string.`);
    }
    const name = `The embedding of ${shorten(file)} (entry ${count})`;
    const origin = {
      sha256: entry.sha256 ?? document.sha256,
      precision: entry.precision ?? document.precision,
    };
    const isKnown = origin.sha256 !== undefined;
    if (isKnown) checkOrigin(origin, model, name);
    add({ file, id, embedding: numbersOf(entry.embedding, model, name) });
    return isKnown ? undefined : name;
  };

  const addList = async (document: Origin): Promise<string | undefined> => {
    let unproven: string | undefined;
    for await (const _ of reader.entries()) {
      unproven = addEntry(await reader.value(MAX_ENTRY_BYTES), document) ?? unproven;
    }
    return unproven;
  };

  /** An entry, an event, or a document of entries. */
  const addObject = async () => {
    const fields: Record<string, unknown> = {};
    let isDocument = false;
    let unproven: string | undefined;
    for await (const key of reader.members()) {
      if (key === 'embeddings' && (await reader.peek()) === 'list') {
        isDocument = true;
        unproven = (await addList(fields)) ?? unproven;
      } else {
        const value = await reader.value(MAX_ENTRY_BYTES);
        if (key !== '__proto__') fields[key] = value;
      }
    }
    if (!isDocument) {
      if (passedOver.has(fields.event)) return;
      const { event, data } = fields;
      if (event === 'error') throw invalid('The embeddings end with an error: they are incomplete.');
      unproven = addEntry(event === 'embedding' ? data : fields, {});
    }
    if (unproven === undefined) return;
    if (!isDocument || fields.sha256 === undefined) throw withoutOrigin(unproven);
    checkOrigin(fields, model, unproven);
  };

  for (;;) {
    const kind = await reader.peek();
    if (kind === 'end') break;
    if (kind === 'object') await addObject();
    else {
      const unproven = await addList({});
      if (unproven !== undefined) throw withoutOrigin(unproven);
    }
  }
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null;
}

function withoutOrigin(name: string): ServiceError {
  return invalid(
    `${name} does not say of which model it is; send the "sha256" that /embeddings has answered, too.`,
  );
}

/** @throws ServiceError embeddings_mismatch */
function checkOrigin({ sha256, precision }: Origin, model: ModelSummary, name: string): void {
  const isOther = String(sha256).toLowerCase() !== model.sha256;
  if (!isOther && (precision === undefined || precision === model.precision)) return;
  const is = isOther
    ? `of another model, with the sha256 ${shorten(String(sha256))}`
    : `in ${shorten(String(precision))}`;
  throw new ServiceError(
    'embeddings_mismatch',
    `${name} is ${is}; the service has ${model.name} in ${model.precision}, with the sha256 "${model.sha256}". Make it again from the picture, with /embeddings.`,
  );
}

/** @throws ServiceError embeddings_invalid */
function numbersOf(written: unknown, { embeddingDimension }: ModelSummary, name: string): Float32Array {
  if (Array.isArray(written)) {
    const other = written.findIndex((value) => typeof value !== 'number');
    if (other === -1) return Float32Array.from(written);
    throw invalid(`${name} has something at ${other}, counted from 0, that is not a number.`);
  }
  if (typeof written !== 'string') {
    throw invalid(`${name} is missing; send a list of numbers, or the base64 of float32 numbers.`);
  }
  const bytes = Buffer.from(written, 'base64');
  if (bytes.byteLength % 4 !== 0 || bytes.toString('base64').length !== written.length) {
    throw invalid(`${name} is not the base64 of ${embeddingDimension} float32 numbers.`);
  }
  return Float32Array.from({ length: bytes.byteLength / 4 }, (_, index) => bytes.readFloatLE(4 * index));
}

function invalid(sentence: string): ServiceError {
  return new ServiceError('embeddings_invalid', sentence);
}

function shorten(text: string): string {
  return JSON.stringify(text.length > 100 ? `${text.slice(0, 100)}…` : text);
}
