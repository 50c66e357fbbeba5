import { setImmediate as turnOfEventLoop } from 'node:timers/promises';
import type { Categories, LabelOptions } from '../classify/classifier.ts';
import { ServiceError } from '../errors.ts';
import { giveBack } from '../garbage.ts';
import type { RequestTally } from './metrics.ts';
import type { Part, readParts } from './multipart.ts';
import { clientGone, type Lease, overloaded } from './resources.ts';
import type { Spool, SpoolWriter, StoredFile } from './spool.ts';

/** A thousand labels of 77 tokens have some 400 KB; a longer document is not a list of categories or texts. */
export const MAX_DOCUMENT_BYTES = 4 * 1024 ** 2;
/** Four times what file systems allow for one path component. The answer repeats the names. */
const MAX_FILE_NAME_BYTES = 1024;

/** The field of an endpoint's files, with the sentences about it. */
const fields = {
  files: {
    example: 'curl -F files=@photo.jpg',
    accepted:
      'files (pictures, one part each), categories (a file or a text field), and also embeddings and ids',
    missing: () =>
      new ServiceError(
        'files_missing',
        'No picture was sent; send each as a part named files, e.g. curl -F files=@photo.jpg.',
      ),
  },
  video: {
    example: 'curl -F video=@film.mp4',
    accepted: 'video (one file) and categories (a file or a text field)',
    missing: () =>
      new ServiceError(
        'video_missing',
        'No video was sent; send it as a part named video, e.g. curl -F video=@film.mp4.',
      ),
  },
} as const;

/** Receives the parts of one field. @returns whether the rest of the form is needed */
export type ReceivePart = (part: Part) => Promise<boolean>;

/**
 * Reads the parts of a form, in any order.
 * @param receivers by field
 * @param accepted what a sentence lists for a part of another name
 * @returns whether the form was read to its end
 * @throws ServiceError
 */
export async function readFields(
  parts: ReturnType<typeof readParts>,
  receivers: Readonly<Record<string, ReceivePart>>,
  accepted: string,
): Promise<boolean> {
  for await (const part of parts) {
    const field = fieldOf(part);
    const receive = Object.hasOwn(receivers, field) ? receivers[field] : undefined;
    if (!receive) throw unexpectedPart(part, accepted);
    if (!(await receive(part))) return false;
  }
  return true;
}

/** @param receive gets a file's name exactly as sent. @returns whether the rest of the form is needed */
export function fileField(
  field: keyof typeof fields,
  receive: (name: string, content: AsyncIterableIterator<Uint8Array>) => Promise<boolean>,
): ReceivePart {
  return async (part) => {
    if (await isLeftAlone(part)) return true;
    return await receive(fileNameOf(part, fields[field].example), part.content);
  };
}

/** What an endpoint does with the parts of its form. */
interface FormUse {
  /** The field of its files. */
  readonly field: keyof typeof fields;
  /** Receives one file. The name is exactly as sent. @returns whether the rest of the form is needed */
  receive(name: string, content: AsyncIterableIterator<Uint8Array>): Promise<boolean>;
  parseCategories(document: Uint8Array): Categories;
  /** Refuses categories before the rest of the form arrives. */
  checkCategories(categories: Categories): Promise<void>;
  /** What else it accepts. */
  readonly further?: Readonly<Record<string, ReceivePart>>;
  /** Whether something else came that replaces the files. Default: no. */
  readonly needsNoFile?: () => boolean;
}

/**
 * Reads a form with a question: files, and the categories, in any order.
 * @param lease holds the memory of the categories
 * @returns undefined if `receive` has ended the reading
 * @throws ServiceError
 */
export async function readForm(
  parts: ReturnType<typeof readParts>,
  lease: Pick<Lease, 'take' | 'give'>,
  use: FormUse,
): Promise<Categories | undefined> {
  const { accepted, missing } = fields[use.field];
  let hasFile = false;
  let categories: Categories | undefined;
  const receivers: Record<string, ReceivePart> = {
    ...use.further,
    [use.field]: fileField(use.field, async (name, content) => {
      hasFile = true;
      return await use.receive(name, content);
    }),
    async categories(part) {
      const document = await readDocument(part, lease);
      if (!document) return true;
      if (categories) {
        throw new ServiceError(
          'part_unexpected',
          'The part categories was sent twice; send all categories in one part, a file or a text field.',
        );
      }
      categories = use.parseCategories(document);
      const { labels, phrases = [] } = categories;
      const characters = [...labels, ...phrases.flat()].reduce((sum, text) => sum + text.length, 0);
      lease.take('keptBytes', 2 * characters);
      await use.checkCategories(categories);
      return true;
    },
  };
  if (!(await readFields(parts, receivers, accepted))) return undefined;
  if (!hasFile && !use.needsNoFile?.()) throw missing();
  if (!categories) {
    throw new ServiceError(
      'categories_missing',
      'No categories were sent, or only an empty part; send them as a part named categories: a JSON, CSV or text file, or text such as cat,dog.',
    );
  }
  return categories;
}

