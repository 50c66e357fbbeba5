import { createHash } from 'node:crypto';
import { UsageError } from '../usage-error.ts';

/** One of several equal portions of a run's photos. Each photo belongs to exactly one. */
export interface Shard {
  /** From 0. */
  readonly index: number;
  /** At least 1. */
  readonly count: number;
}

/** Part names have five digits, as those of Spark and Hadoop. */
const MAX_SHARDS = 99_999;

/**
 * @param text `I/N`, with I from 0, as the index of a Kubernetes Job (`JOB_COMPLETION_INDEX`) and of most arrays of jobs
 * @throws UsageError
 */
export function parseShard(text: string): Shard {
  const [, index, count] = /^(\d{1,5})\/(\d{1,5})$/.exec(text.trim()) ?? [];
  const shard = { index: Number(index), count: Number(count) };
  if (shard.count >= 1 && shard.count <= MAX_SHARDS && shard.index < shard.count) return shard;
  throw new UsageError(
    `--shard ${JSON.stringify(text)} must be I/N, with I from 0 to N - 1 and N up to ${MAX_SHARDS}: 0/4, 1/4, 2/4 and 3/4 are all four.`,
  );
}

const archiveEnding = /\.(?:tar|tar\.gz|tgz)$/i;
const archiveSegment = /^(.*?\.(?:tar|tar\.gz|tgz))\/./is;

/** Whether a file is read as a tar archive, by its name. */
export function isArchive(name: string): boolean {
  return archiveEnding.test(name);
}

/** What decides to which shard a photo belongs: the tar file that it is in, so that each is read once; otherwise itself. */
function ownerOf(name: string): string {
  return archiveSegment.exec(name)?.[1] ?? name;
}

/**
 * The shard of a photo or a tar file: the first eight bytes of the SHA-256 of its name in UTF-8, as a big-endian
 * number, modulo the number of shards. This never changes: parts of different versions must fit together.
 * @param name of a photo or tar file, as in the answers
 * @returns from 0 to `count` - 1
 */
export function shardOf(name: string, count: number): number {
  const digest = createHash('sha256').update(ownerOf(name), 'utf8').digest();
  return Number(digest.readBigUInt64BE(0) % BigInt(count));
}

export const partFormats = ['jsonl', 'parquet'] as const;
export type PartFormat = (typeof partFormats)[number];

const fiveDigits = (number: number) => String(number).padStart(5, '0');

/** `part-00003-of-00010.jsonl` */
export function partName({ index, count }: Shard, format: PartFormat): string {
  return `part-${fiveDigits(index)}-of-${fiveDigits(count)}.${format}`;
}

/** Whether a file of a folder is a part by its name. */
export function isPartName(name: string): boolean {
  return /^part-\d{5}-of-\d{5}\.(?:jsonl|parquet)$/.test(name);
}
