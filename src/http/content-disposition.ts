import { isUtf8 } from 'node:buffer';

/** The words of a `Content-Disposition: form-data` line. */
export interface ContentDisposition {
  /** The form field. */
  readonly name: string;
  /** The file's name exactly as the client has it, folders included; undefined for a plain field. */
  readonly filename: string | undefined;
}

// ;name="quoted \" value" | ;name=token
const parameter = /^;[ \t]*([!#$%&'*+.^_`|~0-9a-z-]+)[ \t]*=[ \t]*(?:"((?:[^"\\]|\\.)*)"|([^\s;"]*))[ \t]*/is;

/**
 * Reads a part's disposition as clients write it: browsers turn `"`, CR and LF into `%22`, `%0D`, `%0A`
 * and leave all else alone (WHATWG HTML, "multipart/form-data encoding algorithm"); older curl and Python
 * put backslashes before `"` and `\`; some send RFC 5987's `filename*`, which then counts.
 * @returns undefined where the line breaks that grammar
 */
export function parseContentDisposition(line: string): ContentDisposition | undefined {
  const type = /^[ \t]*form-data[ \t]*(?=;|$)/i.exec(line);
  if (!type) return undefined;
  const parameters = new Map<string, string>();
  let rest = line.slice(type[0].length);
  while (rest !== '' && !/^;?[ \t]*$/.test(rest)) {
    const match = parameter.exec(rest);
    if (!match) return undefined;
    const [whole, key = '', quoted, token = ''] = match;
    parameters.set(key.toLowerCase(), quoted === undefined ? token : unquote(quoted));
    rest = rest.slice(whole.length);
  }
  const name = parameters.get('name');
  if (name === undefined) return undefined;
  const extended = parameters.get('filename*');
  if (extended === undefined) return { name, filename: parameters.get('filename') };
  const filename = decodeExtended(extended);
  return filename === undefined ? undefined : { name, filename };
}

/** A backslash before anything else is a backslash: browsers send Windows paths and such names as they are. */
function unquote(quoted: string): string {
  return quoted
    .replace(/\\(["\\])/g, '$1')
    .replace(/%22/g, '"')
    .replace(/%0D/gi, '\r')
    .replace(/%0A/gi, '\n');
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