/** The field of a part. Axios and dio name the parts of a list `files[]`, PHP's curl `files[0]`, `files[1]`. */
function fieldOf({ name }: Part): string {
  return /^files\[(?:0|[1-9]\d{0,3})?\]$/.test(name) ? 'files' : name;
}

/**
 * Reads a part that is a document of text: a file or a text field. It holds memory until it is complete.
 * @returns undefined for an empty part without a file name: a form may have a file input and a text field of one name,
 * of which the user fills in one
 * @throws ServiceError multipart_too_large, categories_malformed
 */
export async function readDocument(
  { name, filename, content, charset }: Part,
  lease: Pick<Lease, 'take' | 'give'>,
): Promise<Uint8Array | undefined> {
  const gathered = createGathered();
  let bytes = 0;
  for await (const chunk of content) {
    lease.take('keptBytes', chunk.byteLength);
    bytes += chunk.byteLength;
    if (bytes > MAX_DOCUMENT_BYTES) throw documentTooLarge(name);
    gathered.push(chunk);
  }
  if (!filename && bytes === 0) return undefined;
  lease.give('keptBytes', bytes);
  return await toUtf8(gathered.take(), name, charset);
}

function documentTooLarge(field: string): ServiceError {
  return new ServiceError(
    'multipart_too_large',
    `The ${field} have more than ${MAX_DOCUMENT_BYTES} bytes, the most that is accepted.`,
  );
}

/** The event loop gets a turn after decoding this much, in some milliseconds. */
const DECODED_BYTES = 256 * 1024;

/**
 * Converts from the charset that a part declares (RFC 7578, 4.4). A byte order mark has priority, as in browsers.
 * Charsets are those of the WHATWG's Encoding Standard, where ISO-8859-1 means Windows-1252.
 * @param document if nothing is declared: UTF-8, or UTF-16 with a byte order mark
 */
async function toUtf8(document: Uint8Array, field: string, charset: string | undefined): Promise<Uint8Array> {
  // Many clients declare US-ASCII, the default of MIME, and send UTF-8.
  if (charset === undefined || /^[ \t]*(?:us-ascii|ascii|utf-?8)[ \t]*$/i.test(charset)) return document;
  const [first, second, third] = document;
  if ((first === 0xff && second === 0xfe) || (first === 0xfe && second === 0xff)) return document;
  if (first === 0xef && second === 0xbb && third === 0xbf) return document;
  const decoder = decoderOf(charset, field);
  const decode = (bytes: Uint8Array, stream: boolean): string => {
    try {
      return decoder.decode(bytes, { stream });
    } catch (cause) {
      throw new ServiceError(
        'categories_malformed',
        `The part ${field} declares the charset ${decoder.encoding}, but its bytes are not valid in it; send UTF-8.`,
        {},
        { cause },
      );
    }
  };
  const pieces: Buffer[] = [];
  let length = 0;
  for (let at = 0; at < document.length; at += DECODED_BYTES) {
    if (at > 0) await turnOfEventLoop();
    const stream = at + DECODED_BYTES < document.length;
    const piece = Buffer.from(decode(document.subarray(at, at + DECODED_BYTES), stream));
    length += piece.byteLength;
    if (length > MAX_DOCUMENT_BYTES) throw documentTooLarge(field);
    pieces.push(piece);
  }
  return Buffer.concat(pieces, length);
}

function decoderOf(charset: string, field: string): TextDecoder {
  try {
    // An unknown charset throws.
    return new TextDecoder(charset as Bun.Encoding, { fatal: true });
  } catch (cause) {
    throw new ServiceError(
      'categories_malformed',
      `The part ${field} declares the charset ${shorten(charset)}, which is unknown; send UTF-8.`,
      {},
      { cause },
    );
  }
}

