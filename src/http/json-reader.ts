import { ServiceError } from '../errors.ts';
import { takeTurns } from '../turns.ts';

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const COMMA = 0x2c;
const COLON = 0x3a;
const BRACKET = 0x5b;
const BRACKET_END = 0x5d;
const BRACE = 0x7b;
const BRACE_END = 0x7d;
const LOWER_U = 0x75;

/** Bytes of `\u` and four digits. */
const LONGEST_ESCAPE = 6;
/** Large chunks are read in slices, each in about a millisecond. */
const SLICE_BYTES = 256 * 1024;
/** For fields of JSON bodies that are neither pictures nor lists. */
export const MAX_FIELD_BYTES = 64 * 1024;
const MAX_KEY_BYTES = 1024;
/** Of an object that is read member by member. */
const MAX_MEMBERS = 1000;
const NOTHING = Buffer.alloc(0);

/** What the next value is. `end`: there is none. */
export type JsonKind = 'list' | 'object' | 'string' | 'other' | 'end';

/**
 * Reads JSON documents while they arrive: lists and objects entry by entry, strings piece by piece. Only one entry is in
 * memory, so a document may have any length. JSON.parse of a whole document would block the event loop, and needs
 * several times its bytes.
 *
 * This reader is our own: stream-json and jsonparse take a microsecond for each character of a string, and none of the
 * libraries bounds an entry.
 */
export class JsonReader {
  readonly #chunks: AsyncIterator<Uint8Array> | Iterator<Uint8Array>;
  readonly #fault: (why: string) => ServiceError;
  /** For whole values. */
  readonly #decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
  readonly #turns = takeTurns(undefined);
  #unread: Buffer = NOTHING;
  #window: Buffer = NOTHING;
  #at = 0;
  /** Bytes before the window. */
  #before = 0;

  /**
   * @param chunks split anywhere
   * @param fault makes the error of a document that is not JSON; `why` follows "… is malformed: "
   */
  constructor(
    chunks: AsyncIterator<Uint8Array> | Iterator<Uint8Array>,
    fault: (why: string) => ServiceError,
  ) {
    this.#chunks = chunks;
    this.#fault = fault;
  }

  /** Passes over white space, and says what follows. */
  async peek(): Promise<JsonKind> {
    switch (await this.#next()) {
      case undefined:
        return 'end';
      case BRACKET:
        return 'list';
      case BRACE:
        return 'object';
      case QUOTE:
        return 'string';
      default:
        return 'other';
    }
  }

