import { availableParallelism } from 'node:os';
import * as v from 'valibot';
import { type LogLevel, logLevels } from './log.ts';
import {
  type Machine,
  type MemoryPlan,
  memoryLimitBytes,
  memoryShortage,
  planMemory,
} from './memory-plan.ts';
import { type PrecisionSetting, precisionSettings } from './precision.ts';

const MEBI = 1024 ** 2;
const GIBI = 1024 ** 3;

/** All settings, parsed once and frozen. */
export interface Config {
  readonly host: string;
  readonly port: number;
  readonly model: {
    /** A name of the manifest, a path to a checkpoint, or `demo`. */
    readonly name: string;
    /** Folder for checkpoints and compiled models; undefined: the service searches the usual places. */
    readonly cacheDirectory: string | undefined;
    /** Replaces all download addresses of the manifest. */
    readonly url: string | undefined;
    readonly precision: PrecisionSetting;
    /** `bun run dev`: serve the demo model if the real one cannot be downloaded. */
    readonly demoFallback: boolean;
  };
  readonly threads: number;
  readonly memory: MemoryPlan;
  /** A sentence if the memory limit is too small for the plan. */
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

/** An origin exactly as browsers send it: they compare it letter by letter. */
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

/** A value that a header can carry unchanged. Clients encode characters beyond ASCII differently. */
const headerSafe = v.regex(
  /^[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?$/,
  'must be printable ASCII without a space at either end, because it is sent in a header',
);

/** Every environment variable with its default and the reason for it. */
export const environmentSchema = v.object({
  // In a container, requests do not come from the loopback interface.
  HOST: v.optional(v.pipe(v.string(), v.trim(), v.nonEmpty('must not be empty')), '0.0.0.0'),
  // The port of the service of 2021. Tests use 0: the system chooses a free port.
  PORT: v.optional(wholeNumber(0, 65535), '8080'),
  CLIP_MODEL: v.optional(v.pipe(v.string(), v.trim(), v.nonEmpty('must not be empty')), 'ViT-B/32'),
  CLIP_CACHE: v.optional(v.pipe(v.string(), v.trim(), v.nonEmpty('must not be empty'))),
  CLIP_MODEL_URL: v.optional(httpUrl),
  CLIP_PRECISION: v.optional(v.picklist(precisionSettings, 'must be auto, int8 or fp32'), 'auto'),
  // The cores that the scheduler and the control group allow. ONNX Runtime's own default counts the host's cores.
  THREADS: v.optional(wholeNumber(1, 1024), () => String(availableParallelism())),
  // An embedding of 2 KB per file stays in memory: 20 MB for 10,000 files.
  MAX_FILES: v.optional(wholeNumber(1, 1_000_000), '10000'),
  // The largest JPEGs of cameras have some 40 MB.
  MAX_IMAGE_BYTES: v.optional(wholeNumber(1, 2 * GIBI), String(64 * MEBI)),
  // Phones with 200 megapixels save pictures of 12 to 50. Decoding 100 megapixels takes up to 400 MB.
  MAX_IMAGE_PIXELS: v.optional(wholeNumber(1, 1_000_000_000), '100000000'),
  // Enough for a film of two hours in full HD.
  MAX_VIDEO_BYTES: v.optional(wholeNumber(1, 1024 * GIBI), String(4 * GIBI)),
  MAX_VIDEO_SECONDS: v.optional(wholeNumber(1, 7 * 24 * 3600), String(4 * 3600)),
  // Encoding 1,000 labels takes some seconds, once.
  MAX_CATEGORIES: v.optional(wholeNumber(1, 100_000), '1000'),
  // The clients of 2021 are pages of any origin.
  CORS_ORIGIN: v.optional(origin, '*'),
  API_KEY: v.optional(v.pipe(v.string(), v.minLength(8, 'must have at least 8 characters'), headerSafe)),
  LOG_LEVEL: v.optional(v.picklist(logLevels, `must be one of ${logLevels.join(', ')}`), 'info'),
});

/** One or more settings are invalid. The message names all of them. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError';
}

/**
 * Reads all settings. An empty variable counts as not set, because compose files produce empty ones.
 * @param machine the memory limit, and how wide weights are in it
 * @throws ConfigError with all faults
 */
export function parseConfig(
  environment: Readonly<Record<string, string | undefined>> = process.env,
  argv: readonly string[] = process.argv.slice(2),
  { limitBytes = memoryLimitBytes(), wideWeights = false }: Partial<Machine> = {},
): Config {
  const given = Object.fromEntries(Object.entries(environment).filter(([, value]) => value !== ''));
  const parsed = v.safeParse(environmentSchema, given);
  if (!parsed.success) {
    const faults = parsed.issues.map((issue) => {
      const name = v.getDotPath(issue) ?? '?';
      // A key must not appear in a log.
      const shown = name === 'API_KEY' ? name : `${name}=${JSON.stringify(given[name])}`;
      return `${shown} ${issue.message}`;
    });
    throw new ConfigError(`Cannot start: ${faults.join('; ')}`);
  }
  const env = parsed.output;
  const memory = planMemory({
    limitBytes,
    threads: env.THREADS,
    files: env.MAX_FILES,
    wideWeights,
  });
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

/** How object storage is reached. Undefined: the default of the client. */
export interface StorageConfig {
  readonly endpoint?: string;
  readonly region?: string;
  readonly accessKeyId?: string;
  readonly secretAccessKey?: string;
  readonly sessionToken?: string;
}

/** The variables of S3's own tools, in the order in which they are looked at. */
const storageVariables: Readonly<Record<keyof StorageConfig, readonly string[]>> = {
  endpoint: ['AWS_ENDPOINT_URL_S3', 'AWS_ENDPOINT_URL', 'AWS_ENDPOINT', 'S3_ENDPOINT'],
  region: ['AWS_REGION', 'AWS_DEFAULT_REGION', 'S3_REGION'],
  accessKeyId: ['AWS_ACCESS_KEY_ID', 'S3_ACCESS_KEY_ID'],
  secretAccessKey: ['AWS_SECRET_ACCESS_KEY', 'S3_SECRET_ACCESS_KEY'],
  sessionToken: ['AWS_SESSION_TOKEN', 'S3_SESSION_TOKEN'],
};

/** Reads how object storage is reached. An empty variable counts as not set. @throws ConfigError */
export function parseStorageConfig(
  environment: Readonly<Record<string, string | undefined>> = process.env,
): StorageConfig {
  const found = Object.entries(storageVariables).flatMap(([name, variables]) => {
    const variable = variables.find((one) => (environment[one] ?? '') !== '');
    return variable === undefined ? [] : [[name, { variable, value: environment[variable] ?? '' }] as const];
  });
  const endpoint = found.find(([name]) => name === 'endpoint')?.[1];
  if (endpoint && !v.is(httpUrl, endpoint.value)) {
    throw new ConfigError(
      `Cannot start: ${endpoint.variable}=${JSON.stringify(endpoint.value)} must be an http or https URL`,
    );
  }
  return Object.fromEntries(found.map(([name, { value }]) => [name, value.trim()]));
}

/** Variables that child processes need. Secrets such as `API_KEY` are not passed on. */
const inheritedVariables = [
  'PATH',
  'HOME',
  'TMPDIR',
  'NODE_ENV',
  'BUN_RUNTIME_TRANSPILER_CACHE_PATH',
  'ORT_DISABLE_TELEMETRY',
] as const;

/** The environment for child processes. */
export function childEnvironment(
  environment: Readonly<Record<string, string | undefined>> = process.env,
): Record<string, string> {
  const inherited = inheritedVariables.map((name) => [name, environment[name]] as const);
  return Object.fromEntries(
    inherited.filter((entry): entry is [(typeof entry)[0], string] => entry[1] !== undefined),
  );
}