function unexpectedPart(part: Part, accepted: string): ServiceError {
  const isForVideo = fieldOf(part) === 'files' && accepted === fields.video.accepted;
  return new ServiceError(
    'part_unexpected',
    isForVideo
      ? 'The form has a part named files; /video accepts one video as a part named video. Send pictures to /categorize or /image.'
      : `The form has a part named ${shorten(part.name)}; accepted are ${accepted}.`,
  );
}

/** Whether a part is a file input that was not used: browsers send it, too. */
async function isLeftAlone({ filename, content }: Part): Promise<boolean> {
  if (filename !== '') return false;
  for await (const chunk of content) if (chunk.byteLength > 0) return false;
  return true;
}

/**
 * Checks the file name of a part.
 * @param example how to send the part as a file, for the sentence
 * @returns the name, exactly as sent
 * @throws ServiceError file_name_invalid
 */
function fileNameOf({ name: field, filename, filenameFault }: Part, example: string): string {
  if (filename === undefined) {
    throw new ServiceError(
      'file_name_invalid',
      `A part named ${field} has no file name; send it as a file, e.g. ${example}.`,
    );
  }
  if (filenameFault !== undefined) throw new ServiceError('file_name_invalid', filenameFault);
  checkFileName(filename);
  return filename;
}

/** Checks the name of a picture or a video. @throws ServiceError file_name_invalid */
export function checkFileName(filename: string): void {
  if (filename === '') {
    throw new ServiceError('file_name_invalid', 'A file has an empty name; the answer needs file names.');
  }
  const control = /\p{Cc}/u.exec(filename);
  if (control) throw controlCharacter(filename, control.index);
  if (Buffer.byteLength(filename) > MAX_FILE_NAME_BYTES) {
    throw new ServiceError(
      'file_name_invalid',
      `The file name ${shorten(filename)} is too long: ${Buffer.byteLength(filename)} bytes, at most ${MAX_FILE_NAME_BYTES} are accepted.`,
    );
  }
}

function controlCharacter(filename: string, index: number): ServiceError {
  const code = filename.charCodeAt(index);
  const hex = code.toString(16).toUpperCase().padStart(4, '0');
  const position = [...filename.slice(0, index)].length;
  const what = `the control character U+${hex}${code === 0 ? ' (a zero byte)' : ''} at position ${position}, counted from 0`;
  const cure = /[\r\n]/.test(filename.charAt(index))
    ? " Forms write a line break as %0D or %0A; to send a name that contains these letters, write filename*=utf-8''100%250Awool.png."
    : '';
  return new ServiceError(
    'file_name_invalid',
    `The file name ${shorten(filename)} has ${what}; names without control characters are accepted.${cure}`,
  );
}

function shorten(name: string): string {
  const quoted = JSON.stringify(name.length > 60 ? `${name.slice(0, 60)}…` : name);
  // JSON does not escape all control characters.
  return quoted.replace(/\p{Cc}/gu, (control) => `\\u00${control.charCodeAt(0).toString(16)}`);
}

/** Label lists that need less memory count as kept. */
const FEW_BYTES = 1024 ** 2;
/** The label encoder encodes this many texts at a time. */
const TEXTS_AT_ONCE = 2048;

/** Reserves memory for encoding labels. Long lists have a separate budget, so that they cannot block short ones. */
export function takeLabelMemory(
  { labels, phrases }: Categories,
  { template }: LabelOptions,
  embeddingDimension: number,
  lease: Lease,
): void {
  const count = phrases?.reduce((sum, { length }) => sum + length, 0) ?? labels.length;
  const texts = count * (template?.length ?? 1);
  const kept = phrases ? labels.length + count : count;
  const bytes = (kept + Math.min(texts, TEXTS_AT_ONCE)) * embeddingDimension * 4;
  lease.take(bytes > FEW_BYTES ? 'labelBytes' : 'keptBytes', bytes);
}

