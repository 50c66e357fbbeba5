import { availableParallelism } from 'node:os';
import * as v from 'valibot';
import { type LogLevel, logLevels } from './log.ts';
import { type MemoryPlan, memoryLimitBytes, memoryShortage, planMemory } from './memory-plan.ts';

const MEBI = 1024 ** 2;
const GIBI = 1024 ** 3;

/** Everything an operator may set, parsed once and frozen. */
export interface Config {
  readonly host: string;
  readonly port: number;
  readonly model: {
    /** A name of the manifest, a path to a checkpoint, or `demo`. */
    readonly name: string;
    /** Folder for checkpoints and compiled models; undefined: the usual places are searched. */
    readonly cacheDirectory: string | undefined;
    /** Takes the place of all sources of the manifest. */
    readonly url: string | undefined;
    readonly precision: 'auto' | 'int8' | 'fp32';
    /** `bun run dev`: serve the demo model while the real one cannot be had. */
    readonly demoFallback: boolean;
  };
  readonly threads: number;
  readonly memory: MemoryPlan;
  /** A sentence where the memory limit is too small for the plan. */
  readonly memoryShortage: string | undefined;
  readonly limits: {
    readonly files: number;
    readonly imageBytes: number;
    readonly imagePixels: number;
    readonly videoBytes: number;
    readonly videoSeconds: number;
    readonly categories: number;
  };
  readonly corsOrigin: string;
  readonly apiKey: string | undefined;
  readonly logLevel: LogLevel;
}

const wholeNumber = (minimum: number, maximum: number) =>
  v.pipe(
    v.string(),
    v.trim(),
    v.regex(/^\d{1,15}$/, 'must be a whole number'),
    v.transform(Number),
    v.minValue(minimum, `must be at least ${minimum}`),
    v.maxValue(maximum, `must be at most ${maximum}`),
  );

const httpUrl = v.pipe(
  v.string(),
  v.trim(),
  v.url('must be a URL'),
  v.regex(/^https?:/i, 'must be an http or https URL'),
);

/** What a browser calls the origin of a page: it must equal the setting letter by letter. */
const origin = v.pipe(
  v.string(),
  v.trim(),
  v.nonEmpty('must not be empty'),
  v.check(
    (text) => text === '*' || isOrigin(text),
    'must be *, or an origin as browsers send it: scheme://host or scheme://host:port in lower case, without a path, such as https://photos.example',
  ),
);

