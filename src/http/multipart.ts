import { isUtf8 } from 'node:buffer';
import { setImmediate as turnOfEventLoop } from 'node:timers/promises';
import { ServiceError } from '../errors.ts';

/** The parameters of a `Content-Disposition: form-data` line. */
interface ContentDisposition {
  /** The form field. Bytes that are not UTF-8 are escaped, as `\xe4`. */
  readonly name: string;
  /** The file's name exactly as sent, folders included; undefined for a field without a file. */
  readonly filename: string | undefined;
  /** A sentence if the file name is not UTF-8. `filename` then has escaped bytes and is for display only. */
  readonly filenameFault: string | undefined;
}

/** Why a line is not a valid disposition; follows "malformed: " in a sentence. */
interface DispositionFault {
  readonly fault: string;
}

// ;name="quoted \" value" | ;name=token
const parameter =
  /^;[ \t]*([!#$%&'*+.^_`|~0-9a-z-]+)[ \t]*=[ \t]*(?:"((?:[^"\\]|\\.)*)"|([^ \t;"]*))[ \t]*/is;

/**
 * Parses a part's disposition in all forms that clients send. Browsers replace `"`, CR and LF by `%22`, `%0D`, `%0A`
 * and nothing else (WHATWG HTML, "multipart/form-data encoding algorithm"). Older curl and Python put backslashes
 * before `"` and `\`. Some send RFC 5987's `filename*`, which has priority.
 * @param line the header's bytes as Latin-1
 */
export function parseContentDisposition(line: string): ContentDisposition | DispositionFault {
  const type = /^[ \t]*form-data[ \t]*(?=;|$)/i.exec(line);
  if (!type) return notDisposition(line);
  const parameters = new Map<string, string>();
  let rest = line.slice(type[0].length);
  while (rest !== '' && !/^;?[ \t]*$/.test(rest)) {
    const match = parameter.exec(rest);
    if (!match) return notDisposition(line);
    const [whole, key = '', quoted, token = ''] = match;
    parameters.set(key.toLowerCase(), quoted === undefined ? token : unquote(quoted));
    rest = rest.slice(whole.length);
  }
  const name = parameters.get('name');
  if (name === undefined) return { fault: 'a part has no name; name it files or categories' };
  const field = textOf(Buffer.from(name, 'latin1'));
  const extended = parameters.get('filename*');
  if (extended !== undefined) {
    const filename = decodeExtended(extended);
    if (filename !== undefined) return { name: field, filename, filenameFault: undefined };
    return {
      fault: `a part’s header cannot be decoded: filename* is "${quote(extended)}"; accepted are utf-8''… and iso-8859-1''…, with bytes of that charset as % and two hexadecimal digits, e.g. utf-8''caf%C3%A9.jpg`,
    };
  }
  const plain = parameters.get('filename');
  if (plain === undefined) return { name: field, filename: undefined, filenameFault: undefined };
  return { name: field, ...decodeFileName(Buffer.from(plain, 'latin1')) };
}

function notDisposition(line: string): DispositionFault {
  return {
    fault: `a part needs one header like Content-Disposition: form-data; name="files"; filename="photo.jpg", and has ${JSON.stringify(quote(line, 200))}`,
  };
}

/** Other backslashes are kept: browsers send Windows paths unescaped. */
function unquote(quoted: string): string {
  if (!/[\\%]/.test(quoted)) return quoted;
  return quoted
    .replace(/\\(["\\])/g, '$1')
    .replace(/%22/g, '"')
    .replace(/%0D/gi, '\r')
    .replace(/%0A/gi, '\n');
}

function decodeFileName(bytes: Buffer): Omit<ContentDisposition, 'name'> {
  const filename = textOf(bytes);
  if (isUtf8(bytes)) return { filename, filenameFault: undefined };
  let byte = 0;
  for (let length = characterAt(bytes, 0); length > 0; length = characterAt(bytes, byte)) byte += length;
  const value = bytes.readUInt8(byte).toString(16);
  return {
    filename,
    filenameFault: `The file name "${readable(bytes, 60)}" is not valid UTF-8: byte ${byte}, counted from 0, is 0x${value}. Send names in UTF-8; a name in Latin-1 can also be sent like filename*=iso-8859-1''caf%E9.jpg.`,
  };
}

/** Decodes RFC 5987: charset'language'percent-encoded bytes, in the two charsets that it names. */
function decodeExtended(value: string): string | undefined {
  const match = /^(utf-8|iso-8859-1)'[^']*'((?:[!-$&-~]|%[0-9a-f]{2})*)$/i.exec(value);
  if (!match) return undefined;
  const [, charset = '', encoded = ''] = match;
  const bytes = Buffer.from(
    encoded.replace(/%(..)/g, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16))),
    'latin1',
  );
  if (charset.toLowerCase() !== 'utf-8') return bytes.toString('latin1');
  return isUtf8(bytes) ? bytes.toString('utf8') : undefined;
}

/** A header's bytes as text for a sentence. */
function quote(latin1: string, maxCharacters = 100): string {
  return readable(Buffer.from(latin1, 'latin1'), maxCharacters);
}

/** Decodes UTF-8; otherwise escapes the bytes that are not. */
function textOf(bytes: Buffer): string {
  return isUtf8(bytes) ? bytes.toString('utf8') : readable(bytes);
}

/** Bytes as text for a sentence. Control characters and bytes that are not UTF-8 become `\xe4`. */
function readable(bytes: Buffer, maxCharacters = Number.POSITIVE_INFINITY): string {
  let text = '';
  let at = 0;
  for (let count = 0; at < bytes.length; count += 1) {
    if (count === maxCharacters) return `${text}…`;
    const length = characterAt(bytes, at);
    const character = bytes.toString('utf8', at, at + length);
    const end = at + Math.max(length, 1);
    text +=
      length === 0 || /\p{Cc}/u.test(character)
        ? `\\x${bytes.toString('hex', at, end).match(/../g)?.join('\\x')}`
        : character;
    at = end;
  }
  return text;
}

/** The length in bytes of the UTF-8 character at `at`; 0 if there is none. */
function characterAt(bytes: Buffer, at: number): number {
  return (
    [1, 2, 3, 4].find((length) => at + length <= bytes.length && isUtf8(bytes.subarray(at, at + length))) ?? 0
  );
}

/** One part of a form. Asking for the next part skips content that was not read. */
export interface Part extends ContentDisposition {
  /** In lower case, without parameters; undefined if none was sent. */
  readonly mediaType: string | undefined;
  /** The charset in the part's Content-Type, as sent. */
  readonly charset: string | undefined;
  readonly content: AsyncIterableIterator<Uint8Array>;
}

/** @throws ServiceError content_type_unsupported */
export function refuseEncodedBody(headers: Headers): void {
  const encoding = headers.get('content-encoding') ?? 'identity';
  if (encoding.toLowerCase() === 'identity') return;
  throw new ServiceError(
    'content_type_unsupported',
    `The body is sent with Content-Encoding ${JSON.stringify(encoding.slice(0, 100))}; send it without an encoding.`,
  );
}

/**
 * Reads the boundary from a `Content-Type: multipart/form-data` header.
 * @throws ServiceError content_type_unsupported, multipart_malformed
 */
export function boundaryOf(headers: Headers): string {
  const contentType = headers.get('content-type');
  refuseEncodedBody(headers);
  if (!/^[ \t]*multipart\/form-data[ \t]*(?:;|$)/i.test(contentType ?? '')) {
    throw new ServiceError(
      'content_type_unsupported',
      `The body ${contentType ? `has the type ${JSON.stringify(contentType.slice(0, 100))}` : 'has no Content-Type'}; send a form as multipart/form-data, e.g. curl -F files=@photo.jpg -F categories=cat,dog.`,
    );
  }
  const [, quoted, token] = /;[ \t]*boundary=(?:"([^"]*)"|([^\s;"]+))/i.exec(contentType ?? '') ?? [];
  const boundary = quoted ?? token ?? '';
  // RFC 2046, 5.1.1: 1 to 70 of these characters, no space at the end.
  if (!/^[0-9a-z'()+_,./:=? -]{0,69}[0-9a-z'()+_,./:=?-]$/i.test(boundary)) {
    throw malformed(
      'its Content-Type has no valid boundary (do not set this header yourself: HTTP clients do)',
    );
  }
  return boundary;
}

