import type { DownloadSource } from './sources.ts';
import { TransferError } from './transfer-error.ts';

/** What an answer's head says about its body. */
export type Delivery =
  /** Nothing is missing. */
  | { readonly kind: 'complete' }
  /** The bytes that are there cannot be continued; they must go before the source is asked again. */
  | { readonly kind: 'restart'; readonly reason: string }
  /** Bytes for the part, from `offset` on. */
  | {
      readonly kind: 'body';
      readonly offset: number;
      readonly bytesTotal: number | undefined;
      /** Strong ETag, or Last-Modified. */
      readonly validator: string | undefined;
    };

/**
 * Decides from an answer's head what its body is.
 * @param present bytes that are there and were asked to be continued; 0 for a plain request
 * @param asked the validator sent with If-Range
 * @throws TransferError
 */
export function judgeAnswer(
  { status, headers }: Pick<Response, 'status' | 'headers'>,
  source: DownloadSource,
  present: number,
  asked: string | undefined,
): Delivery {
  if (status === 416 && present > 0) return judgeUnsatisfiable(headers, source, present);
  if (status !== 200 && status !== 206) {
    const transient = status >= 500 || status === 408 || status === 425 || status === 429;
    throw new TransferError(`it answers ${status}`, transient);
  }
  if (/^text\/html\b/i.test(headers.get('content-type') ?? '')) {
    // A network's login page, or a host's page about the file.
    throw new TransferError('it sends a web page instead of the file', false);
  }
  const validator = validatorOf(headers);
  const range = status === 206 ? contentRange(headers) : undefined;
  if (status === 206) {
    if (range?.start !== present) return restart('it sends another range than the one asked for');
    if (asked !== undefined && validator !== undefined && asked !== validator) {
      return restart('its file has changed since the download began');
    }
  }
  const bytesTotal = range === undefined ? contentLength(headers) : range.total;
  if (source.bytes !== undefined && bytesTotal !== undefined && bytesTotal !== source.bytes) {
    throw new TransferError(
      `it offers ${bytesTotal.toLocaleString('en')} bytes where ${source.bytes.toLocaleString('en')} are expected`,
      false,
    );
  }
  // A server that ignores Range, or whose file has changed, answers 200 with everything from the start.
  const offset = range === undefined ? 0 : present;
  return { kind: 'body', offset, bytesTotal: source.bytes ?? bytesTotal, validator };
}

/** 416: nothing lies behind the bytes that are there, so they are either all, or of another file. */
function judgeUnsatisfiable(headers: Headers, source: DownloadSource, present: number): Delivery {
  const total = /^bytes \*\/(\d+)$/.exec(headers.get('content-range') ?? '')?.[1];
  const complete = total !== undefined && Number(total) === present && source.bytes === undefined;
  return complete ? { kind: 'complete' } : restart('it cannot continue what was begun');
}

function restart(reason: string): Delivery {
  return { kind: 'restart', reason };
}

function contentRange(headers: Headers): { start: number; total: number | undefined } | undefined {
  const found = /^bytes (\d+)-\d+\/(\d+|\*)$/.exec(headers.get('content-range') ?? '');
  if (found === null) return undefined;
  return { start: Number(found[1]), total: found[2] === '*' ? undefined : Number(found[2]) };
}

function contentLength(headers: Headers): number | undefined {
  const encoded = (headers.get('content-encoding') ?? 'identity') !== 'identity';
  const length = headers.get('content-length');
  return encoded || length === null ? undefined : Number(length);
}

function validatorOf(headers: Headers): string | undefined {
  const etag = headers.get('etag');
  // If-Range takes strong validators only.
  return etag?.startsWith('"') ? etag : (headers.get('last-modified') ?? undefined);
}
