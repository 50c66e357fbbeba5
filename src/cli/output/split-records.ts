/** A record without its line feed, and where the next one begins, in bytes. */
export interface SplitRecord {
  readonly text: string;
  readonly end: number;
}

const LINE_FEED = 0x0a;
const QUOTE = 0x22;

/**
 * Splits a file into its records. What comes after the last line feed is no whole record: it is given with
 * `end` undefined.
 * @param isQuoted whether line feeds within double quotes belong to the record
 */
export async function* splitRecords(
  chunks: AsyncIterable<Uint8Array>,
  isQuoted: boolean,
): AsyncGenerator<SplitRecord | { readonly text: string; readonly end: undefined }> {
  // A record may begin with what would be a byte order mark at the beginning of a file.
  const decoder = new TextDecoder('utf-8', { ignoreBOM: true });
  let pieces: Uint8Array[] = [];
  let offset = 0;
  let isWithinQuotes = false;
  for await (const chunk of chunks) {
    let start = 0;
    for (let at = 0; at < chunk.length; at++) {
      const byte = chunk[at];
      if (byte === QUOTE && isQuoted) isWithinQuotes = !isWithinQuotes;
      if (byte !== LINE_FEED || isWithinQuotes) continue;
      pieces.push(chunk.subarray(start, at));
      yield { text: decoder.decode(Buffer.concat(pieces)), end: offset + at + 1 };
      pieces = [];
      start = at + 1;
    }
    if (start < chunk.length) pieces.push(Uint8Array.from(chunk.subarray(start)));
    offset += chunk.length;
  }
  if (pieces.length > 0) yield { text: decoder.decode(Buffer.concat(pieces)), end: undefined };
}