/** Browsers send an unused file input as a part with an empty file name. A form has only a few of them. */
const MAX_UNNAMED = 1000;

/**
 * Splits a form into its parts while it arrives. It asks for the next chunk only when the last one is used up, so a
 * slow reader slows the client down.
 *
 * This reader is our own because every library fails in some point. multipasta decodes names with replacement
 * characters. multipasta, @remix-run/multipart-parser and busboy search a hundred times slower if the boundary
 * consists of equal letters. busboy and @fastify/busboy drop faulty parts silently and do not distinguish an empty
 * file name from a missing one. @remix-run/multipart-parser and @apeleghq/multipart-parser hold whole parts in memory.
 * @hapi/pez decodes names and fields to strings.
 * @param body chunks, split anywhere
 * @throws ServiceError multipart_malformed, multipart_too_large, part_unexpected; what `body` throws
 */
export async function* readParts(body: AsyncIterable<Uint8Array>, boundary: string): AsyncGenerator<Part> {
  const reader = new FormReader(body, boundary);
  let unnamed = 0;
  try {
    for (;;) {
      await reader.skipContent();
      const head = await reader.readHead();
      if (!head) return; // the rest is an epilogue without meaning
      const part = describePart(parseHead(head));
      if (!part.filename) unnamed += 1;
      if (unnamed > MAX_UNNAMED) throw tooManyUnnamed();
      yield { ...part, content: reader.content() };
    }
  } finally {
    await reader.close();
  }
}

