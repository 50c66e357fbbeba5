import { resolve } from 'node:path';
import { parseArgs } from 'node:util';
import * as v from 'valibot';
import { ownRoot } from './cache-folder.ts';

/** What is measured, and how long. */
export interface BenchOptions {
  /** Names of parts; undefined: all. */
  readonly only: readonly string[] | undefined;
  /** Of the parts `service`, `hostile` and `regret` only scenarios whose name holds this; of the peers, only such towers. */
  readonly scenarios: string;
  /** A checkpoint's path, or `random`. */
  readonly model: string;
  /** A folder of photos; undefined: they are made. */
  readonly photos: string | undefined;
  /** Of the service; `best`: int8 where there is one. */
  readonly precision: 'best' | 'int8' | 'fp32';
  /** Of the part `regret`: a folder of videos to measure beside the generated ones. */
  readonly videos: string | undefined;
  /** One short round of less. */
  readonly quick: boolean;
  /** Repetitions, of which the best counts. */
  readonly rounds: number;
  /** Length of one measurement. */
  readonly seconds: number;
  /** How long a server is loaded before it is measured. */
  readonly warmUpSeconds: number;
  /** Memory limit of the service, in bytes. */
  readonly memoryLimit: number | undefined;
  /** Checkouts to be measured, each in its turn; the last is compared with the first. */
  readonly roots: readonly [string, ...string[]];
  /** Of the part `hostile`: how long what does not end by itself goes on. */
  readonly floodSeconds: number;
  /** Of the part `slow`: clients, and how long each sends. */
  readonly clients: number;
  readonly slowSeconds: number;
  /** Where the report goes as JSON. */
  readonly json: string;
}

export const usage = `bun run bench [--only PART,PART] [--scenarios TEXT] [--quick] [--rounds N] [--seconds N] [--model random|FILE]
              [--photos FOLDER] [--videos FOLDER] [--precision best|int8|fp32] [--memory-limit 2G] [--json FILE]
              [--root CHECKOUT [--root CHECKOUT]] [--flood-seconds N] [--clients N] [--slow-seconds N]`;

const positive = v.pipe(v.string(), v.transform(Number), v.number('must be a number'), v.minValue(0.1));
const units = { K: 1024, M: 1024 ** 2, G: 1024 ** 3 } as const;
const size = v.pipe(
  v.string(),
  v.regex(/^\d+[KMG]$/, 'must be a size such as 2G'),
  v.transform((text) => Number.parseInt(text, 10) * units[text.slice(-1) as keyof typeof units]),
);

const schema = v.object({
  only: v.optional(
    v.pipe(
      v.string(),
      v.transform((text) => text.split(',')),
    ),
  ),
  scenarios: v.optional(v.string(), ''),
  quick: v.optional(v.boolean(), false),
  rounds: v.optional(positive),
  seconds: v.optional(positive),
  model: v.optional(v.string(), 'random'),
  photos: v.optional(v.string()),
  videos: v.optional(v.string()),
  precision: v.optional(v.picklist(['best', 'int8', 'fp32']), 'best'),
  'memory-limit': v.optional(size),
  root: v.optional(v.array(v.string()), []),
  'flood-seconds': v.optional(positive),
  clients: v.optional(positive),
  'slow-seconds': v.optional(positive),
  json: v.optional(v.string()),
});

/** @throws Error naming what cannot be understood */
export function parseOptions(args: readonly string[]): BenchOptions {
  const text = { type: 'string' } as const;
  const { values } = parseArgs({
    args: [...args],
    options: {
      only: text,
      scenarios: text,
      quick: { type: 'boolean' },
      rounds: text,
      seconds: text,
      model: text,
      photos: text,
      videos: text,
      precision: text,
      'memory-limit': text,
      root: { type: 'string', multiple: true },
      'flood-seconds': text,
      clients: text,
      'slow-seconds': text,
      json: text,
    },
  });
  const parsed = v.safeParse(schema, values);
  if (!parsed.success) {
    throw new Error(parsed.issues.map((issue) => `--${v.getDotPath(issue)}: ${issue.message}`).join('; '));
  }
  const { only, scenarios, quick, rounds, seconds, model, photos, videos, json, precision, root, clients } =
    parsed.output;
  const stamp = new Date().toISOString().replaceAll(/[:.]/g, '-');
  return {
    only,
    scenarios,
    model: model === 'random' ? model : resolve(model),
    photos: photos === undefined ? undefined : resolve(photos),
    videos: videos === undefined ? undefined : resolve(videos),
    quick,
    precision,
    rounds: rounds ?? (quick ? 1 : 3),
    seconds: seconds ?? (quick ? 3 : 10),
    warmUpSeconds: quick ? 1 : 3,
    memoryLimit: parsed.output['memory-limit'],
    roots: [
      root[0] === undefined ? ownRoot : resolve(root[0]),
      ...root.slice(1).map((path) => resolve(path)),
    ],
    floodSeconds: parsed.output['flood-seconds'] ?? (quick ? 3 : 20),
    clients: clients ?? (quick ? 20 : 200),
    slowSeconds: parsed.output['slow-seconds'] ?? (quick ? 10 : 150),
    json: resolve(json ?? `test/bench/results/${stamp}.json`),
  };
}
