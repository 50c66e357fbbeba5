import { isUtf8 } from 'node:buffer';

/** The words of a `Content-Disposition: form-data` line. */
export interface ContentDisposition {
  /** The form field; bytes that are not UTF-8 are escaped, as `\xe4`. */
  readonly name: string;
  /** The file's name exactly as the client has it, folders included; undefined for a plain field. */
  readonly filename: string | undefined;
  /** A sentence about a file name that is not UTF-8. `filename` is then for reading only: its bytes are escaped. */
  readonly filenameFault: string | undefined;
}

/** Why a line is not the disposition of a form's part; goes on after "malformed: ". */
export interface DispositionFault {
  readonly fault: string;
}

// ;name="quoted \" value" | ;name=token
const parameter =
  /^;[ \t]*([!#$%&'*+.^_`|~0-9a-z-]+)[ \t]*=[ \t]*(?:"((?:[^"\\]|\\.)*)"|([^ \t;"]*))[ \t]*/is;

/**
 * Reads a part's disposition as clients write it: browsers turn `"`, CR and LF into `%22`, `%0D`, `%0A`
 * and leave all else alone (WHATWG HTML, "multipart/form-data encoding algorithm"); older curl and Python
 * put backslashes before `"` and `\`; some send RFC 5987's `filename*`, which then counts.
 * @param line the header's bytes, one a character (Latin-1)
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

/** A backslash before anything else is a backslash: browsers send Windows paths and such names as they are. */
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

/** RFC 5987: charset'language'percent-encoded bytes, of the two charsets that it names. */
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

/** A header's bytes for a sentence. */
function quote(latin1: string, maxCharacters = 100): string {
  return readable(Buffer.from(latin1, 'latin1'), maxCharacters);
}

/** Bytes that are not UTF-8 are escaped. */
function textOf(bytes: Buffer): string {
  return isUtf8(bytes) ? bytes.toString('utf8') : readable(bytes);
}

/** The text of bytes for a sentence: what is not UTF-8, and control characters, as `\xe4`. */
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

/** How many bytes the UTF-8 character at `at` has; 0 where none begins. */
function characterAt(bytes: Buffer, at: number): number {
  return (
    [1, 2, 3, 4].find((length) => at + length <= bytes.length && isUtf8(bytes.subarray(at, at + length))) ?? 0
  );
}