  /** Yields at each entry of a list, with its index. Read the entry before asking for the next one. */
  async *entries(): AsyncGenerator<number> {
    await this.#expect(BRACKET);
    if ((await this.#next()) === BRACKET_END) {
      this.#at += 1;
      return;
    }
    for (let index = 0; ; index += 1) {
      yield index;
      if (await this.#endsWith(BRACKET_END)) return;
    }
  }

  /** Yields the key of each member of an object. Read its value before asking for the next one. */
  async *members(): AsyncGenerator<string> {
    await this.#expect(BRACE);
    if ((await this.#next()) === BRACE_END) {
      this.#at += 1;
      return;
    }
    for (let count = 1; ; count += 1) {
      if (count > MAX_MEMBERS) throw this.#fault(`an object has more than ${MAX_MEMBERS} keys`);
      if ((await this.#next()) !== QUOTE) throw this.#unexpected();
      const key = await this.value(MAX_KEY_BYTES);
      await this.#expect(COLON);
      yield String(key);
      if (await this.#endsWith(BRACE_END)) return;
    }
  }

  /** Reads a whole value. */
  async value(maxBytes: number): Promise<unknown> {
    const start = await this.#next();
    if (start === undefined) throw this.#unexpected();
    let length = 0;
    let depth = 0;
    let isInString = false;
    let [window, at] = [this.#window, this.#at];
    for (;;) {
      if (at + length >= window.length) {
        if (await this.#more()) {
          [window, at] = [this.#window, this.#at];
          continue;
        }
        if (start === BRACE || start === BRACKET || start === QUOTE) throw this.#unexpected(length);
        break;
      }
      const byte = window[at + length];
      if (isInString) {
        if (byte === BACKSLASH) length += 1;
        else if (byte === QUOTE) isInString = false;
      } else if (byte === QUOTE) isInString = true;
      else if (byte === BRACE || byte === BRACKET) depth += 1;
      else if (byte === BRACE_END || byte === BRACKET_END) depth -= 1;
      else if (depth === 0 && (byte === COMMA || byte === COLON || isSpace(byte))) break;
      // A number ends before the end of the list that it is in.
      if (depth < 0) break;
      length += 1;
      if (length > maxBytes)
        throw this.#fault(`a value at byte ${this.#place()} has more than ${maxBytes} bytes`);
      if (depth === 0 && !isInString && isClosing(byte)) break;
    }
    const bytes = window.subarray(at, at + length);
    const place = this.#place();
    this.#at += length;
    try {
      return JSON.parse(this.#decoder.decode(bytes));
    } catch {
      throw this.#fault(`the value at byte ${place} is not valid JSON in UTF-8`);
    }
  }

  /** Yields a string in pieces, without its escapes. */
  async *text(): AsyncGenerator<string> {
    await this.#expect(QUOTE);
    const decoder = new TextDecoder('utf-8', { fatal: true });
    for (;;) {
      const { end, isWhole } = this.#stringEnd();
      const place = this.#place();
      const bytes = this.#window.subarray(this.#at, end);
      this.#at = isWhole ? end + 1 : end;
      let piece: string;
      try {
        piece = decoder.decode(bytes, { stream: !isWhole });
        // The parser also refuses control characters.
        if (/[\\\p{Cc}]/u.test(piece)) piece = JSON.parse(`"${piece}"`);
      } catch {
        throw this.#fault(`the string at byte ${place} is not valid JSON in UTF-8`);
      }
      if (piece !== '') yield piece;
      if (isWhole) return;
      if (!(await this.#more())) throw this.#unexpected();
    }
  }

  /** @throws if anything follows but white space */
  async end(): Promise<void> {
    if ((await this.#next()) !== undefined) throw this.#unexpected();
  }

  /** The end of the string's bytes in the window; without its closing quote, before an escape that is cut off. */
  #stringEnd(): { readonly end: number; readonly isWhole: boolean } {
    const window = this.#window;
    for (let at = this.#at; ; ) {
      const quote = window.indexOf(QUOTE, at);
      if (quote === -1) break;
      if (this.#backslashesBefore(quote) % 2 === 0) return { end: quote, isWhole: true };
      at = quote + 1;
    }
    const tail = window.subarray(Math.max(this.#at, window.length - LONGEST_ESCAPE));
    const last = window.length - tail.length + tail.lastIndexOf(BACKSLASH);
    if (tail.lastIndexOf(BACKSLASH) === -1 || this.#backslashesBefore(last + 1) % 2 === 0) {
      return { end: window.length, isWhole: false };
    }
    const length = window[last + 1] === LOWER_U ? LONGEST_ESCAPE : 2;
    return { end: last + length <= window.length ? window.length : last, isWhole: false };
  }

  #backslashesBefore(end: number): number {
    let start = end;
    while (start > this.#at && this.#window[start - 1] === BACKSLASH) start -= 1;
    return end - start;
  }

  /** The next byte that is not white space. It is not consumed. */
  async #next(): Promise<number | undefined> {
    for (;;) {
      while (isSpace(this.#window[this.#at])) this.#at += 1;
      if (this.#at < this.#window.length) return this.#window[this.#at];
      if (!(await this.#more())) return undefined;
    }
  }

  async #expect(byte: number): Promise<void> {
    if ((await this.#next()) !== byte) throw this.#unexpected();
    this.#at += 1;
  }

  /** Consumes a comma or the end of a list or an object. @returns whether it has ended */
  async #endsWith(closing: number): Promise<boolean> {
    const byte = await this.#next();
    if (byte !== closing && byte !== COMMA) throw this.#unexpected();
    this.#at += 1;
    if (this.#turns.isOver) await this.#turns.next();
    return byte === closing;
  }

  /** Appends the next bytes to the window. @returns false at the end */
  async #more(): Promise<boolean> {
    if (this.#unread.length === 0) {
      const { done, value } = await this.#chunks.next();
      if (done) return false;
      this.#unread = Buffer.from(value.buffer, value.byteOffset, value.byteLength);
    }
    if (this.#turns.isOver) await this.#turns.next();
    const slice = this.#unread.subarray(0, SLICE_BYTES);
    this.#unread = this.#unread.length > SLICE_BYTES ? this.#unread.subarray(SLICE_BYTES) : NOTHING;
    this.#before += this.#at;
    const rest = this.#window.subarray(this.#at);
    this.#window = rest.length === 0 ? slice : Buffer.concat([rest, slice]);
    this.#at = 0;
    return true;
  }

  #place(): number {
    return this.#before + this.#at;
  }

  #unexpected(behind = 0): ServiceError {
    const place = this.#place() + behind;
    if (this.#at + behind >= this.#window.length) return this.#fault(`it ends at byte ${place}, too early`);
    const byte = this.#window[this.#at + behind] ?? 0;
    const shown =
      byte > 0x20 && byte < 0x7f ? JSON.stringify(String.fromCharCode(byte)) : `0x${byte.toString(16)}`;
    return this.#fault(`byte ${place} is ${shown}, which is not expected there`);
  }
}

function isSpace(byte: number | undefined): boolean {
  return byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09;
}

/** Whether a value that is not a number or a word ends with this byte. */
function isClosing(byte: number | undefined): boolean {
  return byte === QUOTE || byte === BRACE_END || byte === BRACKET_END;
}

/** @returns whether a request says that its body is JSON */
export function isJson(headers: Headers): boolean {
  return /^[ \t]*application\/json[ \t]*(?:;|$)/i.test(headers.get('content-type') ?? '');
}

/** @param fault follows "The JSON body" */
export function jsonInvalid(fault: string): ServiceError {
  return new ServiceError('json_invalid', `The JSON body ${fault}.`);
}
