import type { RawAnswer } from '../exchange.ts';
import { post } from '../exchange.ts';
import { CONTENT_TYPE, categoriesPart, filePart, joinForm } from '../form.ts';
import { loadMedia, type Medium, mutateMedium } from '../hostile/media.ts';
import { judge } from '../judge.ts';
import type { Random } from '../random.ts';
import { categories, type Sentinel, type Target } from '../target.ts';
import { type Attack, repeat } from './attack.ts';

const ATTACK = 'mutated pictures';
const PER_REQUEST = 7;

interface Sent {
  readonly name: string;
  readonly bytes: Uint8Array;
  /** What must be answered about it, where that is known: its entry without the name, as JSON. */
  readonly expected: string | undefined;
}

/**
 * Mutated pictures, each request with a sound one among them: whatever they do to the decoders, the sound
 * one's answer keeps its digits. Some mutated ones are sent again later: theirs must keep them, too.
 */
export const mutatedPictures: Attack = async (target, random, count) => {
  const media = await loadMedia();
  const seen = createMemory();
  await repeat(Math.ceil(count / PER_REQUEST), random, async (own, turn) => {
    const files = chooseFiles(target, media, seen, own);
    const mode = own.pick(modes);
    const body = joinForm([
      ...files.map(({ name, bytes }) => filePart(name, bytes)),
      categoriesPart(categories.join(',')),
    ]);
    const outcome = await post({ url: target.url, path: mode.path, contentType: CONTENT_TYPE, body });
    const about = () => `request ${turn}, ${mode.path}: ${files.map(describe).join(' ')}`;
    const answer = judge(target.tally, ATTACK, outcome, about);
    if (!answer) return;
    for (const complaint of mode.complaints(answer, files, seen)) {
      target.tally.fault(ATTACK, `${complaint}; ${about()}`);
    }
  });
};

function chooseFiles(
  { sentinels }: Target,
  media: readonly Medium[],
  seen: Memory,
  random: Random,
): readonly Sent[] {
  const files: Sent[] = Array.from({ length: PER_REQUEST }, (_, index) => {
    const medium = random.pick(media);
    return {
      name: `${index}-${medium.name}`,
      bytes: mutateMedium(medium, random),
      expected: undefined,
    };
  });
  const again = seen.recall(random);
  if (again) files.splice(random.below(files.length), 0, { name: 'again', ...again });
  const sentinel = random.pick<Sentinel>(sentinels);
  files.splice(random.below(files.length + 1), 0, {
    name: 'sound',
    bytes: sentinel.bytes,
    expected: sentinel.entry,
  });
  return files;
}

interface Mode {
  readonly path: string;
  complaints(answer: RawAnswer, files: readonly Sent[], seen: Memory): readonly string[];
}

interface Entry {
  readonly file: string;
  readonly category: string | null;
  readonly score: number;
  readonly scores: readonly { readonly score: number; readonly similarity: number }[];
}

const detailed: Mode = {
  path: '/categorize?details=true',
  complaints(answer, files, seen) {
    if (answer.status !== 200) return ['broken pictures failed a request that was to skip them'];
    const { results, errors } = JSON.parse(answer.body) as {
      results: readonly Entry[];
      errors: readonly { file: string; code: string; error: string }[];
    };
    const complaints: string[] = [];
    const found = new Map<string, string>();
    for (const { file, ...entry } of results) {
      found.set(file, JSON.stringify(entry));
      if (!isSoundEntry(entry)) complaints.push(`${file} has impossible scores`);
    }
    for (const { file, ...fault } of errors) {
      found.set(file, JSON.stringify(fault));
      if (!/^image_/.test(fault.code)) complaints.push(`${file} is blamed for ${fault.code}`);
    }
    if (found.size !== files.length) complaints.push(`${found.size} of ${files.length} files are answered`);
    for (const { name, bytes, expected } of files) {
      const entry = found.get(name);
      if (entry === undefined) complaints.push(`${name} is missing`);
      else if (expected === undefined) seen.keep(bytes, entry);
      else if (expected !== entry) complaints.push(`${name} is ${entry} and was ${expected}`);
    }
    return complaints;
  },
};

function isSoundEntry({ scores }: Omit<Entry, 'file'>): boolean {
  const total = scores.reduce((sum, { score }) => sum + score, 0);
  return (
    scores.length === categories.length &&
    Math.abs(total - 1) < 1e-3 &&
    scores.every(({ score, similarity }) => score >= 0 && Math.abs(similarity) <= 1.0001)
  );
}

const skipping: Mode = {
  path: '/categorize?on_error=skip',
  complaints(answer, files) {
    if (answer.status !== 200) return ['broken pictures failed a request that was to skip them'];
    const answers = new Map(Object.entries(JSON.parse(answer.body) as Record<string, string | null>));
    return files.flatMap(({ name, expected }) => {
      if (!answers.has(name)) return [`${name} is missing`];
      const category = expected === undefined ? undefined : (JSON.parse(expected).category ?? null);
      return category === undefined || category === answers.get(name)
        ? []
        : [`${name} is ${answers.get(name)}`];
    });
  },
};

const strict: Mode = { path: '/categorize', complaints: () => [] };
const byCategory: Mode = { path: '/image?details=true', complaints: () => [] };

const modes: readonly Mode[] = [
  detailed,
  detailed,
  detailed,
  detailed,
  detailed,
  skipping,
  strict,
  byCategory,
];

/** Mutated pictures and what was answered about them, to be asked about again. */
interface Memory {
  keep(bytes: Uint8Array, expected: string): void;
  recall(random: Random): { readonly bytes: Uint8Array; readonly expected: string } | undefined;
}

const KEPT_PICTURES = 200;
const RECALLED = 0.5;

function createMemory(): Memory {
  const kept: { bytes: Uint8Array; expected: string }[] = [];
  let next = 0;
  return {
    keep(bytes, expected) {
      kept[next++ % KEPT_PICTURES] = { bytes, expected };
    },
    recall: (random) => (kept.length > 0 && random.chance(RECALLED) ? random.pick(kept) : undefined),
  };
}

function describe({ name, bytes }: Sent): string {
  return `${name}(${bytes.length} bytes, ${Bun.hash.crc32(bytes).toString(16)})`;
}
