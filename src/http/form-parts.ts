import { setImmediate as turnOfEventLoop } from 'node:timers/promises';
import type { Categories, LabelOptions } from '../classify/classifier.ts';
import { ServiceError } from '../errors.ts';
import type { Part } from './multipart.ts';
import type { Lease } from './resources.ts';
import { createGathered } from './spool.ts';

/** A thousand labels of 77 tokens have some 400 KB; a longer document is not a list of categories. */
export const MAX_CATEGORIES_BYTES = 4 * 1024 ** 2;
/** Four times what file systems allow for one path component. The answer repeats the names. */
const MAX_FILE_NAME_BYTES = 1024;

/** The field of a part. Axios and dio name the parts of a list `files[]`, PHP's curl `files[0]`, `files[1]`. */
export function fieldOf({ name }: Part): string {
  return /^files\[(?:0|[1-9]\d{0,3})?\]$/.test(name) ? 'files' : name;
}

/**
 * Reads the part named categories: a file or a text field.
 * @param known the categories of an earlier part
 * @returns undefined for an empty part without a file name: a form may have a file input and a text field of that name,
 * of which the user fills in one
 * @throws ServiceError part_unexpected, multipart_too_large, categories_malformed; whatever `parse` throws
 */
export async function readCategories(
  { filename, content, charset }: Part,
  known: Categories | undefined,
  parse: (document: Uint8Array) => Categories | Promise<Categories>,
): Promise<Categories | undefined> {
  const document = await readWhole(content, MAX_CATEGORIES_BYTES);
  if (!filename && document?.byteLength === 0) return undefined;
  if (known) {
    throw new ServiceError(
      'part_unexpected',
      'The part categories was sent twice; send all categories in one part, a file or a text field.',
    );
  }
  if (document) return await parse(await toUtf8(document, charset));
  throw categoriesTooLarge();
}

function categoriesTooLarge(): ServiceError {
  return new ServiceError(
    'multipart_too_large',
    `The categories have more than ${MAX_CATEGORIES_BYTES} bytes, the most that is accepted.`,
  );
}

/** The event loop gets a turn after decoding this much, in some milliseconds. */
const DECODED_BYTES = 256 * 1024;

/**
 * Converts from the charset that a part declares (RFC 7578, 4.4). A byte order mark has priority, as in browsers.
 * Charsets are those of the WHATWG's Encoding Standard, where ISO-8859-1 means Windows-1252.
 * @param document if nothing is declared: UTF-8, or UTF-16 with a byte order mark
 */
async function toUtf8(document: Uint8Array, charset: string | undefined): Promise<Uint8Array> {
  // Many clients declare US-ASCII, the default of MIME, and send UTF-8.
  if (charset === undefined || /^[ \t]*(?:us-ascii|ascii|utf-?8)[ \t]*$/i.test(charset)) return document;
  const [first, second, third] = document;
  if ((first === 0xff && second === 0xfe) || (first === 0xfe && second === 0xff)) return document;
  if (first === 0xef && second === 0xbb && third === 0xbf) return document;
  const decoder = decoderOf(charset);
  const pieces: Buffer[] = [];
  let length = 0;
  for (let at = 0; at < document.length; at += DECODED_BYTES) {
    if (at > 0) await turnOfEventLoop();
    const stream = at + DECODED_BYTES < document.length;
    const piece = Buffer.from(decode(decoder, document.subarray(at, at + DECODED_BYTES), stream));
    length += piece.byteLength;
    if (length > MAX_CATEGORIES_BYTES) throw categoriesTooLarge();
    pieces.push(piece);
  }
  return Buffer.concat(pieces, length);
}

function decoderOf(charset: string): TextDecoder {
  try {
    // An unknown charset throws.
    return new TextDecoder(charset as Bun.Encoding, { fatal: true });
  } catch (cause) {
    throw new ServiceError(
      'categories_malformed',
      `The part categories declares the charset ${shorten(charset)}, which is unknown; send UTF-8.`,
      {},
      { cause },
    );
  }
}

