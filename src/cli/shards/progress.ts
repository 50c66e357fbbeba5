import { type FileHandle, mkdir, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import * as v from 'valibot';
import { errnoOf } from '../../errors.ts';
import { claimFile, folderFault } from '../output/claim.ts';
import { fileTable, lineFormats, type OutputRecord } from '../output/line-format.ts';
import { type AnsweringModel, checkModel, modelSchema } from '../output/provenance.ts';
import type { Done, Member } from '../sources/sources.ts';
import { StorageError } from '../storage/storage.ts';
import { reasonOf, UsageError } from '../usage-error.ts';
import { linesOf, type Place } from './place.ts';

// What a shard has answered so far is a log of lines: a word, a tab, and JSON. Beside a part on this computer the log is
// one file, so a killed worker loses only the photos that it was looking at. In object storage, where nothing can be
// appended, it is several objects, each with what has come in half a minute.
//
//   run	{…}                     what is asked; the first line of each object, and the archive that is being read
//   model	{…}                   which model answers
//   tar	["ARCHIVE","STAMP"]     the archive begins: members after it are of this one
//   member	PLACE	{record}       of that archive
//   photo	{record}              of no archive
//   done	"ARCHIVE"
//
// A worker that begins again reads all of it, so that records are only parsed when the part is written.

/** Appends lines to a log, and reads all of them. */
interface Log extends AsyncDisposable {
  /** Those of earlier runs and of this one, in their order, many at a time. */
  lines(): AsyncGenerator<readonly string[]>;
  append(lines: readonly string[]): Promise<void>;
  /** Makes what was appended survive a power failure. */
  sync(): Promise<void>;
  remove(): Promise<void>;
}

type Line =
  | { readonly kind: 'run'; readonly run: string }
  | { readonly kind: 'model'; readonly model: AnsweringModel }
  | { readonly kind: 'tar'; readonly archive: string; readonly stamp: string }
  | { readonly kind: 'member'; readonly place: number; readonly json: string }
  | { readonly kind: 'photo'; readonly file: string; readonly json: string }
  | { readonly kind: 'done'; readonly archive: string };

/** What is known about an archive. */
interface ArchiveProgress {
  readonly stamp: string;
  /** The places of the members that are recorded. */
  readonly places: Set<number>;
  isDone: boolean;
  /** Records of the archive before this one are of another version of it. */
  readonly firstRecord: number;
  /** How each record of a member begins. */
  readonly firstFile: string;
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
  /** Records, by their number, that repeat an earlier one: two workers had the same shard for a while. */
  const repeated = new Set<number>();
  let recordCount = 0;
  /** The archive whose members are recorded. */
  let latest: ArchiveProgress | undefined;
  let recorded = 0;
  let model: AnsweringModel | undefined;

  /** @returns false for a record that is known already */
  const take = (line: Line): boolean => {
    switch (line.kind) {
      case 'run':
        return true;
      case 'model':
        model = line.model;
        return true;
      case 'tar': {
        const { archive, stamp } = line;
        const known = archives.get(archive);
        if (known?.stamp !== stamp) {
          recorded -= known?.places.size ?? 0;
          const firstFile = `{"file":${JSON.stringify(archive).slice(0, -1)}`;
          archives.set(archive, {
            stamp,
            places: new Set(),
            isDone: false,
            firstRecord: recordCount,
            firstFile,
          });
        }
        latest = archives.get(archive);
        return true;
      }
      case 'done': {
        const known = archives.get(line.archive);
        if (known) known.isDone = true;
        return true;
      }
      case 'member':
      case 'photo': {
        const at = recordCount;
        recordCount += 1;
        // Where locks do not work, lines of two workers may be mixed: then this one is of another archive.
        const isMixed = line.kind === 'member' && !line.json.startsWith(latest?.firstFile ?? ' ');
        const [places, key]: readonly [Set<unknown> | undefined, unknown] =
          line.kind === 'member' ? [latest?.places, line.place] : [photos, line.file];
        if (!places || isMixed || places.has(key)) {
          repeated.add(at);
          return false;
        }
        places.add(key);
        recorded += 1;
        return true;
      }
    }
  };
  const append = (line: Line) => log.append([textOf(line)]);

  try {
    let isBegun = false;
    for await (const texts of log.lines()) {
      for (const text of texts) {
        const line = parseLine(text);
        if (line === undefined || !(isBegun || line.kind === 'run')) throw foreign(place, name);
        if (line.kind === 'run' && line.run !== run) refuse(line.run);
        isBegun = true;
        if (line.kind === 'model' && model) checkModel(place.pathOf(name), model, line.model);
        take(line);
      }
    }
    if (!isBegun) await append({ kind: 'run', run });
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
      take({ kind: 'model', model: now });
      await append({ kind: 'model', model: now });
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
    async beginArchive(archive, stamp) {
      take({ kind: 'tar', archive, stamp });
      await append({ kind: 'tar', archive, stamp });
    },
    async endArchive(archive) {
      take({ kind: 'done', archive });
      await append({ kind: 'done', archive });
      await log.sync();
    },
    async record(records) {
      const lines = records.flatMap(([record, member]): Line[] => {
        // The file first: it proves which archive a line is of.
        const json = JSON.stringify({ file: record.file, ...record });
        const line: Line = member
          ? { kind: 'member', place: member.place, json }
          : { kind: 'photo', file: String(record.file), json };
        if (take(line)) return [line];
        // It is not written, so it has no number.
        recordCount -= 1;
        repeated.delete(recordCount);
        return [];
      });
      if (lines.length > 0) await log.append(lines.map(textOf));
    },
    async *records() {
      let at = -1;
      let isOld = false;
      for await (const texts of log.lines()) {
        for (const text of texts) {
          const line = parseLine(text);
          if (line === undefined) throw foreign(place, name);
          if (line.kind === 'tar') {
            const known = archives.get(line.archive);
            isOld = known?.stamp !== line.stamp || at + 1 < known.firstRecord;
          }
          if (line.kind !== 'member' && line.kind !== 'photo') continue;
          at += 1;
          if (repeated.has(at) || (line.kind === 'member' && isOld)) continue;
          const record = lineFormats.json.parse(line.json, fileTable);
          if (record === undefined) throw foreign(place, name);
          yield record;
        }
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

function textOf(line: Line): string {
  switch (line.kind) {
    case 'run':
      return `run\t${line.run}`;
    case 'model':
      return `model\t${JSON.stringify(line.model)}`;
    case 'tar':
      return `tar\t${JSON.stringify([line.archive, line.stamp])}`;
    case 'member':
      return `member\t${line.place}\t${line.json}`;
    case 'photo':
      return `photo\t${line.json}`;
    case 'done':
      return `done\t${JSON.stringify(line.archive)}`;
  }
}

const tarSchema = v.pipe(v.string(), v.parseJson(), v.tuple([v.string(), v.string()]));
const fileSchema = v.pipe(v.string(), v.parseJson(), v.looseObject({ file: v.string() }));
const lineModelSchema = v.pipe(v.string(), v.parseJson(), modelSchema);
const doneSchema = v.pipe(v.string(), v.parseJson(), v.string());

/** @returns undefined if the text is not a line of a log */
function parseLine(text: string): Line | undefined {
  const tab = text.indexOf('\t');
  const kind = text.slice(0, tab);
  const json = text.slice(tab + 1);
  switch (kind) {
    case 'member': {
      const end = json.indexOf('\t');
      const place = Number(json.slice(0, end));
      return end > 0 && Number.isInteger(place) ? { kind, place, json: json.slice(end + 1) } : undefined;
    }
    case 'photo': {
      const parsed = v.safeParse(fileSchema, json);
      return parsed.success ? { kind, file: parsed.output.file, json } : undefined;
    }
    case 'tar': {
      const parsed = v.safeParse(tarSchema, json);
      return parsed.success ? { kind, archive: parsed.output[0], stamp: parsed.output[1] } : undefined;
    }
    case 'done': {
      const parsed = v.safeParse(doneSchema, json);
      return parsed.success ? { kind, archive: parsed.output } : undefined;
    }
    case 'model': {
      const parsed = v.safeParse(lineModelSchema, json);
      return parsed.success ? { kind, model: parsed.output } : undefined;
    }
    case 'run':
      return { kind, run: json };
    default:
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
  /** The line of the archive that the first of the waiting lines are of. */
  let archive: readonly string[] = [];
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
    const head = [textOf({ kind: 'run', run }), ...archive];
    await place.write(segment, (append) => append(`${[...head, ...lines].join('\n')}\n`));
    segments.push(segment);
    const latest = lines.findLast((line) => line.startsWith('tar\t'));
    if (latest !== undefined) archive = [latest];
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
      yield [...archive, ...waiting];
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
