import { isAbsolute } from 'node:path';
import * as v from 'valibot';
import { type Config, parseStorageConfig } from '../../config.ts';
import { invariant } from '../../errors.ts';
import type { Answers, FileOutcome } from '../answers/answers.ts';
import { isPassing } from '../answers/fault-watch.ts';
import { InUseError } from '../output/claim.ts';
import { fileTable, lineFormats, type OutputRecord, severalTable } from '../output/line-format.ts';
import { type AnsweringModel, askedQuestion, checkQuestion } from '../output/provenance.ts';
import { type Run, readManifest, runSchema, writePart } from '../shards/part.ts';
import { openPlace, splitPath } from '../shards/place.ts';
import { openProgress, type ShardProgress } from '../shards/progress.ts';
import { partName, type Shard } from '../shards/shard.ts';
import { type Done, type Member, photosOf, type Step } from '../sources/sources.ts';
import { isStorageUrl, openStorage, type Storage, StorageError } from '../storage/storage.ts';
import { count, createProgress } from '../terminal.ts';
import { UsageError } from '../usage-error.ts';
import { reportLeftOut, type TaskParts } from './task.ts';

interface ShardParts extends TaskParts {
  readonly config: Pick<Config, 'limits'>;
}

/** Where the answers of a shard go. */
interface Sink {
  readonly done: Done;
  answeredBy(model: AnsweringModel): Promise<void>;
  beginArchive(archive: string, stamp: string): Promise<void>;
  endArchive(archive: string): Promise<void>;
  record(records: readonly (readonly [record: OutputRecord, member: Member | undefined])[]): Promise<void>;
}

/**
 * Finds the category of each photo of a shard, in folders, tar files and object storage. Photos that cannot be read
 * now are left for the next run; a part is only written when none is left.
 */
export async function classifyShard(parts: ShardParts): Promise<void> {
  const { command, tally, signal } = parts;
  try {
    if (command.output === undefined) await answerPhotos(parts, printingSink(parts));
    else await writeShard(parts, command.output);
  } catch (fault) {
    signal.throwIfAborted();
    if (fault instanceof InUseError) tally.leave(command.output ?? '', fault.message);
    else if (!(fault instanceof StorageError)) throw fault;
    else if (fault.isPassing) tally.leave('Object storage', fault.message);
    else throw new UsageError(fault.message);
  }
}

async function writeShard(parts: ShardParts, output: string): Promise<void> {
  const { command, categories, terminal, tally } = parts;
  tally.recordsFaults = true;
  const { shard, partFormat, paths } = command;
  const { parent, name: given } = splitPath(output);
  const name = given === '' ? partName(shard, partFormat) : given;
  // The signal that stops the work must not stop what saves it.
  const place = openPlace(parent, storageOpener(new AbortController().signal));
  const path = place.pathOf(name);
  const isPlaced = paths.every((one) => isStorageUrl(one) || isAbsolute(one));
  const question = {
    ...askedQuestion(categories, command.question),
    paths_from: isPlaced ? null : process.cwd(),
  };
  const run: Run = { question, photos_of: [...paths], shard };
  const refuseOther = (then: Run, model: Parameters<typeof checkQuestion>[1]) => {
    checkQuestion(path, model, question);
    if (then.shard.index !== shard.index || then.shard.count !== shard.count) {
      throw new UsageError(`${path} is shard ${shardName(then.shard)}, not ${shardName(shard)}.`);
    }
    if (then.photos_of.join('\n') !== paths.join('\n')) {
      const [before, now] = [then.photos_of, paths].map((some) => some.join(' '));
      throw new UsageError(`${path} has answers about ${before}, not about ${now}. Use another --output.`);
    }
  };

  /** @returns undefined if there is no part yet. @throws UsageError if it is of another run */
  const findComplete = async () => {
    const found = await readManifest(place, name);
    if (found) refuseOther(found, { ...found.question, model: found.model });
    return found;
  };
  // First: a run that is refused must leave nothing.
  await findComplete();
  await using progress = await openProgress({
    place,
    name,
    run: JSON.stringify(run),
    refuse(earlier) {
      const then = v.parse(v.pipe(v.string(), v.parseJson(), runSchema), earlier);
      refuseOther(then, { ...then.question, model: null });
      throw new UsageError(`${path} was begun with other options. Use another --output.`);
    },
  });
  // Another worker may have completed it meanwhile.
  const complete = await findComplete();
  if (complete) {
    await progress.remove();
    tally.recorded = complete.photos;
    if (!command.isQuiet) terminal.note(`${path} is complete: there was nothing to do.`);
    return;
  }
  tally.recorded = progress.recorded;
  await answerPhotos(parts, progressSink(progress));
  if (tally.left > 0) {
    terminal.note(`${path} is not written, because photos are left. Run the same command again to continue.`);
    return;
  }
  const written = await writePart(place, name, progress.records(), { ...run, model: progress.model ?? null });
  await progress.remove();
  if (!command.isQuiet) {
    terminal.note(`${path}: ${count(written.photos)} photos, ${count(written.errors)} of them with errors.`);
  }
}

