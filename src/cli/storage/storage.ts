import { setTimeout as pause } from 'node:timers/promises';
import { S3Client } from 'bun';
import type { StorageConfig } from '../../config.ts';
import { UsageError } from '../usage-error.ts';

/** A place in S3-compatible object storage. */
export interface ObjectAddress {
  readonly bucket: string;
  /** Without a slash at its beginning. Empty: the whole bucket. */
  readonly key: string;
}

export function isStorageUrl(path: string): boolean {
  return /^s3:\/\//i.test(path);
}

/** @throws UsageError unless the URL is `s3://bucket/key` */
export function parseStorageUrl(url: string): ObjectAddress {
  const [, bucket, key = ''] = /^s3:\/\/([^/]+)(?:\/(.*))?$/is.exec(url) ?? [];
  if (bucket !== undefined) return { bucket, key };
  throw new UsageError(
    `${url} is not an address in object storage, such as s3://bucket/folder/ or s3://bucket/photos.tar.`,
  );
}

export function storageUrl({ bucket, key }: ObjectAddress): string {
  return `s3://${bucket}/${key}`;
}

export interface ListedObject {
  readonly key: string;
  /** In bytes. */
  readonly size: number;
  /** Changes with the content. */
  readonly etag: string;
}

/** Object storage could not do something. */
export class StorageError extends Error {
  override readonly name = 'StorageError';
  /** Whether it may work later: the storage was overloaded or could not be reached. */
  readonly isPassing: boolean;

  constructor(message: string, isPassing: boolean, cause?: unknown) {
    super(message, { cause });
    this.isPassing = isPassing;
  }
}

/** S3-compatible object storage. Every request is tried several times. All methods throw StorageError. */
export interface Storage {
  /** Lists the objects whose keys begin with a text, page by page, by their keys. */
  list(place: ObjectAddress): AsyncGenerator<ListedObject>;
  /** @returns undefined if it does not exist */
  find(place: ObjectAddress): Promise<ListedObject | undefined>;
  /** @returns exactly the bytes from `start` up to, but without, `end` */
  read(place: ObjectAddress, start: number, end: number): Promise<Uint8Array>;
  /** Uploads a file or a text. It is visible when it is complete, and replaces what was there. */
  write(place: ObjectAddress, content: Blob | string): Promise<void>;
  remove(place: ObjectAddress): Promise<void>;
}

interface StorageOptions {
  readonly config: StorageConfig;
  readonly signal: AbortSignal;
  /** The first pause before a request is tried again. Each further one is twice as long. */
  readonly pauseMs?: number;
  /** The longest wait for the answer to one request, but for an upload of unknown length. */
  readonly timeoutMs?: number;
}

/** About a minute in all. */
const ATTEMPTS = 8;
const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 15_000;
/** 8 MiB in a minute: slower lines are broken ones. */
const TIMEOUT_MS = 60_000;
/** 100 MB at 170 KB/s. */
const UPLOAD_TIMEOUT_MS = 600_000;
const LISTED_AT_ONCE = 1000;

/** Faults of the request itself: the same one fails again. */
const lastingCodes: Readonly<Record<string, string>> = {
  AccessDenied: 'access is denied',
  AllAccessDisabled: 'access is denied',
  ExpiredToken: 'the session token has expired',
  InvalidAccessKeyId: 'the access key is not known there',
  InvalidToken: 'the session token is not valid',
  SignatureDoesNotMatch: 'the secret access key is wrong',
  InvalidBucketName: 'the name of the bucket is not valid',
  NoSuchBucket: 'the bucket does not exist',
  NoSuchKey: 'it does not exist',
  PermanentRedirect: 'the bucket is in another region; set AWS_REGION',
  AuthorizationHeaderMalformed: 'the bucket is in another region; set AWS_REGION',
  ERR_S3_MISSING_CREDENTIALS: 'there are no credentials; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY',
  ERR_S3_INVALID_PATH: 'its name is not valid',
  ERR_S3_INVALID_ENDPOINT: 'the endpoint is not valid; look at AWS_ENDPOINT_URL',
};

function codeOf(fault: unknown): string {
  return typeof fault === 'object' && fault !== null && 'code' in fault ? String(fault.code) : '';
}