const CR = 0x0d;
const LF = 0x0a;
const DASH = 0x2d;
const SPACE = 0x20;
const TAB = 0x09;
const LINE_END = Buffer.from('\r\n');
const HEAD_END = Buffer.from('\r\n\r\n');
const MAX_HEAD_BYTES = 16 * 1024;
const MAX_HEADERS = 100;
const NOTHING = Buffer.alloc(0);

/** The event loop gets a turn after this many bytes were searched or copied: 3 ms for the slowest boundary. */
const SLICE_BYTES = 1024 ** 2;
/** Fixed costs of a chunk and of a part, in bytes that could be searched in the same time. */
const CHUNK_COST = 1024;
const PART_COST = 8 * 1024;

/**
 * Reads a body of RFC 2046 (5.1.1): a preamble, then, after each delimiter, a part's head and its content. Only native
 * code searches bytes. A delimiter has exactly one CR, at its start. So every search is linear, and a delimiter that is
 * split between chunks can start in only one place.
 */
class FormReader {
  readonly #chunks: AsyncIterator<Uint8Array>;
  readonly #delimiter: Buffer;
  /** The rest of a large chunk, not yet in the window. */
  #unread: Buffer = NOTHING;
  /** Bytes that arrived and are not used yet. A chunk that is passed on whole leaves no reference here. */
  #window: Buffer = NOTHING;
  #isEmpty = true;
  /** Whether the next bytes are content or preamble, not a head. */
  #isInContent = true;
  /** At the start of content or of the body, a delimiter needs no line break before it. */
  #isAtLineStart = true;
  #partsBegun = 0;
  /** Work since the last turn of the event loop, in bytes. */
  #work = 0;

  constructor(body: AsyncIterable<Uint8Array>, boundary: string) {
    this.#chunks = body[Symbol.asyncIterator]();
    this.#delimiter = Buffer.from(`\r\n--${boundary}`, 'latin1');
  }

  async close(): Promise<void> {
    await this.#chunks.return?.();
  }

