import { jsonInvalid } from './json-reader.ts';

/** A string of a JSON body: a picture in base64, or text. Read its content to the end. */
export type Input =
  | { readonly kind: 'picture'; readonly content: AsyncGenerator<Uint8Array> }
  | { readonly kind: 'text'; readonly pieces: AsyncIterable<string> };

/** Longer ones are not in use: `data:image/svg+xml;charset=utf-8;base64,` */
const MAX_HEAD_LENGTH = 256;
const SCHEME = 'data:';

/**
 * Opens a string that is a data URL with base64, or text.
 * @param place names the string in sentences
 * @throws ServiceError json_invalid
 */
export async function openInput(pieces: AsyncGenerator<string>, place: string): Promise<Input> {
  let head = '';
  const isEnough = () => {
    const isUrl = head.slice(0, SCHEME.length).toLowerCase() === SCHEME;
    return head.length >= SCHEME.length && (!isUrl || head.includes(',') || head.length > MAX_HEAD_LENGTH);
  };
  while (!isEnough()) {
    const { done, value } = await pieces.next();
    if (done) break;
    head += value;
  }
  if (head.slice(0, SCHEME.length).toLowerCase() !== SCHEME) {
    return { kind: 'text', pieces: joined(head, pieces) };
  }
  const comma = head.indexOf(',');
  if (comma === -1 || !/;[ \t]*base64$/i.test(head.slice(0, comma))) {
    throw jsonInvalid(
      `has a data URL as ${place} that is not in base64; send it like data:image/jpeg;base64,/9j/4AAQ…`,
    );
  }
  return { kind: 'picture', content: decodeBase64(joined(head.slice(comma + 1), pieces), place) };
}

async function* joined(first: string, rest: AsyncIterable<string>): AsyncGenerator<string> {
  if (first !== '') yield first;
  yield* rest;
}

/**
 * Decodes base64 in pieces: the standard alphabet or that of URLs, with white space anywhere, padded or not.
 * @param place names the string in sentences
 * @throws ServiceError json_invalid
 */
export async function* decodeBase64(
  pieces: AsyncIterable<string>,
  place: string,
): AsyncGenerator<Uint8Array> {
  const fault = (why: string) => jsonInvalid(`has no valid base64 as ${place}: ${why}`);
  let rest = '';
  let isPadded = false;
  for await (const piece of pieces) {
    const text = rest + piece;
    const whole = text.length - (text.length % 4);
    const groups = text.slice(0, whole);
    // Without white space, padding and faults, which take longer to find.
    const bytes = Buffer.from(groups, 'base64');
    if (!isPadded && bytes.byteLength === (whole / 4) * 3) {
      rest = text.slice(whole);
      if (whole > 0) yield bytes;
      continue;
    }
    const clean = cleanBase64(text, fault);
    if (/=[^=]/.test(isPadded ? `=${clean}` : clean)) throw fault('something follows its end');
    const cleanWhole = clean.length - (clean.length % 4);
    // The padding of a group that is not complete yet is looked at again with its end.
    isPadded ||= clean.slice(0, cleanWhole).includes('=');
    rest = clean.slice(cleanWhole);
    if (cleanWhole > 0) yield Buffer.from(clean.slice(0, cleanWhole), 'base64');
  }
  const end = cleanBase64(rest, fault);
  if (end.length === 1) throw fault('it is cut off, as its last group has one character');
  if (end !== '') yield Buffer.from(end, 'base64');
}

/** Removes white space. @throws what `fault` makes of another character */
function cleanBase64(text: string, fault: (why: string) => Error): string {
  const clean = text.replace(/\s+/g, '');
  const wrong = /[^A-Za-z0-9+/_=-]/.exec(clean);
  if (wrong) throw fault(`${JSON.stringify(wrong[0])} is not part of it`);
  return clean;
}