function shardName({ index, count: ofAll }: Shard): string {
  return `${index}/${ofAll}`;
}

/** Storage is opened when it is needed, because its settings may be missing otherwise. */
function storageOpener(signal: AbortSignal): () => Storage {
  let storage: Storage | undefined;
  return () => {
    storage ??= openStorage({ config: parseStorageConfig(), signal });
    return storage;
  };
}

function progressSink(progress: ShardProgress): Sink {
  return {
    done: progress,
    answeredBy: (model) => progress.answeredBy(model),
    beginArchive: (archive, stamp) => progress.beginArchive(archive, stamp),
    endArchive: (archive) => progress.endArchive(archive),
    record: (records) => progress.record(records),
  };
}

function printingSink({ command, terminal }: ShardParts): Sink {
  const format = lineFormats[command.format];
  const table = command.question.several ? severalTable : fileTable;
  let isBegun = false;
  return {
    done: { isArchiveDone: () => false, hasMember: () => false, hasPhoto: () => false },
    async answeredBy() {},
    async beginArchive() {},
    async endArchive() {},
    async record(records) {
      const header = isBegun ? '' : format.header(table);
      isBegun = true;
      const text = header + records.map(([record]) => format.line(record, table)).join('');
      if (text !== '') await terminal.print(text);
    },
  };
}

/**
 * Photos of a batch, which is one of the model or one request, and how many batches are answered at once. All of them
 * are lost when the worker is killed. Here, one is decoded while the model looks at the other; a third one would only
 * wait.
 */
const BATCHES = { here: { photos: 8, atOnce: 2 }, server: { photos: 32, atOnce: 3 } } as const;
/** The most steps of a batch, most of which may be files that are not pictures. */
const BATCH_STEPS = 256;
/** The most bytes of members of archives in a batch, but for the last one: they are in memory while they wait. */
const BATCH_BYTES = 16 * 1024 * 1024;
/** When this many photos in a row cannot be read or answered, the photos are not the reason. */
const MOST_LEFT_IN_A_ROW = 20;

async function answerPhotos(parts: ShardParts, sink: Sink): Promise<void> {
  const { command, terminal, tally, signal, config, openAnswers } = parts;
  const { photos, atOnce } = command.server ? BATCHES.server : BATCHES.here;
  const steps = photosOf(command.paths, {
    shard: command.shard,
    done: sink.done,
    openStorage: storageOpener(signal),
    maxImageBytes: config.limits.imageBytes,
    tellFound: (found) => reportLeftOut(found, parts),
    signal,
  });
  await using held = new AsyncDisposableStack();
  let opened: Answers | undefined;
  const answersOf = async (batch: readonly Step[]): Promise<readonly FileOutcome[]> => {
    const files = batch.flatMap((step) => (step.kind === 'photo' ? [step.file] : []));
    const outcomes: FileOutcome[] = [];
    if (files.length === 0) return outcomes;
    invariant(opened, 'a batch of photos before the model is loaded');
    for await (const outcome of opened.categorize(files)) outcomes.push(outcome);
    return outcomes;
  };
  const progress = createProgress({ terminal, unit: 'files', isQuiet: command.isQuiet });
  held.defer(() => {
    progress.end();
    tally.model = opened?.model;
  });
  const remarks = () =>
    tally.left > 0 ? [...tally.remarks(), `${count(tally.left)} left`] : tally.remarks();
  const take = createTaker(parts, sink, () => opened);
  const batches: { readonly steps: readonly Step[]; readonly outcomes: Promise<readonly FileOutcome[]> }[] =
    [];
  const takeFirst = async () => {
    const first = batches.shift();
    if (!first) return;
    await take(first.steps, await first.outcomes);
    progress.show(tally.answered + tally.recorded + tally.faults, undefined, remarks());
  };
  try {
    for await (const batch of batchesOf(steps, photos)) {
      signal.throwIfAborted();
      if (!opened && batch.some(({ kind }) => kind === 'photo')) opened = held.use(await openAnswers());
      const outcomes = answersOf(batch);
      // It is thrown when its turn comes, which may be never.
      outcomes.catch(() => undefined);
      batches.push({ steps: batch, outcomes });
      if (batches.length >= atOnce) await takeFirst();
    }
    while (batches.length > 0) await takeFirst();
  } finally {
    await Promise.allSettled(batches.map(({ outcomes }) => outcomes));
  }
}

