import {
  type AsyncBuffer,
  type FileMetaData,
  parquetMetadataAsync,
  parquetReadObjects,
  type SchemaElement,
} from 'hyparquet';
import { ByteWriter, parquetWriteRows, type Writer } from 'hyparquet-writer';
import type { OutputRecord } from '../output/line-format.ts';
import { UsageError } from '../usage-error.ts';
import type { Append, PlacedFile } from './place.ts';

/** Rows that are in memory together. */
const ROW_GROUP_ROWS = 10_000;

const text = (name: string, isRequired = false): SchemaElement => ({
  name,
  type: 'BYTE_ARRAY',
  converted_type: 'UTF8',
  logical_type: { type: 'STRING' },
  repetition_type: isRequired ? 'REQUIRED' : 'OPTIONAL',
});
const double = (name: string, isRequired = false): SchemaElement => ({
  name,
  type: 'DOUBLE',
  repetition_type: isRequired ? 'REQUIRED' : 'OPTIONAL',
});

const columns = [
  ...['file', 'category', 'categories', 'score', 'similarity', 'scores', 'code', 'error', 'more'],
] as const;
const typed = new Set<string>(columns);

/** `categories` is a list, `scores` a list of structures; `more` has the other keys of a record, as JSON. */
const schema: SchemaElement[] = [
  { name: 'root', num_children: columns.length },
  text('file', true),
  text('category'),
  { name: 'categories', converted_type: 'LIST', repetition_type: 'OPTIONAL', num_children: 1 },
  { name: 'list', repetition_type: 'REPEATED', num_children: 1 },
  text('element', true),
  double('score'),
  double('similarity'),
  { name: 'scores', converted_type: 'LIST', repetition_type: 'OPTIONAL', num_children: 1 },
  { name: 'list', repetition_type: 'REPEATED', num_children: 1 },
  { name: 'element', repetition_type: 'REQUIRED', num_children: 3 },
  text('category', true),
  double('score', true),
  double('similarity', true),
  text('code'),
  text('error'),
  { name: 'more', type: 'BYTE_ARRAY', converted_type: 'JSON', repetition_type: 'OPTIONAL' },
];

/** Writes records as Parquet, with Snappy. */
export async function writeParquet(records: AsyncIterable<OutputRecord>, append: Append): Promise<void> {
  const writer: Writer & { index: number } = new ByteWriter();
  const drain = async () => {
    await append(new Uint8Array(writer.buffer, 0, writer.index));
    writer.index = 0;
  };
  writer.flush = drain;
  writer.finish = drain;
  await parquetWriteRows({
    writer,
    rows: rowsOf(records),
    columns: columns.map((name) => ({ name })),
    schema,
    rowGroupSize: ROW_GROUP_ROWS,
    createdBy: 'classify-images',
  });
}

async function* rowsOf(records: AsyncIterable<OutputRecord>): AsyncGenerator<Record<string, unknown>> {
  for await (const record of records) {
    const more = Object.entries(record).filter(([key]) => !typed.has(key));
    const row = Object.fromEntries(columns.map((name) => [name, record[name] ?? null]));
    yield { ...row, more: more.length > 0 ? Object.fromEntries(more) : null };
  }
}

/**
 * Reads the records of a file that `writeParquet` has written.
 * @throws UsageError if it is another file
 */
export async function* readParquet(file: PlacedFile, path: string): AsyncGenerator<OutputRecord> {
  const buffer: AsyncBuffer = {
    byteLength: file.size,
    async slice(start, end = file.size) {
      const from = start < 0 ? file.size + start : start;
      const { buffer: bytes, byteOffset, byteLength } = await file.slice(from, end);
      return bytes.slice(byteOffset, byteOffset + byteLength) as ArrayBuffer;
    },
  };
  const metadata = await metadataOf(buffer, path);
  let rowStart = 0;
  for (const { num_rows } of metadata.row_groups) {
    const rowEnd = rowStart + Number(num_rows);
    for (const row of await parquetReadObjects({ file: buffer, metadata, rowStart, rowEnd })) {
      yield recordOf(row);
    }
    rowStart = rowEnd;
  }
}

async function metadataOf(buffer: AsyncBuffer, path: string): Promise<FileMetaData> {
  const metadata = await parquetMetadataAsync(buffer).catch((fault: unknown) => {
    throw new UsageError(`${path} is not a Parquet file: ${fault instanceof Error ? fault.message : fault}`);
  });
  const names = metadata.schema.map(({ name }) => name);
  if (names.join() === schema.map(({ name }) => name).join()) return metadata;
  throw new UsageError(`${path} was not written by this command: it has other columns.`);
}

/** An answer has no error, and a broken photo no category: Parquet has a null for each key that is missing. */
function recordOf({ file, code, error, more, ...answer }: Record<string, unknown>): OutputRecord {
  const others = typeof more === 'object' && more !== null ? more : {};
  if (error !== null && error !== undefined) return { file, code, error, ...others };
  const given = Object.entries(answer).filter(
    ([key, value]) => key === 'category' || (value !== null && value !== undefined),
  );
  return { file, category: null, ...Object.fromEntries(given), ...others };
}
