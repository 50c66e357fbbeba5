import * as v from 'valibot';
import { lineFormats, type OutputRecord } from '../output/line-format.ts';
import { modelSchema } from '../output/provenance.ts';
import { UsageError } from '../usage-error.ts';
import { type Append, linesOf, type Place, readText, writeText } from './place.ts';
import { isPartName, type PartFormat } from './shard.ts';

/** What is asked of which shard. Parts whose runs differ in the shard's index alone belong together. */
export const runSchema = v.object({
  /** The question, and the folder that paths are relative to, as in `FILE.question.json` of other outputs. */
  question: v.looseObject({ categories: v.array(v.string()), templates: v.nullable(v.array(v.string())) }),
  /** The paths of the command line. */
  photos_of: v.array(v.string()),
  shard: v.object({ index: v.number(), count: v.number() }),
});
export type Run = v.InferOutput<typeof runSchema>;

const manifestSchema = v.object({
  ...runSchema.entries,
  /** null: the shard has no photos. */
  model: v.nullable(modelSchema),
  /** How many records the part has, and how many of them are errors. */
  photos: v.number(),
  errors: v.number(),
});
export type Manifest = v.InferOutput<typeof manifestSchema>;

/** Beginning with an underscore: Spark, Hadoop and others do not take it for data. */
function manifestName(part: string): string {
  return `_${part}.question.json`;
}

/**
 * Writes a part. It is visible when it is complete.
 * @param manifest without the counts
 * @returns the manifest
 */
export async function writePart(
  place: Place,
  name: string,
  records: AsyncIterable<OutputRecord>,
  manifest: Omit<Manifest, 'photos' | 'errors'>,
): Promise<Manifest> {
  const counts = { photos: 0, errors: 0 };
  async function* counted() {
    for await (const record of records) {
      counts.photos += 1;
      if (typeof record.error === 'string') counts.errors += 1;
      yield record;
    }
  }
  let whole: Manifest = { ...manifest, ...counts };
  await place.write(name, async (append) => {
    await writers[formatOf(name)](counted(), append);
    whole = { ...manifest, ...counts };
    // First, because a part that is visible is complete only with it.
    await writeText(place, manifestName(name), `${JSON.stringify(whole)}\n`);
  });
  return whole;
}

/** By the name's ending. */
export function formatOf(name: string): PartFormat {
  return /\.parquet$/i.test(name) ? 'parquet' : 'jsonl';
}

/** Loaded when it is needed: the library takes a twentieth of the start of a worker, most of which write JSON lines. */
const loadParquet = () => import('./parquet.ts');

const writers = {
  async parquet(records: AsyncIterable<OutputRecord>, append: Append) {
    const { writeParquet } = await loadParquet();
    await writeParquet(records, append);
  },
  async jsonl(records: AsyncIterable<OutputRecord>, append: Append) {
    for await (const record of records)
      await append(lineFormats.json.line(record, { columns: [], words: [] }));
  },
} as const;

/**
 * @returns undefined if the part does not exist
 * @throws UsageError if it has no manifest: it was not written by this command
 */
export async function readManifest(place: Place, name: string): Promise<Manifest | undefined> {
  if ((await place.find(name)) === undefined) return undefined;
  const text = await readText(place, manifestName(name));
  const parsed = v.safeParse(v.pipe(v.string(), v.parseJson(), manifestSchema), text);
  if (parsed.success) return parsed.output;
  const path = place.pathOf(manifestName(name));
  const what = text === undefined ? 'is missing' : 'was not written by this command';
  throw new UsageError(
    `${place.pathOf(name)} exists, but ${path}, which says what it has, ${what}. Use another --output, or remove the part.`,
  );
}

/** @throws UsageError if the part is missing or is not of this command */
export async function* readPart(place: Place, name: string): AsyncGenerator<OutputRecord> {
  const file = await place.find(name);
  if (!file) throw new UsageError(`${place.pathOf(name)} does not exist.`);
  if (formatOf(name) === 'parquet') {
    const { readParquet } = await loadParquet();
    return yield* readParquet(file, place.pathOf(name));
  }
  const { parse } = lineFormats.json;
  for await (const lines of linesOf(file)) {
    for (const line of lines) {
      const record = parse(line, { columns: [], words: [] });
      if (record) yield record;
      else throw new UsageError(`${place.pathOf(name)} has a line that is not a JSON object.`);
    }
  }
}

/** The parts in a folder, in the order of their shards. */
export async function partNames(place: Place): Promise<readonly string[]> {
  return (await place.names()).filter(isPartName);
}
