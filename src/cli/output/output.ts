import { open, rename, stat } from 'node:fs/promises';
import { errnoOf, reasonOf } from '../files/errno.ts';
import { UsageError } from '../usage-error.ts';
import { fileTable, type LineFormat, type OutputRecord, type Table } from './line-format.ts';
import {
  type AnsweringModel,
  type AskedQuestion,
  checkQuestion,
  keepProvenance,
  readProvenance,
} from './provenance.ts';
import { type RecordedFile, type RecordedFiles, readRecordedFiles } from './recorded-files.ts';

/** Where answers go, record by record. */
export interface Output extends AsyncDisposable {
  /** Resolves when the record is written as a whole. */
  write(record: OutputRecord): Promise<void>;
}

/** An output that knows what an earlier run has written into it. */
export interface ContinuedOutput extends Output {
  readonly recorded: ReadonlyMap<string, RecordedFile>;
  /**
   * To be told before an answer is written which model has given it.
   * @throws UsageError where the answers that are there are of another one
   */
  answeredBy(model: AnsweringModel): Promise<void>;
}

/** Writes to standard output. */
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
    async answeredBy() {},
    async [Symbol.asyncDispose]() {},
  };
}

/**
 * Appends to a file that may be there from an earlier run; a record that was cut off by its end is removed.
 * A second file beside it remembers what was asked.
 * @throws UsageError where the file is something else, answers something else, or cannot be written
 */
export async function continueOutput(
  path: string,
  format: LineFormat,
  asked: AskedQuestion,
): Promise<ContinuedOutput> {
  return await orUsageError(path, async () => {
    const present = await stat(path).catch(ignoreMissing);
    // A device or a pipe cannot be read back; reading one may never end.
    if (present && !present.isFile()) throw new UsageError(`${path} is no file; name one, or none at all.`);
    const then = await readProvenance(path);
    const { files, bytes }: RecordedFiles = present
      ? await readRecordedFiles(path, format, (then ?? asked).categories)
      : { files: new Map(), bytes: 0 };
    if (files.size > 0) checkQuestion(path, then, asked);
    const file = await open(path, 'a');
    // After it is open: what cannot be written is not cut, either.
    await file.truncate(bytes);
    const append = (text: string) => orUsageError(path, () => file.appendFile(text));
    const answeredBy = await keepProvenance(path, files.size > 0 ? then : undefined, asked);
    if (bytes === 0) await append(format.header(fileTable));
    return {
      recorded: files,
      async write(record) {
        const line = format.line(record, fileTable);
        if (line !== '') await append(line);
      },
      answeredBy: (model) => orUsageError(path, () => answeredBy(model)),
      async [Symbol.asyncDispose]() {
        await file.sync().catch(() => undefined);
        await file.close();
      },
    };
  });
}

/**
 * Writes all records at once into a file that is not there yet: it appears when it is whole.
 * @throws UsageError
 */
export async function writeOutput(
  path: string,
  format: LineFormat,
  table: Table,
  records: readonly OutputRecord[],
): Promise<void> {
  await orUsageError(path, async () => {
    await checkAbsent(path);
    const part = `${path}.part`;
    const lines = records.map((record) => format.line(record, table));
    await Bun.write(part, format.header(table) + lines.join(''));
    await rename(part, path);
  });
}

/** @throws UsageError */
export async function checkAbsent(path: string): Promise<void> {
  if ((await stat(path).catch(ignoreMissing)) === undefined) return;
  throw new UsageError(`${path} is there already; give another file, or remove it.`);
}

function ignoreMissing(fault: unknown): undefined {
  if (errnoOf(fault) !== 'ENOENT') throw fault;
}

async function orUsageError<T>(path: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (fault) {
    if (errnoOf(fault) === undefined) throw fault;
    throw new UsageError(`${path} cannot be written, because ${reasonOf(fault)}.`);
  }
}