function decode(decoder: TextDecoder, bytes: Uint8Array, stream: boolean): string {
  try {
    return decoder.decode(bytes, { stream });
  } catch (cause) {
    throw new ServiceError(
      'categories_malformed',
      `The part categories declares the charset ${decoder.encoding}, but its bytes are not valid in it; send UTF-8.`,
      {},
      { cause },
    );
  }
}

export function categoriesMissing(): ServiceError {
  return new ServiceError(
    'categories_missing',
    'No categories were sent, or only an empty part; send them as a part named categories: a JSON, CSV or text file, or text such as cat,dog.',
  );
}

/** @param accepted the parts that the endpoint accepts, for the sentence */
export function unexpectedPart({ name }: Part, accepted: string): ServiceError {
  return new ServiceError(
    'part_unexpected',
    `The form has a part named ${shorten(name)}; accepted are ${accepted}.`,
  );
}

/** Whether a part is a file input that was not used: browsers send it all the same. */
export async function isLeftAlone({ filename, content }: Part): Promise<boolean> {
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
export function checkFileName({ name: field, filename, filenameFault }: Part, example: string): string {
  if (filename === undefined) {
    throw new ServiceError(
      'file_name_invalid',
      `A part named ${field} has no file name; send it as a file, e.g. ${example}.`,
    );
  }
  if (filename === '') {
    throw new ServiceError('file_name_invalid', 'A file has an empty name; the answer needs file names.');
  }
  if (filenameFault !== undefined) throw new ServiceError('file_name_invalid', filenameFault);
  const control = /\p{Cc}/u.exec(filename);
  if (control) throw controlCharacter(filename, control.index);
  if (Buffer.byteLength(filename) > MAX_FILE_NAME_BYTES) {
    throw new ServiceError(
      'file_name_invalid',
      `The file name ${shorten(filename)} is too long: ${Buffer.byteLength(filename)} bytes, at most ${MAX_FILE_NAME_BYTES} are accepted.`,
    );
  }
  return filename;
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

/**
 * Reads a whole part.
 * @param content its chunks are used up, see `createGathered`
 * @returns undefined for more than `maxBytes`: the rest is read and dropped
 */
export async function readWhole(
  content: AsyncIterable<Uint8Array>,
  maxBytes: number,
): Promise<Uint8Array | undefined> {
  const gathered = createGathered();
  let length = 0;
  for await (const chunk of content) {
    length += chunk.byteLength;
    if (length <= maxBytes) gathered.push(chunk);
    else gathered.clear();
  }
  return length > maxBytes ? undefined : gathered.take();
}

function shorten(name: string): string {
  const quoted = JSON.stringify(name.length > 60 ? `${name.slice(0, 60)}…` : name);
  // JSON does not escape all control characters.
  return quoted.replace(/\p{Cc}/gu, (control) => `\\u00${control.charCodeAt(0).toString(16)}`);
}

/**
 * Makes a categories part hold memory while it arrives. If the part is too long, reading stops there.
 */
export function held(part: Part, lease: Lease): Part {
  const { content } = part;
  async function* taking() {
    let bytes = 0;
    for await (const chunk of content) {
      lease.take('keptBytes', chunk.byteLength);
      bytes += chunk.byteLength;
      yield chunk;
      if (bytes > MAX_CATEGORIES_BYTES) return;
    }
    lease.give('keptBytes', bytes);
  }
  return { ...part, content: taking() };
}

/** Takes memory for labels; the memory for their document was given back. */
export function holdLabels({ labels }: Categories, lease: Lease): void {
  lease.take('keptBytes', 2 * labels.reduce((sum, label) => sum + label.length, 0));
}

/** Label lists that need less memory count as kept. */
const FEW_BYTES = 1024 ** 2;
/** The label encoder encodes this many texts at a time. */
const TEXTS_AT_ONCE = 2048;

/** Takes memory for encoding labels. Long lists have a budget of their own, so that they cannot block short ones. */
export function takeLabelMemory(
  { labels }: Categories,
  { template }: LabelOptions,
  embeddingDimension: number,
  lease: Lease,
): void {
  const texts = labels.length * (template?.length ?? 1);
  const bytes = (labels.length + Math.min(texts, TEXTS_AT_ONCE)) * embeddingDimension * 4;
  lease.take(bytes > FEW_BYTES ? 'labelBytes' : 'keptBytes', bytes);
}