/** A complete part. Its bytes are in memory or in the temporary folder. */
interface IncomingPart extends AsyncDisposable {
  readonly byteLength: number;
  /** The first bytes, enough to recognise the format. Call it before `read`. @throws ServiceError storage_full */
  head(): Promise<Uint8Array> | Uint8Array;
  /** All bytes. Call it once; the caller owns them. @throws ServiceError storage_full */
  read(): Promise<Uint8Array> | Uint8Array;
  /** Takes back what `read` returned, to be read once more. */
  putBack(bytes: Uint8Array): void;
  /** Gives back the memory or the space, after `read` or if the bytes are not needed. */
  [Symbol.asyncDispose](): Promise<void>;
}

/** Where a part is stored until it is complete. */
export interface PartRoom {
  readonly lease: Lease;
  /** The request's temporary folder, created at the first use. */
  readonly spool: () => Promise<Spool>;
  /** Called if the temporary folder cannot be used. */
  readonly onStorageFault: (fault: ServiceError) => void;
}

/** More than any format needs to be recognised. */
const HEAD_BYTES = 4096;
/** A part that has been arriving for longer counts as slow. */
const SLOW_MS = 2000;
/** If more than this share of the memory is used, slow parts move to the temporary folder. */
const FAST_SHARE = 0.5;

/**
 * Receives a whole part. It stays in memory if there is room. Otherwise, or if it is slow while memory fills up, it goes
 * to the temporary folder.
 * @returns undefined as soon as there are more than `maxBytes`: the rest of `content` is unread
 * @throws ServiceError overloaded; what `content` throws
 */
export async function receivePart(
  content: AsyncIterator<Uint8Array>,
  maxBytes: number,
  room: PartRoom,
): Promise<IncomingPart | undefined> {
  const { lease } = room;
  const beganAt = performance.now();
  const gathered = createGathered();
  const drop = () => {
    lease.give('partBytes', gathered.byteLength);
    gathered.clear();
  };
  const isSlow = () => performance.now() - beganAt >= SLOW_MS && lease.fullness('partBytes') > FAST_SHARE;
  let mayBeStored = true;
  try {
    for (;;) {
      const { done, value: chunk } = await content.next();
      if (done) return inMemory(gathered, lease);
      if (gathered.byteLength + chunk.byteLength > maxBytes) {
        drop();
        return undefined;
      }
      const fits = !(mayBeStored && isSlow()) && lease.tryTake('partBytes', chunk.byteLength);
      if (!fits) {
        const stored = mayBeStored ? await createFile(room) : undefined;
        if (stored) {
          const first = gathered.byteLength === 0 ? [] : [gathered.take()];
          lease.give('partBytes', first[0]?.byteLength ?? 0);
          return await inFile(stored, [...first, chunk], content, maxBytes);
        }
        mayBeStored = false;
        lease.take('partBytes', chunk.byteLength);
      }
      gathered.push(chunk);
    }
  } catch (fault) {
    drop();
    if (!(fault instanceof ServiceError) || fault.code !== 'storage_full') throw fault;
    room.onStorageFault(fault);
    throw overloaded('There is no room for another upload');
  }
}

function inMemory(gathered: Gathered, lease: Lease): IncomingPart {
  const { byteLength } = gathered;
  let isHeld = true;
  let whole: Uint8Array | undefined;
  return {
    byteLength,
    head: () => gathered.head(HEAD_BYTES),
    read() {
      const bytes = whole ?? gathered.take();
      whole = undefined;
      return bytes;
    },
    putBack(bytes) {
      whole = bytes;
    },
    async [Symbol.asyncDispose]() {
      if (!isHeld) return;
      isHeld = false;
      // Set if the client left while its picture waited. The collector would keep these bytes beside those of others.
      if (whole) giveBack(whole);
      whole = undefined;
      gathered.clear();
      lease.give('partBytes', byteLength);
    },
  };
}

interface NewFile {
  readonly spool: Spool;
  readonly writer: SpoolWriter;
}

/** @returns undefined if the temporary folder cannot be used */
async function createFile({ spool: openSpool, onStorageFault }: PartRoom): Promise<NewFile | undefined> {
  try {
    const spool = await openSpool();
    return { spool, writer: await spool.create() };
  } catch (fault) {
    if (!(fault instanceof ServiceError) || fault.code !== 'storage_full') throw fault;
    onStorageFault(fault);
    return undefined;
  }
}