export function openStorage({
  config,
  signal,
  pauseMs = FIRST_PAUSE_MS,
  timeoutMs = TIMEOUT_MS,
}: StorageOptions): Storage {
  const clients = new Map<string, S3Client>();
  const clientOf = (bucket: string): S3Client => {
    const known = clients.get(bucket);
    if (known) return known;
    const client = new S3Client({ ...config, bucket });
    clients.set(bucket, client);
    return client;
  };

  const once = async <T>(request: () => Promise<T>, limitMs: number): Promise<T> => {
    signal.throwIfAborted();
    const done = new AbortController();
    const asked = request();
    // A request that came too late may fail when nothing waits for it any more.
    asked.catch(() => undefined);
    const late = pause(limitMs, undefined, { signal: AbortSignal.any([signal, done.signal]) }).then(() => {
      throw new Error(`there was no answer within ${Math.ceil(limitMs / 1000)} s`);
    });
    late.catch(() => undefined);
    try {
      return await Promise.race([asked, late]);
    } finally {
      done.abort();
    }
  };

  const attempt = async <T>(
    place: ObjectAddress,
    request: () => Promise<T>,
    limitMs = timeoutMs,
  ): Promise<T> => {
    for (let tries = 1; ; tries++) {
      try {
        return await once(request, limitMs);
      } catch (fault) {
        signal.throwIfAborted();
        const code = codeOf(fault);
        const reason = lastingCodes[code];
        const what = storageUrl(place);
        if (reason !== undefined) {
          throw new StorageError(`${what} cannot be used, because ${reason}.`, isPassing(code), fault);
        }
        if (tries === ATTEMPTS) {
          const detail = fault instanceof Error ? fault.message : String(fault);
          const said = [code, detail].filter((text) => text !== '').join(': ');
          throw new StorageError(`${what} cannot be used after ${tries} attempts: ${said}`, true, fault);
        }
        const longest = Math.min(pauseMs * 2 ** (tries - 1), LONGEST_PAUSE_MS);
        // Many workers that failed together must not come back together.
        await pause(longest * (0.5 + Math.random() / 2), undefined, { signal });
      }
    }
  };

  const storage: Storage = {
    async *list(place) {
      const client = clientOf(place.bucket);
      let token: string | undefined;
      do {
        const page = await attempt(place, () =>
          client.list({
            prefix: place.key,
            maxKeys: LISTED_AT_ONCE,
            ...(token !== undefined && { continuationToken: token }),
          }),
        );
        for (const { key, size = 0, eTag = '' } of page.contents ?? []) yield { key, size, etag: eTag };
        token = page.isTruncated ? page.nextContinuationToken : undefined;
      } while (token !== undefined);
    },

    async find(place) {
      const client = clientOf(place.bucket);
      // A HEAD request has no body that would say why it fails.
      const page = await attempt(place, () => client.list({ prefix: place.key, maxKeys: 1 }));
      const first = page.contents?.[0];
      if (first?.key !== place.key) return undefined;
      return { key: first.key, size: first.size ?? 0, etag: first.eTag ?? '' };
    },

    async read(place, start, end) {
      if (start >= end) return new Uint8Array();
      const file = clientOf(place.bucket).file(place.key);
      return await attempt(place, async () => {
        const bytes = await file.slice(start, end).bytes();
        if (bytes.length === end - start) return bytes;
        throw new Error(`${bytes.length} bytes came instead of ${end - start}`);
      });
    },

    async write(place, content) {
      const client = clientOf(place.bucket);
      const size = typeof content === 'string' ? Buffer.byteLength(content) : content.size;
      await attempt(
        place,
        async () => {
          await client.write(place.key, content, { retry: 0 });
          const written = await client.list({ prefix: place.key, maxKeys: 1 });
          const [first] = written.contents ?? [];
          if (first?.key !== place.key || first.size !== size) throw new Error('it is incomplete there');
        },
        Math.max(timeoutMs, size > 0 ? UPLOAD_TIMEOUT_MS : 0),
      );
    },

    async remove(place) {
      await attempt(place, () => clientOf(place.bucket).delete(place.key));
    },
  };
  return storage;
}

/** New credentials may come while a worker runs; nothing may be recorded as missing because of old ones. */
function isPassing(code: string): boolean {
  return code === 'ExpiredToken' || code === 'InvalidToken';
}