function isOrigin(text: string): boolean {
  if (
    !/^[a-z][a-z0-9+.-]*:\/\/[\x21-\x7e]+$/.test(text) ||
    /[/?#@]/.test(text.slice(text.indexOf('//') + 2))
  ) {
    return false;
  }
  return !/^https?:/.test(text) || URL.parse(text)?.origin === text;
}

/** Goes into a header as it is. Beyond ASCII, clients do not agree on the bytes. */
const headerSafe = v.regex(
  /^[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?$/,
  'must be letters, digits and signs of ASCII, with no line end and no space at its ends: no header can carry another one',
);

/** Each default with its reason. */
export const environmentSchema = v.object({
  // In a container the port is published from outside the loopback interface.
  HOST: v.optional(v.pipe(v.string(), v.trim(), v.nonEmpty('must not be empty')), '0.0.0.0'),
  // The port the 2021 service was published on; 0 lets the system choose (tests).
  PORT: v.optional(wholeNumber(0, 65535), '8080'),
  CLIP_MODEL: v.optional(v.pipe(v.string(), v.trim(), v.nonEmpty('must not be empty')), 'ViT-B/32'),
  CLIP_CACHE: v.optional(v.pipe(v.string(), v.trim(), v.nonEmpty('must not be empty'))),
  CLIP_MODEL_URL: v.optional(httpUrl),
  CLIP_PRECISION: v.optional(v.picklist(['auto', 'int8', 'fp32'], 'must be auto, int8 or fp32'), 'auto'),
  // What the scheduler and the cgroup's quota let us use; ONNX Runtime would count the host's cores.
  THREADS: v.optional(wholeNumber(1, 1024), () => String(availableParallelism())),
  // 2 KB of embedding a file stay in memory: 10,000 files are 20 MB.
  MAX_FILES: v.optional(wholeNumber(1, 1_000_000), '10000'),
  // The largest camera JPEGs are some 40 MB.
  MAX_IMAGE_BYTES: v.optional(wholeNumber(1, 2 * GIBI), String(64 * MEBI)),
  // Today's largest phone sensors have 200 MP but save 12 to 50; decoding 100 MP takes up to 400 MB.
  MAX_IMAGE_PIXELS: v.optional(wholeNumber(1, 1_000_000_000), '100000000'),
  // A two-hour film in full HD.
  MAX_VIDEO_BYTES: v.optional(wholeNumber(1, 1024 * GIBI), String(4 * GIBI)),
  MAX_VIDEO_SECONDS: v.optional(wholeNumber(1, 7 * 24 * 3600), String(4 * 3600)),
  // 1,000 labels take some seconds to encode once.
  MAX_CATEGORIES: v.optional(wholeNumber(1, 100_000), '1000'),
  // The old clients are pages of any origin.
  CORS_ORIGIN: v.optional(origin, '*'),
  API_KEY: v.optional(v.pipe(v.string(), v.minLength(8, 'must have at least 8 characters'), headerSafe)),
  LOG_LEVEL: v.optional(v.picklist(logLevels, `must be one of ${logLevels.join(', ')}`), 'info'),
});

/** One or more settings cannot be used; the message names every one of them. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError';
}

/**
 * Reads the operator's settings. An empty variable counts as not set, as compose files make them.
 * @param limitBytes the memory that there is
 * @throws ConfigError naming all faults at once
 */
export function parseConfig(
  environment: Readonly<Record<string, string | undefined>> = process.env,
  argv: readonly string[] = process.argv.slice(2),
  limitBytes: number = memoryLimitBytes(),
): Config {
  const given = Object.fromEntries(Object.entries(environment).filter(([, value]) => value !== ''));
  const parsed = v.safeParse(environmentSchema, given);
  if (!parsed.success) {
    const faults = parsed.issues.map((issue) => {
      const name = v.getDotPath(issue) ?? '?';
      // A key must not end up in a log.
      const shown = name === 'API_KEY' ? name : `${name}=${JSON.stringify(given[name])}`;
      return `${shown} ${issue.message}`;
    });
    throw new ConfigError(`Cannot start: ${faults.join('; ')}`);
  }
  const env = parsed.output;
  const memory = planMemory({ limitBytes, threads: env.THREADS, files: env.MAX_FILES });
  return Object.freeze({
    host: env.HOST,
    port: env.PORT,
    model: Object.freeze({
      name: env.CLIP_MODEL,
      cacheDirectory: env.CLIP_CACHE,
      url: env.CLIP_MODEL_URL,
      precision: env.CLIP_PRECISION,
      demoFallback: argv.includes('--dev'),
    }),
    threads: env.THREADS,
    memory,
    memoryShortage: memoryShortage(memory, limitBytes),
    limits: Object.freeze({
      files: env.MAX_FILES,
      imageBytes: env.MAX_IMAGE_BYTES,
      imagePixels: env.MAX_IMAGE_PIXELS,
      videoBytes: env.MAX_VIDEO_BYTES,
      videoSeconds: env.MAX_VIDEO_SECONDS,
      categories: env.MAX_CATEGORIES,
    }),
    corsOrigin: env.CORS_ORIGIN,
    apiKey: env.API_KEY,
    logLevel: env.LOG_LEVEL,
  });
}

/** What a child process needs of the environment; secrets such as `API_KEY` stay here. */
const inheritedVariables = [
  'PATH',
  'HOME',
  'TMPDIR',
  'NODE_ENV',
  'BUN_RUNTIME_TRANSPILER_CACHE_PATH',
  'ORT_DISABLE_TELEMETRY',
] as const;

/** The environment of the service's own child processes. */
export function childEnvironment(
  environment: Readonly<Record<string, string | undefined>> = process.env,
): Record<string, string> {
  const inherited = inheritedVariables.map((name) => [name, environment[name]] as const);
  return Object.fromEntries(
    inherited.filter((entry): entry is [(typeof entry)[0], string] => entry[1] !== undefined),
  );
}