async function inFile(
  { spool, writer }: NewFile,
  first: readonly Uint8Array[],
  content: AsyncIterator<Uint8Array>,
  maxBytes: number,
): Promise<IncomingPart | undefined> {
  const append = async (chunk: Uint8Array) => {
    await writer.append(chunk);
    giveBack(chunk);
  };
  let file: StoredFile;
  try {
    for (const chunk of first) await append(chunk);
    for (;;) {
      const { done, value: chunk } = await content.next();
      if (done) break;
      if (writer.bytes + chunk.byteLength > maxBytes) {
        await spool.remove(await writer.end());
        return undefined;
      }
      await append(chunk);
    }
    file = await writer.end();
  } catch (fault) {
    await spool.remove(await writer.end());
    throw fault;
  }
  return {
    byteLength: file.bytes,
    head: () => spool.readHead(file, HEAD_BYTES),
    read: () => spool.read(file),
    putBack(bytes) {
      giveBack(bytes);
    },
    [Symbol.asyncDispose]: () => spool.remove(file),
  };
}

/** The chunks of one part. */
interface Gathered {
  readonly byteLength: number;
  push(chunk: Uint8Array): void;
  /** A copy of the first bytes. */
  head(bytes: number): Uint8Array;
  /** All chunks, joined in a new buffer. */
  take(): Uint8Array;
  clear(): void;
}

/** The objects around a smaller chunk may need more memory than its bytes. */
const LARGE_CHUNK = 16 * 1024;

/**
 * Collects chunks in hardly more memory than their bytes. It copies a chunk that is a small part of its buffer, and
 * joins small chunks: a client that sends byte by byte would otherwise fill a hundred times its bytes. Each byte is
 * copied some ten times at most, as the pieces double. Chunks are used up: their memory is freed if they fill their
 * buffers, because no other chunk can be in those.
 */
function createGathered(): Gathered {
  let chunks: Uint8Array[] = [];
  let byteLength = 0;
  const join = (pieces: Uint8Array[]): Uint8Array => {
    // Memory that is overwritten at once need not be cleared before.
    const whole = Bun.concatArrayBuffers(pieces, Number.POSITIVE_INFINITY, true);
    for (const piece of pieces) giveBack(piece);
    return whole;
  };
  return {
    get byteLength() {
      return byteLength;
    },
    push(chunk) {
      if (chunk.byteLength === 0) return;
      byteLength += chunk.byteLength;
      chunks.push(2 * chunk.byteLength < chunk.buffer.byteLength ? chunk.slice() : chunk);
      for (;;) {
        const last = chunks.at(-1)?.byteLength ?? 0;
        const before = chunks.at(-2)?.byteLength;
        if (before === undefined || last < before || last + before > LARGE_CHUNK) return;
        chunks.push(join(chunks.splice(-2)));
      }
    },
    head(bytes) {
      const first: Uint8Array[] = [];
      let length = 0;
      for (const chunk of chunks) {
        if (length >= bytes) break;
        first.push(chunk.subarray(0, bytes - length));
        length += chunk.byteLength;
      }
      return Buffer.concat(first);
    },
    take() {
      const whole = join(chunks);
      chunks = [];
      byteLength = 0;
      return whole;
    },
    clear() {
      for (const chunk of chunks) giveBack(chunk);
      chunks = [];
      byteLength = 0;
    },
  };
}

/**
 * Reads a request's body chunk by chunk. It never reads ahead, so the rest stays in the client's socket. Only time spent
 * waiting for the client uses up its patience; our own work does not.
 * @param record gets the bytes and the time spent waiting
 * @param onChunk called after each chunk, before it is used
 * @throws ServiceError client_gone, upload_stalled
 */
export async function* readBody(
  request: Request,
  lease: Pick<Lease, 'awaitClient' | 'credit'>,
  record: Pick<RequestTally, 'uploadMs' | 'bytes'>,
  onChunk?: () => void,
): AsyncGenerator<Uint8Array> {
  if (!request.body) return;
  const reader = request.body.getReader();
  for (;;) {
    const askedAt = performance.now();
    const chunk = await lease.awaitClient(reader.read(), 'upload').catch(bodyFault);
    record.uploadMs += performance.now() - askedAt;
    if (chunk.done) return;
    record.bytes += chunk.value.byteLength;
    lease.credit('upload', chunk.value.byteLength);
    onChunk?.();
    yield chunk.value;
  }
}

/** The stream fails only if the connection does. */
function bodyFault(fault: unknown): never {
  if (fault instanceof ServiceError) throw fault;
  throw clientGone('The client left before its body was complete.', fault);
}
