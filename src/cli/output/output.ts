import { type FileHandle, rm } from 'node:fs/promises';
import { errnoOf } from '../../errors.ts';
import { reasonOf, UsageError } from '../usage-error.ts';
import { claimFile, type ReservedFile, replaceClaimed, reserveFile } from './claim.ts';
import {
  fileTable,
  type LineFormat,
  type OutputRecord,
  severalTable,
  splitList,
  type Table,
} from './line-format.ts';
import {
  type AnsweringModel,
  type AskedQuestion,
  checkQuestion,
  keepProvenance,
  readProvenance,
} from './provenance.ts';
import { openSeenFiles } from './seen-files.ts';

/** An output that may have answers of an earlier run. */
export interface ContinuedOutput extends AsyncDisposable {
  write(record: OutputRecord): Promise<void>;
  readonly recorded: ReadonlyMap<string, RecordedFile>;
  /** To be called with the files that are to be answered, before they are read. */
  observe(files: readonly string[]): Promise<void>;
  /**
   * To be called with the answering model before an answer is written.
   * @throws UsageError if the earlier answers are of another model
   */
  answeredBy(model: AnsweringModel): Promise<void>;
}

export async function openStandardOutput(
  print: (text: string) => Promise<void>,
  format: LineFormat,
  table: Table,
): Promise<ContinuedOutput> {
  const header = format.header(table);
  if (header !== '') await print(header);
  return {
    recorded: new Map(),
    async write(record) {
      const line = format.line(record, table);
      if (line !== '') await print(line);
    },
    async observe() {},
    async answeredBy() {},
    async [Symbol.asyncDispose]() {},
  };
}

/**
 * Appends to a file that may exist from an earlier run. An incomplete last record is removed, and so are the records of
 * files that have changed or are other files now. Files beside it store the question and what each file was. Other runs are locked out of both until disposed.
 * @throws UsageError if the file was not written by this command, answers another question, is being written by
 * another run, or cannot be written
 */
export async function continueOutput(
  path: string,
  format: LineFormat,
  asked: AskedQuestion,
): Promise<ContinuedOutput> {
  return await orUsageError(path, async () => {
    const claimed = await claimFile(path);
    let { file } = claimed;
    await using held = new AsyncDisposableStack();
    held.defer(async () => {
      await file.sync().catch(() => undefined);
      await file.close();
    });
    try {
      const then = await readProvenance(path);
      const { categories, several } = then ?? asked;
      const earlier = { format, labels: categories, table: several ? severalTable : fileTable };
      const { files, bytes } = await readRecordedFiles(path, file, earlier);
      if (files.size > 0) checkQuestion(path, then, asked);
      const table = asked.several ? severalTable : fileTable;
      await file.truncate(bytes);
      const seen = held.use(await openSeenFiles(path));
      const changed = await seen.changed(files.keys());
      if (changed.size > 0) {
        for (const name of changed) files.delete(name);
        // First: a record of a file that is not among the seen ones is removed by the next run.
        await seen.keep(files.keys());
        const { file: replaced } = await replaceClaimed(path, (append) =>
          keepRecords(file, { format, table, isKept: (name) => !changed.has(name) }, append),
        );
        await file.close();
        file = replaced;
      }
      const append = (text: string) => orUsageError(path, () => file.appendFile(text));
      const answeredBy = await keepProvenance(path, files.size > 0 ? then : undefined, asked);
      if ((await file.stat()).size === 0) await append(format.header(table));
      const kept = held.move();
      return {
        recorded: files,
        observe: (names) => seen.observe(names),
        async write(record) {
          const line = format.line(record, table);
          if (line === '') return;
          if (typeof record.file === 'string')
            await orUsageError(path, () => seen.remember(String(record.file)));
          await append(line);
        },
        answeredBy: (model) => orUsageError(path, () => answeredBy(model)),
        [Symbol.asyncDispose]: () => kept.disposeAsync(),
      };
    } catch (fault) {
      if (claimed.isNew) await rm(path, { force: true });
      throw fault;
    }
  });
}

/** Copies the header and the records of files that are kept. */
async function keepRecords(
  file: FileHandle,
  {
    format,
    table,
    isKept,
  }: {
    readonly format: LineFormat;
    readonly table: Table;
    readonly isKept: (file: string) => boolean;
  },
  append: (text: string) => Promise<void>,
): Promise<void> {
  let isHeader = format.header(table) !== '';
  for await (const { text } of splitRecords(contentOf(file), format.isQuoted)) {
    const name = isHeader ? undefined : format.parse(text, table)?.file;
    if (typeof name !== 'string' || isKept(name)) await append(`${text}\n`);
    isHeader = false;
  }
}

export interface ReservedOutput extends AsyncDisposable {
  /** Writes all records or none. @throws UsageError */
  write(records: readonly OutputRecord[], format: LineFormat, table: Table): Promise<void>;
}

/**
 * Reserves a new file before the work begins, so that a second run fails at once.
 * @throws UsageError if it exists, another run has reserved it, or it cannot be written
 */
export async function reserveOutput(path: string): Promise<ReservedOutput> {
  const reserved: ReservedFile = await orUsageError(path, () => reserveFile(path));
  return {
    async write(records, format, table) {
      const lines = records.map((record) => format.line(record, table));
      await orUsageError(path, () => reserved.write(format.header(table) + lines.join('')));
    },
    [Symbol.asyncDispose]: () => reserved[Symbol.asyncDispose](),
  };
}