/** Cuts the steps into batches. */
async function* batchesOf(steps: AsyncIterable<Step>, maxPhotos: number): AsyncGenerator<readonly Step[]> {
  let batch: Step[] = [];
  let photos = 0;
  let bytes = 0;
  for await (const step of steps) {
    batch.push(step);
    if (step.kind === 'photo') {
      photos += 1;
      if (step.member) bytes += step.file.content?.size ?? 0;
    }
    if (photos < maxPhotos && bytes < BATCH_BYTES && batch.length < BATCH_STEPS) continue;
    yield batch;
    [batch, photos, bytes] = [[], 0, 0];
  }
  if (batch.length > 0) yield batch;
}

/** @returns to be called with each batch and the outcomes of its photos, in order */
function createTaker(
  { terminal, tally, signal }: ShardParts,
  sink: Sink,
  opened: () => Answers | undefined,
): (steps: readonly Step[], outcomes: readonly FileOutcome[]) => Promise<void> {
  let leftInARow = 0;
  /** Archives with members that are left: they are read again. */
  const unfinished = new Set<string>();
  const leave = (file: string, error: string, member?: Member) => {
    tally.leave(file, error);
    if (member) unfinished.add(member.archive);
    leftInARow += 1;
    if (leftInARow < MOST_LEFT_IN_A_ROW) return;
    throw new StorageError(
      `${leftInARow} photos in a row were left, so the photos are not the reason.`,
      true,
    );
  };
  const recordOf = (outcome: FileOutcome, member: Member | undefined): OutputRecord | undefined => {
    if (outcome.kind === 'skipped') {
      tally.skip(outcome.what);
      return undefined;
    }
    if (outcome.kind === 'broken' && isPassing(outcome)) {
      leave(outcome.file, outcome.error, member);
      return undefined;
    }
    leftInARow = 0;
    if (outcome.kind === 'broken') {
      const { kind: _, ...record } = outcome;
      tally.fault(record.file, record.error, record.code);
      return record;
    }
    const { kind: _, warning, ...record } = outcome;
    if (warning !== undefined) terminal.note(`${record.file}: ${warning}`);
    tally.answered += 1;
    const isDecided = record.categories ? record.categories.length > 0 : record.category !== null;
    if (!isDecided) tally.undecided += 1;
    return record;
  };

  return async (steps, outcomes) => {
    signal.throwIfAborted();
    const model = opened()?.model;
    if (model) await sink.answeredBy(model);
    const rest = outcomes.values();
    let records: [OutputRecord, Member | undefined][] = [];
    const flush = async () => {
      if (records.length > 0) await sink.record(records);
      records = [];
    };
    for (const step of steps) {
      if (step.kind === 'skipped') tally.skip(step.what);
      else if (step.kind === 'left') leave(step.name, step.error);
      else if (step.kind === 'photo') {
        const outcome = rest.next().value;
        invariant(outcome, 'a photo without an outcome');
        const record = recordOf(outcome, step.member);
        if (record) records.push([record, step.member]);
      } else if (step.kind === 'broken') {
        const { kind: _, member, ...record } = step;
        tally.fault(record.file, record.error, record.code);
        records.push([record, member]);
      } else {
        await flush();
        if (step.kind === 'archive-begins') await sink.beginArchive(step.archive, step.stamp);
        else if (!unfinished.has(step.archive)) await sink.endArchive(step.archive);
      }
    }
    await flush();
  };
}