  async skipContent(): Promise<void> {
    if (!this.#isInContent) return;
    for await (const _ of this.content());
  }

  /** Yields the bytes up to the next delimiter and consumes the delimiter. It ends if another part has begun. */
  async *content(part = this.#partsBegun): AsyncGenerator<Uint8Array> {
    const isOpen = () => this.#isInContent && part === this.#partsBegun;
    if (isOpen() && this.#isAtLineStart) {
      this.#isAtLineStart = false;
      if (await this.#takeIfNext(this.#delimiter.subarray(LINE_END.length))) this.#isInContent = false;
    }
    while (isOpen()) {
      const at = this.#window.indexOf(this.#delimiter);
      if (at !== -1) {
        const bytes = this.#window.subarray(0, at);
        this.#window = this.#window.subarray(at + this.#delimiter.length);
        this.#isInContent = false;
        if (at > 0) yield bytes;
        return;
      }
      const held = this.#delimiterBegun();
      const bytes = this.#window.subarray(0, this.#window.length - held);
      this.#window = held === 0 ? NOTHING : this.#window.subarray(bytes.length);
      if (bytes.length > 0) yield bytes;
      else if (!(await this.#more())) throw this.#cutOff();
    }
  }

  /**
   * Reads the headers after a delimiter, without the empty line at their end.
   * @returns undefined after the closing delimiter
   */
  async readHead(): Promise<Buffer | undefined> {
    let start = 0; // of the line break that ends the delimiter's line
    let searched = 0;
    for (;;) {
      const window = this.#window;
      if (window[0] === DASH && window[1] === DASH) return undefined;
      while (window[start] === SPACE || window[start] === TAB) start += 1;
      const isLineEnd = window[start] === CR && window[start + 1] === LF;
      const isOpen = window.length < start + 2 && (window.length === start || window[start] === CR);
      const isClosing = window.length === 1 && window[0] === DASH;
      if (!isLineEnd && !isOpen && !isClosing) throw malformed('other characters follow a boundary');
      const end = isLineEnd ? window.indexOf(HEAD_END, Math.max(start, searched)) : -1;
      const headLength = (end === -1 ? window.length : end) - start;
      if (Math.max(start, headLength) > MAX_HEAD_BYTES) throw headersTooLarge();
      if (end !== -1) {
        this.#window = window.subarray(end + HEAD_END.length);
        this.#isInContent = true;
        this.#isAtLineStart = true;
        this.#partsBegun += 1;
        if (this.#isTurnDue(PART_COST)) await turnOfEventLoop();
        return window.subarray(start + LINE_END.length, Math.max(end, start + LINE_END.length));
      }
      searched = Math.max(0, window.length - (HEAD_END.length - 1));
      if (!(await this.#more())) throw this.#cutOff();
    }
  }

  /** The number of bytes at the window's end that may be the start of a delimiter. */
  #delimiterBegun(): number {
    const tail = this.#window.subarray(-(this.#delimiter.length - 1));
    const at = tail.lastIndexOf(CR);
    if (at === -1) return 0;
    const held = tail.length - at;
    return tail.subarray(at).equals(this.#delimiter.subarray(0, held)) ? held : 0;
  }

  async #takeIfNext(expected: Buffer): Promise<boolean> {
    for (;;) {
      const known = Math.min(this.#window.length, expected.length);
      if (!this.#window.subarray(0, known).equals(expected.subarray(0, known))) return false;
      if (known === expected.length) break;
      if (!(await this.#more())) return false;
    }
    this.#window = this.#window.subarray(expected.length);
    return true;
  }

  /** Appends the next bytes to the window. @returns false at the end of the body */
  async #more(): Promise<boolean> {
    if (this.#unread.length === 0) {
      const { done, value } = await this.#chunks.next();
      if (done) return false;
      this.#isEmpty &&= value.length === 0;
      this.#unread = Buffer.from(value.buffer, value.byteOffset, value.byteLength);
    }
    const slice = this.#unread.subarray(0, SLICE_BYTES);
    this.#unread = this.#unread.length > SLICE_BYTES ? this.#unread.subarray(SLICE_BYTES) : NOTHING;
    this.#window = this.#window.length === 0 ? slice : Buffer.concat([this.#window, slice]);
    if (this.#isTurnDue(this.#window.length + CHUNK_COST)) await turnOfEventLoop();
    return true;
  }

  /** Bytes that are in memory are read without waiting, so other work would get no turn. */
  #isTurnDue(cost: number): boolean {
    this.#work += cost;
    if (this.#work < SLICE_BYTES) return false;
    this.#work = 0;
    return true;
  }

  #cutOff(): ServiceError {
    return malformed(
      this.#isEmpty ? 'it is empty' : 'it ends before its closing boundary; the upload may have been cut off',
    );
  }
}

/**
 * @returns the values of all headers as Latin-1, by lower-case name
 * @throws ServiceError multipart_malformed, multipart_too_large
 */
function parseHead(head: Buffer): ReadonlyMap<string, readonly string[]> {
  const headers = new Map<string, string[]>();
  if (head.length === 0) return headers;
  // Mail libraries fold long header lines.
  const lines = head
    .toString('latin1')
    .replace(/\r\n(?=[ \t])/g, '')
    .split('\r\n');
  if (lines.length > MAX_HEADERS) throw headersTooLarge();
  for (const line of lines) {
    const [whole, name] = /^([!#$%&'*+.^_`|~0-9a-z-]+):[ \t]*/i.exec(line) ?? [];
    if (whole === undefined || name === undefined || /[\r\n\0]/.test(line)) {
      throw malformed('a part has an invalid header');
    }
    const value = line.slice(whole.length);
    const key = name.toLowerCase();
    const known = headers.get(key);
    if (known) known.push(value);
    else headers.set(key, [value]);
  }
  return headers;
}

function describePart(headers: ReadonlyMap<string, readonly string[]>): Omit<Part, 'content'> {
  const [line, ...others] = headers.get('content-disposition') ?? [];
  if (line === undefined || others.length > 0) {
    throw malformed(
      `a part needs one header like Content-Disposition: form-data; name="files"; filename="photo.jpg", and has ${line === undefined ? 'none' : others.length + 1}`,
    );
  }
  const disposition = parseContentDisposition(line);
  if ('fault' in disposition) throw malformed(disposition.fault);
  const encoding = headers.get('content-transfer-encoding')?.join();
  if (encoding !== undefined && !/^(?:7bit|8bit|binary)[ \t]*$/i.test(encoding)) {
    throw malformed(
      `part ${JSON.stringify(disposition.name.slice(0, 100))} is sent with Content-Transfer-Encoding ${JSON.stringify(encoding.slice(0, 100))}; send the bytes without an encoding`,
    );
  }
  const contentType = headers.get('content-type')?.[0] ?? '';
  const mediaType = /^[^;\s]+/.exec(contentType)?.[0].toLowerCase();
  return { ...disposition, mediaType, charset: charsetOf(contentType) };
}

function charsetOf(contentType: string): string | undefined {
  const [, quoted, token] = /;[ \t]*charset=(?:"([^"]*)"|([^ \t;"]+))/i.exec(contentType) ?? [];
  return quoted || token || undefined;
}

function tooManyUnnamed(): ServiceError {
  return new ServiceError(
    'part_unexpected',
    `The form has more than ${MAX_UNNAMED} parts without a file name; send each picture as a file that has a name, and the categories as one part.`,
  );
}

function headersTooLarge(): ServiceError {
  return new ServiceError(
    'multipart_too_large',
    `A part’s headers are too large; at most ${MAX_HEADERS} headers of ${MAX_HEAD_BYTES / 1024} KiB in all are accepted.`,
  );
}

function malformed(why: string): ServiceError {
  return new ServiceError('multipart_malformed', `The multipart body is malformed: ${why}.`);
}
