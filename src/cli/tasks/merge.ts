import { parseStorageConfig } from '../../config.ts';
import type { OutputRecord } from '../output/line-format.ts';
import { checkModel, checkQuestion } from '../output/provenance.ts';
import { type Manifest, partNames, readManifest, readPart, writePart } from '../shards/part.ts';
import { openPlace, type Place, splitPath } from '../shards/place.ts';
import { shardOf } from '../shards/shard.ts';
import { openStorage, type Storage, StorageError } from '../storage/storage.ts';
import { count } from '../terminal.ts';
import { UsageError } from '../usage-error.ts';
import type { TaskParts } from './task.ts';

interface Part {
  readonly place: Place;
  readonly name: string;
  readonly manifest: Manifest;
}

/**
 * Writes the parts of a run into one file, after proving that all are there, that they are of the same run, and that
 * each photo is in them once.
 */
export async function mergeParts({ command, terminal, tally, signal }: TaskParts): Promise<void> {
  let storage: Storage | undefined;
  const openOnce = () => {
    storage ??= openStorage({ config: parseStorageConfig(), signal });
    return storage;
  };
  try {
    const parts = await findParts(command.paths, openOnce);
    const first = checkTogether(parts);
    const { parent, name } = splitPath(command.output ?? '');
    if (name === '') throw new UsageError('merge needs --output FILE, ending in .jsonl or .parquet.');
    const place = openPlace(parent, openOnce);
    const path = place.pathOf(name);
    if (parts.some((part) => part.place.pathOf(part.name) === path)) {
      throw new UsageError(`${path} is one of the parts; name another --output.`);
    }
    const model = parts.find(({ manifest }) => manifest.model)?.manifest.model ?? null;
    const { question, photos_of } = first.manifest;
    const run = { question, photos_of, shard: { index: 0, count: 1 }, model };
    const { photos, errors } = await writePart(place, name, recordsOf(parts, signal), run);
    tally.answered = photos;
    tally.verb = 'merged';
    if (command.isQuiet) return;
    terminal.note(
      `${path}: ${count(photos)} photos of ${count(parts.length)} parts, ${count(errors)} of them with errors.`,
    );
  } catch (fault) {
    signal.throwIfAborted();
    throw fault instanceof StorageError ? new UsageError(fault.message) : fault;
  }
}

/** @throws UsageError if a path has no parts */
async function findParts(paths: readonly string[], openOnce: () => Storage): Promise<readonly Part[]> {
  const parts: Part[] = [];
  for (const path of paths) {
    const { parent, name } = splitPath(path);
    const place = openPlace(parent, openOnce);
    const names = name === '' ? await partNames(place) : [name];
    if (names.length === 0)
      throw new UsageError(`There are no parts in ${path}, such as part-00000-of-00010.jsonl.`);
    for (const one of names) {
      const manifest = await readManifest(place, one);
      if (!manifest) throw new UsageError(`The part ${place.pathOf(one)} does not exist.`);
      parts.push({ place, name: one, manifest });
    }
  }
  return parts;
}

/** Longer lists would fill the screen. */
const MAX_NAMED = 20;

/**
 * @returns the first part
 * @throws UsageError if a part is missing, is there twice, or is of another run
 */
function checkTogether(parts: readonly Part[]): Part {
  const [first] = parts;
  if (!first) throw new UsageError('merge needs the folder of the parts; see --help.');
  const ofAll = first.manifest.shard.count;
  const byIndex = new Map<number, Part>();
  const pathOf = ({ place, name }: Part) => place.pathOf(name);
  const model = parts.find(({ manifest }) => manifest.model)?.manifest.model;
  for (const part of parts) {
    const { manifest } = part;
    const { index, count: itsCount } = manifest.shard;
    if (itsCount !== ofAll) {
      throw new UsageError(
        `${pathOf(part)} is one of ${itsCount} parts, but ${pathOf(first)} is one of ${ofAll}: they are of different runs.`,
      );
    }
    const same = byIndex.get(index);
    if (same)
      throw new UsageError(`${pathOf(same)} and ${pathOf(part)} are the same shard, ${index}/${ofAll}.`);
    byIndex.set(index, part);
    checkSameRun(part, first);
    if (model && manifest.model) checkModel(pathOf(part), model, manifest.model);
  }
  const missing = Array.from({ length: ofAll }, (_, index) => index).filter((index) => !byIndex.has(index));
  if (missing.length > 0) {
    const named = missing.slice(0, MAX_NAMED).map((index) => `${index}/${ofAll}`);
    const others = missing.length > MAX_NAMED ? ` and ${missing.length - MAX_NAMED} others` : '';
    throw new UsageError(
      `${missing.length} of ${ofAll} parts ${missing.length === 1 ? 'is' : 'are'} missing, of the shards ${named.join(', ')}${others}. Run them, and merge then.`,
    );
  }
  return first;
}

/** @throws UsageError with the differences */
function checkSameRun(part: Part, first: Part): void {
  const path = part.place.pathOf(part.name);
  const { question, photos_of } = first.manifest;
  checkQuestion(path, { ...part.manifest.question, model: null }, question);
  if (part.manifest.photos_of.join('\n') === photos_of.join('\n')) return;
  const [its, others] = [part.manifest.photos_of, photos_of].map((some) => some.join(' '));
  throw new UsageError(`${path} has answers about ${its}, but the first part about ${others}.`);
}

/** The records of all parts, shard by shard. @throws UsageError if a photo is there twice or in a wrong part, or if a count is wrong */
async function* recordsOf(parts: readonly Part[], signal: AbortSignal): AsyncGenerator<OutputRecord> {
  const inOrder = parts.toSorted((a, b) => a.manifest.shard.index - b.manifest.shard.index);
  for (const { place, name, manifest } of inOrder) {
    const path = place.pathOf(name);
    const { index, count: ofAll } = manifest.shard;
    // A photo's name says which shard it is in, so it can only be twice in the same part.
    const files = new Set<string>();
    for await (const record of readPart(place, name)) {
      signal.throwIfAborted();
      const file = String(record.file);
      if (shardOf(file, ofAll) !== index) {
        throw new UsageError(`${path} has ${file}, which belongs to shard ${shardOf(file, ofAll)}/${ofAll}.`);
      }
      if (files.has(file)) throw new UsageError(`${path} has ${file} twice.`);
      files.add(file);
      yield record;
    }
    if (files.size !== manifest.photos) {
      throw new UsageError(
        `${path} has ${files.size} photos, but ${manifest.photos} when it was written. Remove it, and run shard ${index}/${ofAll} again.`,
      );
    }
  }
}
