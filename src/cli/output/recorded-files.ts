import type { FileHandle } from 'node:fs/promises';
import { UsageError } from '../usage-error.ts';
import { fileTable, type LineFormat, type OutputRecord } from './line-format.ts';

/** A record without its line feed, and where the next one begins, in bytes. */
interface SplitRecord {
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

/** What an earlier run has found out about a file. */
export type RecordedFile =
  | { readonly kind: 'answered'; readonly category: string | null }
  | { readonly kind: 'broken'; readonly code: string; readonly error: string };

export interface RecordedFiles {
  /** By path. */
  readonly files: ReadonlyMap<string, RecordedFile>;
  /** Where the next record goes: the length of what is whole. */
  readonly bytes: number;
}

/**
 * Reads what an earlier run has written, also one that was killed within a record. Anything that this
 * command would not have written is refused, so that no other file is mistaken for an output.
 * @param path for the sentence where it is refused
 * @param labels the categories that were asked for then
 * @throws UsageError
 */
export async function readRecordedFiles(
  path: string,
  file: FileHandle,
  format: LineFormat,
  labels: readonly string[],
): Promise<RecordedFiles> {
  const files = new Map<string, RecordedFile>();
  const known = new Set(labels);
  const header = format.header(fileTable);
  let bytes = 0;
  let expectsHeader = header !== '';
  for await (const { text, end } of splitRecords(contentOf(file), format.isQuoted)) {
    if (end === undefined) {
      if (mayBeCut(text, expectsHeader ? header : undefined, format, known)) break;
      throw foreign(path, format);
    }
    if (expectsHeader) {
      if (`${text}\n` !== header) throw foreign(path, format);
      expectsHeader = false;
    } else {
      const record = format.parse(text, fileTable);
      const recorded = record && recordedFileOf(record, known);
      if (!recorded) throw foreign(path, format);
      files.set(recorded.file, recorded.outcome);
    }
    bytes = end;
  }
  return { files, bytes };
}

const BLOCK_BYTES = 64 * 1024;

/** A file's bytes from its beginning, wherever it is written to; it stays open. */
async function* contentOf(file: FileHandle): AsyncGenerator<Uint8Array> {
  const block = Buffer.allocUnsafe(BLOCK_BYTES);
  for (let at = 0; ; ) {
    const { bytesRead } = await file.read(block, 0, BLOCK_BYTES, at);
    if (bytesRead === 0) return;
    yield block.subarray(0, bytesRead);
    at += bytesRead;
  }
}

/** @param known in text, `-` is a category only where there is one of that name */
function recordedFileOf(
  record: OutputRecord,
  known: ReadonlySet<string>,
): { readonly file: string; readonly outcome: RecordedFile } | undefined {
  const { file, category, code, error } = record;
  if (typeof file !== 'string' || file === '') return undefined;
  if (typeof error === 'string' && error !== '') {
    return { file, outcome: { kind: 'broken', code: String(code), error } };
  }
  if (category === null || category === '' || (category === '-' && !known.has('-'))) {
    return { file, outcome: { kind: 'answered', category: null } };
  }
  if (typeof category !== 'string' || !known.has(category)) return undefined;
  return { file, outcome: { kind: 'answered', category } };
}

/** Whether a record that is not whole can be the beginning of one of ours. */
function mayBeCut(
  text: string,
  header: string | undefined,
  format: LineFormat,
  labels: ReadonlySet<string>,
): boolean {
  if (header !== undefined) return header.startsWith(text);
  switch (format.name) {
    case 'csv':
      return true;
    case 'json':
      return begins(text, '{"file":"');
    case 'text':
      return ['-', ...labels].some((label) =>
        begins(text, `${format.line({ category: label, file: '' }, fileTable).trimEnd()}\t`),
      );
  }
}

function begins(text: string, beginning: string): boolean {
  return text.startsWith(beginning) || beginning.startsWith(text);
}

function foreign(path: string, format: LineFormat): UsageError {
  return new UsageError(
    `${path} is there and was not written by this command as ${format.name}; it is left alone. Give another file, or the format that it has.`,
  );
}
