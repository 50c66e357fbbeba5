import { rm } from 'node:fs/promises';
import { errnoOf } from '../../errors.ts';
import { reasonOf } from '../files/errno.ts';
import { UsageError } from '../usage-error.ts';
import { claimFile, type ReservedFile, reserveFile } from './claim.ts';
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
 * A second file beside it remembers what was asked. Other runs are kept from both until it is disposed of.
 * @throws UsageError where the file is something else, answers something else, is being written by another run, or
 * cannot be written
 */
export async function continueOutput(
  path: string,
  format: LineFormat,
  asked: AskedQuestion,
): Promise<ContinuedOutput> {
  return await orUsageError(path, async () => {
    const { file, isNew } = await claimFile(path);
    try {
      const then = await readProvenance(path);
      const { files, bytes }: RecordedFiles = await readRecordedFiles(
        path,
        file,
        format,
        (then ?? asked).categories,
      );
      if (files.size > 0) checkQuestion(path, then, asked);
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
    } catch (fault) {
      if (isNew) await rm(path, { force: true });
      await file.close();
      throw fault;
    }
  });
}

/** Takes records that are all known at once. */
export interface ReservedOutput extends AsyncDisposable {
  /** The file has them all, or none of them. @throws UsageError */
  write(records: readonly OutputRecord[], format: LineFormat, table: Table): Promise<void>;
}

/**
 * Reserves a file that is not there yet, before the work begins: a second run is told at once.
 * @throws UsageError where it is there, or another run has reserved it, or it cannot be written
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
