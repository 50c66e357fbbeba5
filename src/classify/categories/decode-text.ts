import { isUtf8 } from 'node:buffer';
import { malformed } from './malformed.ts';

/**
 * The text of a document: UTF-8 with or without a byte order mark, or UTF-16 with one, as Excel saves
 * "Unicode text". What is no text is refused at its first byte that cannot be one.
 * @throws ServiceError categories_malformed with the offset in bytes
 */
export function decodeText(document: Uint8Array): string {
  const [first, second] = document;
  if (first === 0xff && second === 0xfe) return decodeUtf16(document, 'little');
  if (first === 0xfe && second === 0xff) return decodeUtf16(document, 'big');
  return decodeUtf8(document);
}

function decodeUtf8(document: Uint8Array): string {
  // Looked for first, because what has it is a picture, an archive or UTF-16, and better called binary.
  const nul = document.indexOf(0);
  if (nul !== -1) throw binary(nul);
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(document);
  } catch {
    const byte = firstInvalidByte(document);
    throw malformed(`is not valid UTF-8 at byte ${byte}; save it as UTF-8`, { byte });
  }
}

function decodeUtf16(document: Uint8Array, endianness: 'little' | 'big'): string {
  const markBytes = 2;
  if (document.length % 2 === 1) {
    const byte = document.length - 1;
    throw malformed(`is UTF-16 that ends within a character, at byte ${byte}`, { byte });
  }
  const units = Buffer.from(document.subarray(markBytes));
  if (endianness === 'big') units.swap16();
  const text = units.toString('utf16le');
  const nul = text.indexOf('\0');
  if (nul !== -1) throw binary(markBytes + 2 * nul);
  const lone = text.search(/\p{Surrogate}/u);
  if (lone !== -1) {
    const byte = markBytes + 2 * lone;
    throw malformed(`is not valid UTF-16 at byte ${byte}`, { byte });
  }
  return text;
}

function binary(byte: number) {
  return malformed(`is binary, not text: byte ${byte} is NUL`, { byte });
}

/** What is valid is passed over in stretches of so many bytes. */
const STRETCH_BYTES = 64 * 1024;

function firstInvalidByte(document: Uint8Array): number {
  let start = 0;
  for (;;) {
    let end = Math.min(start + STRETCH_BYTES, document.length);
    // A stretch ends before a character's first byte.
    while (end < document.length && end > start && isContinuation(document[end]!)) end -= 1;
    if (end === start) return start;
    const stretch = document.subarray(start, end);
    if (!isUtf8(stretch)) return start + firstInvalidByteOf(stretch);
    start = end;
  }
}

function isContinuation(byte: number): boolean {
  return (byte & 0xc0) === 0x80;
}

/** Where a lenient decoder puts a replacement character that the document itself does not have. */
function firstInvalidByteOf(document: Uint8Array): number {
  const lenient = new TextDecoder('utf-8', { ignoreBOM: true }).decode(document);
  let byte = 0;
  let counted = 0;
  for (let at = lenient.indexOf('\ufffd'); at !== -1; at = lenient.indexOf('\ufffd', at + 1)) {
    byte += Buffer.byteLength(lenient.slice(counted, at));
    counted = at;
    const genuine = document[byte] === 0xef && document[byte + 1] === 0xbf && document[byte + 2] === 0xbd;
    if (!genuine) return byte;
  }
  throw new Error('This is a bug: the lenient decoder found nothing wrong');
}