async function orUsageError<T>(path: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (fault) {
    if (errnoOf(fault) === undefined) throw fault;
    throw new UsageError(`${path} cannot be written, because ${reasonOf(fault)}.`);
  }
}

/** A record without its line feed, and where the next one begins, in bytes. */
interface SplitRecord {
  readonly text: string;
  readonly end: number;
}

const LINE_FEED = 0x0a;
const QUOTE = 0x22;

/**
 * Splits a file into its records. An incomplete record at the end has an undefined `end`.
 * @param isQuoted whether line feeds within double quotes belong to the record
 */
export async function* splitRecords(
  chunks: AsyncIterable<Uint8Array>,
  isQuoted: boolean,
): AsyncGenerator<SplitRecord | { readonly text: string; readonly end: undefined }> {
  // A record may begin with U+FEFF, which is not a byte order mark there.
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

/** What an earlier run has recorded about a file. */
type RecordedFile =
  | { readonly kind: 'answered'; readonly categories: readonly string[] }
  | { readonly kind: 'broken'; readonly code: string; readonly error: string };

interface RecordedFiles {
  /** By path. */
  readonly files: Map<string, RecordedFile>;
  /** The length of the complete records: the next record goes there. */
  readonly bytes: number;
}

/** How the earlier run has written its records. */
interface Earlier {
  readonly format: LineFormat;
  readonly table: Table;
  /** Its categories. */
  readonly labels: readonly string[];
}

/**
 * Reads the records of an earlier run, even if it was killed within one. Content that this command would not write
 * is refused, so that no other file is mistaken for an output.
 * @param path for the error message
 * @throws UsageError
 */
async function readRecordedFiles(path: string, file: FileHandle, earlier: Earlier): Promise<RecordedFiles> {
  const { format, table, labels } = earlier;
  const files = new Map<string, RecordedFile>();
  const known = new Set(labels);
  const header = format.header(table);
  let bytes = 0;
  let expectsHeader = header !== '';
  for await (const { text, end } of splitRecords(contentOf(file), format.isQuoted)) {
    if (end === undefined) {
      if (mayBeCut(text, expectsHeader ? header : undefined, earlier)) break;
      throw foreign(path, format);
    }
    if (expectsHeader) {
      if (`${text}\n` !== header) throw foreign(path, format);
      expectsHeader = false;
    } else {
      const record = format.parse(text, table);
      const recorded = record && recordedFileOf(record, table, known);
      if (!recorded) throw foreign(path, format);
      files.set(recorded.file, recorded.outcome);
    }
    bytes = end;
  }
  return { files, bytes };
}

const BLOCK_BYTES = 64 * 1024;

/** The whole file, independent of its write position. It stays open. */
async function* contentOf(file: FileHandle): AsyncGenerator<Uint8Array> {
  const block = Buffer.allocUnsafe(BLOCK_BYTES);
  for (let at = 0; ; ) {
    const { bytesRead } = await file.read(block, 0, BLOCK_BYTES, at);
    if (bytesRead === 0) return;
    yield block.subarray(0, bytesRead);
    at += bytesRead;
  }
}

/** @param known the categories; in text, `-` means none unless a category has that name */
function recordedFileOf(
  record: OutputRecord,
  table: Table,
  known: ReadonlySet<string>,
): { readonly file: string; readonly outcome: RecordedFile } | undefined {
  const { file, category, categories, code, error } = record;
  if (typeof file !== 'string' || file === '') return undefined;
  if (typeof error === 'string' && error !== '') {
    return { file, outcome: { kind: 'broken', code: String(code), error } };
  }
  if (table === severalTable) {
    const listed = typeof categories === 'string' ? splitList(categories) : categories;
    const isList = Array.isArray(listed) && listed.every((label) => known.has(label));
    return isList ? { file, outcome: { kind: 'answered', categories: listed } } : undefined;
  }
  if (category === null || category === '' || (category === '-' && !known.has('-'))) {
    return { file, outcome: { kind: 'answered', categories: [] } };
  }
  if (typeof category !== 'string' || !known.has(category)) return undefined;
  return { file, outcome: { kind: 'answered', categories: [category] } };
}

/** Whether an incomplete record can be the beginning of one that this command writes. */
function mayBeCut(text: string, header: string | undefined, { format, table, labels }: Earlier): boolean {
  if (header !== undefined) return header.startsWith(text);
  switch (format.name) {
    case 'csv':
      return true;
    case 'json':
      return begins(text, '{"file":"');
    case 'text':
      // Of several categories, the first one.
      return [null, ...labels].some((category) => {
        const record = { category, categories: category === null ? [] : [category], file: '' };
        const beginning = format.line(record, table).trimEnd();
        return begins(text, table === severalTable ? beginning : `${beginning}\t`);
      });
  }
}

function begins(text: string, beginning: string): boolean {
  return text.startsWith(beginning) || beginning.startsWith(text);
}

function foreign(path: string, format: LineFormat): UsageError {
  return new UsageError(
    `${path} exists and was not written by this command as ${format.name}; it stays unchanged. Name another file, or use the format that it has.`,
  );
}
