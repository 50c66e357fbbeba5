import { type FileHandle, mkdir, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import * as v from 'valibot';
import { errnoOf } from '../../errors.ts';
import { claimFile, folderFault } from '../output/claim.ts';
import type { OutputRecord } from '../output/line-format.ts';
import { type AnsweringModel, checkModel, modelSchema } from '../output/provenance.ts';
import type { Done, Member } from '../sources/sources.ts';
import { StorageError } from '../storage/storage.ts';
import { reasonOf, UsageError } from '../usage-error.ts';
import { linesOf, type Place } from './place.ts';

// What a shard has answered so far is a log of JSON lines: the run, archives that begin and end, and records. Beside a
// part on this computer the log is one file, so a killed worker loses only the photos that it was looking at. In
// object storage, where nothing can be appended, it is several objects, each with what has come in half a minute.

/** Appends lines to a log, and reads all of them. */
interface Log extends AsyncDisposable {
  /** Those of earlier runs and of this one, in their order. */
  lines(): AsyncGenerator<string>;
  append(lines: readonly string[]): Promise<void>;
  /** Makes what was appended survive a power failure. */
  sync(): Promise<void>;
  remove(): Promise<void>;
}

const lineSchema = v.union([
  v.object({ run: v.string() }),
  v.object({ model: modelSchema }),
  v.object({ record: v.looseObject({ file: v.string() }), tar: v.string(), at: v.number() }),
  v.object({ record: v.looseObject({ file: v.string() }) }),
  v.object({ tar: v.string(), stamp: v.string() }),
  v.object({ tar: v.string(), done: v.literal(true) }),
]);
type Line = v.InferOutput<typeof lineSchema>;

/** What is known about an archive. */
interface ArchiveProgress {
  readonly stamp: string;
  /** The places of the members that are recorded. */
  readonly places: Set<number>;
  isDone: boolean;
  /** Records of the archive in earlier lines are of another version of it. */
  readonly firstLine: number;
}

export interface ShardProgress extends Done, AsyncDisposable {
  /** How many records earlier runs have left. */
  readonly recorded: number;
  readonly model: AnsweringModel | undefined;
  /** To be called before a record of the model. @throws UsageError if the earlier records are of another model */
  answeredBy(model: AnsweringModel): Promise<void>;
  beginArchive(archive: string, stamp: string): Promise<void>;
  endArchive(archive: string): Promise<void>;
  /** Records in their order; what is recorded already is passed over. */
  record(records: readonly (readonly [record: OutputRecord, member: Member | undefined])[]): Promise<void>;
  /** All records, each once. */
  records(): AsyncGenerator<OutputRecord>;
  /** To be called when the part is complete. */
  remove(): Promise<void>;
}

interface ProgressOptions {
  readonly place: Place;
  /** The part's name. */
  readonly name: string;
  /** Text that is the same in every run of the shard. */
  readonly run: string;
  /** Says how the earlier run was different. @throws UsageError */
  readonly refuse: (earlierRun: string) => never;
  /** How long object storage may lag behind. */
  readonly lagMs?: number;
}

/**
 * Opens the progress of a shard, which is beside its part.
 * @throws UsageError if another run is writing it, or if it is of another run
 */
export async function openProgress(options: ProgressOptions): Promise<ShardProgress> {
  const { place, name, run, refuse } = options;
  const log =
    place.folder === undefined ? await openStoredLog(options) : await openLogFile(place, logName(name));
  const archives = new Map<string, ArchiveProgress>();
  const photos = new Set<string>();
  /** Lines that repeat an earlier record: two workers had the same shard for a while. */
  const repeated = new Set<number>();
  let lineCount = 0;
  let recorded = 0;
  let model: AnsweringModel | undefined;

  /** @returns whether the line counts */
  const take = (line: Line): boolean => {
    // Each object of a log in object storage begins with the run, so these lines are not counted.
    if ('run' in line) return true;
    if ('model' in line) model = line.model;
    const at = lineCount;
    lineCount += 1;
    if ('model' in line) return true;
    if ('stamp' in line) {
      const known = archives.get(line.tar);
      if (known?.stamp !== line.stamp) {
        recorded -= known?.places.size ?? 0;
        archives.set(line.tar, { stamp: line.stamp, places: new Set(), isDone: false, firstLine: at });
      }
      return true;
    }
    if ('done' in line) {
      const known = archives.get(line.tar);
      if (known) known.isDone = true;
      return true;
    }
    const [known, key] =
      'tar' in line ? [archives.get(line.tar)?.places, line.at] : [photos, line.record.file];
    const places: Set<unknown> | undefined = known;
    if (!places || places.has(key)) {
      repeated.add(at);
      return false;
    }
    places.add(key);
    recorded += 1;
    return true;
  };

  try {
    let isBegun = false;
    for await (const text of log.lines()) {
      const line = parseLine(text);
      if (line === undefined || !(isBegun || 'run' in line)) throw foreign(place, name);
      if ('run' in line && line.run !== run) refuse(line.run);
      isBegun = true;
      if ('model' in line && model) checkModel(place.pathOf(name), model, line.model);
      take(line);
    }
    if (!isBegun) await log.append([JSON.stringify({ run })]);
  } catch (fault) {
    await log[Symbol.asyncDispose]();
    throw fault;
  }

  return {
    get recorded() {
      return recorded;
    },
    get model() {
      return model;
    },
    async answeredBy({ name: modelName, precision, sha256 }) {
      const now = { name: modelName, precision, sha256 };
      if (model) return checkModel(place.pathOf(name), model, now);
      take({ model: now });
      await log.append([JSON.stringify({ model: now })]);
    },
    isArchiveDone(archive, stamp) {
      const known = archives.get(archive);
      return known?.stamp === stamp && known.isDone;
    },
    hasMember(archive, stamp, at) {
      const known = archives.get(archive);
      return known?.stamp === stamp && known.places.has(at);
    },
    hasPhoto: (file) => photos.has(file),
    async beginArchive(tar, stamp) {
      take({ tar, stamp });
      await log.append([JSON.stringify({ tar, stamp })]);
    },
    async endArchive(tar) {
      take({ tar, done: true });
      await log.append([JSON.stringify({ tar, done: true })]);
      await log.sync();
    },
    async record(records) {
      const lines = records.flatMap(([record, member]) => {
        const line = {
          ...(member && { tar: member.archive, at: member.place }),
          record: { ...record, file: String(record.file) },
        };
        if (take(line)) return [JSON.stringify(line)];
        // It is not written, so it has no line.
        lineCount -= 1;
        repeated.delete(lineCount);
        return [];
      });
      if (lines.length > 0) await log.append(lines);
    },
    async *records() {
      let at = -1;
      for await (const text of log.lines()) {
        const line = parseLine(text);
        if (line === undefined) throw foreign(place, name);
        if (!('run' in line)) at += 1;
        if (!('record' in line) || repeated.has(at)) continue;
        if ('tar' in line && at < (archives.get(line.tar)?.firstLine ?? 0)) continue;
        yield line.record;
      }
    },
    remove: () => log.remove(),
    [Symbol.asyncDispose]: () => log[Symbol.asyncDispose](),
  };
}

/** Beginning with an underscore: Spark, Hadoop and others do not take it for data. */
export function logName(part: string): string {
  return `_${part}.progress`;
}

function parseLine(text: string): Line | undefined {
  try {
    const parsed = v.safeParse(lineSchema, JSON.parse(text));
    return parsed.success ? parsed.output : undefined;
  } catch {
    return undefined;
  }
}

function foreign(place: Place, name: string): UsageError {
  return new UsageError(
    `${place.pathOf(logName(name))} exists and was not written by this command, or is damaged. Remove it to begin this shard anew, or use another --output.`,
  );
}

/** Other runs are locked out until the log is closed. */
async function openLogFile(place: Place, name: string): Promise<Log> {
  const path = place.pathOf(name);
  const folder = dirname(path);
  await mkdir(folder, { recursive: true }).catch((fault: unknown) => {
    throw folderFault(folder, fault);
  });
  const orUsageError = async <T>(work: () => Promise<T>): Promise<T> => {
    try {
      return await work();
    } catch (fault) {
      if (errnoOf(fault) === undefined) throw fault;
      throw new UsageError(`${path} cannot be written, because ${reasonOf(fault)}.`);
    }
  };
  const { file } = await orUsageError(() => claimFile(path));
  try {
    await file.truncate(await completeBytes(file));
  } catch (fault) {
    await file.close();
    throw fault;
  }
  return {
    async *lines() {
      const found = await place.find(name);
      if (found) yield* linesOf(found);
    },
    append: (lines) => orUsageError(() => file.appendFile(`${lines.join('\n')}\n`)),
    sync: () => orUsageError(() => file.sync()),
    async remove() {
      await rm(path, { force: true });
    },
    async [Symbol.asyncDispose]() {
      await file.close();
    },
  };
}

const BLOCK_BYTES = 64 * 1024;
const LINE_FEED = 0x0a;

/** The length up to the last line feed: a killed run may have left a part of a line, a power failure zeros. */
async function completeBytes(file: FileHandle): Promise<number> {
  const { size } = await file.stat();
  const block = Buffer.alloc(BLOCK_BYTES);
  for (let end = size; end > 0; ) {
    const start = Math.max(0, end - BLOCK_BYTES);
    const { bytesRead } = await file.read(block, 0, end - start, start);
    const at = block.subarray(0, bytesRead).lastIndexOf(LINE_FEED);
    if (at !== -1) return start + at + 1;
    end = start;
  }
  return 0;
}

const LAG_MS = 30_000;
const MAX_WAITING_CHARACTERS = 4 * 1024 * 1024;

/** Objects whose names begin alike. Those that another worker adds meanwhile are not read. */
async function openStoredLog({ place, name, run, lagMs = LAG_MS }: ProgressOptions): Promise<Log> {
  const prefix = `${logName(name)}/`;
  // Names end with a time, so that they are in the order in which they were written.
  const segments = (await place.names()).filter((one) => one.startsWith(prefix)).toSorted();
  let waiting: string[] = [];
  let characters = 0;
  let sinceMs = performance.now();
  const flush = async () => {
    if (waiting.length === 0) return;
    const lines = waiting;
    waiting = [];
    characters = 0;
    sinceMs = performance.now();
    const time = String(Date.now()).padStart(14, '0');
    const segment = `${prefix}${time}-${crypto.randomUUID().slice(0, 8)}`;
    await place.write(segment, (append) => append(`${JSON.stringify({ run })}\n${lines.join('\n')}\n`));
    segments.push(segment);
  };
  return {
    async *lines() {
      for (const segment of segments) {
        const found = await place.find(segment);
        if (!found) {
          throw new StorageError(
            `${place.pathOf(segment)} is gone: another worker had the same shard.`,
            true,
          );
        }
        yield* linesOf(found);
      }
      yield* waiting;
    },
    async append(lines) {
      waiting.push(...lines);
      characters += lines.reduce((sum, line) => sum + line.length, 0);
      if (characters > MAX_WAITING_CHARACTERS || performance.now() - sinceMs >= lagMs) await flush();
    },
    async sync() {},
    async remove() {
      for (const segment of (await place.names()).filter((one) => one.startsWith(prefix))) {
        await place.remove(segment);
      }
      waiting = [];
    },
    async [Symbol.asyncDispose]() {
      await flush().catch((fault: unknown) => {
        // What led here is the fault to tell. The next run looks at these photos again.
        if (!(fault instanceof StorageError)) throw fault;
      });
    },
  };
}
