import { make as createParser, type MultipartError } from 'multipasta';
import { ServiceError } from '../errors.ts';
import { type ContentDisposition, parseContentDisposition } from './content-disposition.ts';

/** One part of a form. Its content is read before the next part is asked for; what is not read is skipped. */
export interface Part extends ContentDisposition {
  readonly content: AsyncIterable<Uint8Array>;
}

type PartEvent =
  | { readonly kind: 'part'; readonly disposition: ContentDisposition }
  | { readonly kind: 'bytes'; readonly bytes: Uint8Array }
  | { readonly kind: 'end' };

/**
 * The boundary that a `Content-Type: multipart/form-data` names.
 * @throws ServiceError content_type_unsupported, multipart_malformed
 */
export function boundaryOf(headers: Headers): string {
  const contentType = headers.get('content-type');
  const encoding = headers.get('content-encoding') ?? 'identity';
  if (encoding.toLowerCase() !== 'identity') {
    throw new ServiceError(
      'content_type_unsupported',
      `The body is sent with Content-Encoding ${JSON.stringify(encoding.slice(0, 100))}; send it as it is.`,
    );
  }
  if (!/^[ \t]*multipart\/form-data[ \t]*(?:;|$)/i.test(contentType ?? '')) {
    throw new ServiceError(
      'content_type_unsupported',
      `The body is ${contentType ? `of type ${JSON.stringify(contentType.slice(0, 100))}` : 'of no stated type'}; send a form as multipart/form-data, e.g. curl -F files=@photo.jpg -F categories=cat,dog.`,
    );
  }
  const [, quoted, token] = /;[ \t]*boundary=(?:"([^"]*)"|([^\s;"]+))/i.exec(contentType ?? '') ?? [];
  const boundary = quoted ?? token ?? '';
  // RFC 2046, 5.1.1: 1 to 70 characters of a small set.
  if (!/^[0-9a-z'()+_,./:=? -]{0,69}[0-9a-z'()+_,./:=?-]$/i.test(boundary)) {
    throw malformed('its Content-Type names no sound boundary (clients set it themselves: leave it to them)');
  }
  return boundary;
}

/**
 * Splits a form into its parts while it arrives. It asks for the next chunk only when all that the last
 * one held has been taken, so a slow reader holds the client back.
 *
 * The parser is multipasta, driven chunk by chunk; names are read here from the raw header, because it
 * loses names beyond Latin-1. (busboy and @fastify/busboy drop faulty parts without a word and cannot
 * tell an empty file name from none; @remix-run/multipart-parser holds whole parts in memory.)
 * @param body chunks, split anywhere
 * @throws ServiceError multipart_malformed, multipart_too_large; whatever `body` throws
 */
export async function* readParts(body: AsyncIterable<Uint8Array>, boundary: string): AsyncGenerator<Part> {
  const events = readEvents(body, boundary);
  const content = async function* () {
    for (;;) {
      const { value: event } = await events.next();
      if (event?.kind !== 'bytes') return;
      yield event.bytes;
    }
  };
  try {
    for (;;) {
      const { value: event } = await events.next();
      if (!event) return;
      if (event.kind !== 'part') continue; // what its reader left of the part before
      yield { ...event.disposition, content: content() };
    }
  } finally {
    await events.return(undefined);
  }
}

async function* readEvents(body: AsyncIterable<Uint8Array>, boundary: string): AsyncGenerator<PartEvent> {
  let events: PartEvent[] = [];
  let isComplete = false;
  let fault: ServiceError | undefined;
  const parser = createParser({
    headers: { 'content-type': `multipart/form-data; boundary="${boundary}"` },
    isFile: () => true,
    onFile({ headers }) {
      const disposition = dispositionOf(headers);
      if (disposition instanceof ServiceError) fault ??= disposition;
      else events.push({ kind: 'part', disposition });
      return (bytes) => events.push(bytes ? { kind: 'bytes', bytes } : { kind: 'end' });
    },
    onField: () => undefined,
    onError(error) {
      fault ??= faultOf(error);
    },
    onDone() {
      isComplete = true;
    },
  });

  /** Lets the parser do one step; what it found, until it has seen the closing boundary. */
  const eventsOf = (step: () => void): readonly PartEvent[] => {
    events = [];
    try {
      step();
    } catch (cause) {
      // It decodes `filename*` itself and stumbles over broken percent signs.
      throw malformed('a part’s header cannot be decoded', { cause });
    }
    if (fault) throw fault;
    return events;
  };

  let isEmpty = true;
  for await (const chunk of wholeDashes(body)) {
    isEmpty = false;
    yield* eventsOf(() => parser.write(chunk));
    if (isComplete) return; // the rest is an epilogue, which means nothing
  }
  if (isEmpty) throw malformed('it is empty');
  // It keeps a last chunk that is shorter than the boundary to itself until now.
  yield* eventsOf(() => parser.end());
  if (!isComplete) throw malformed(CUT_OFF);
}

const CUT_OFF = 'it ends before its closing boundary, as an upload that was cut off does';

/** Longer than any `\r\n--boundary--`. */
const MAX_DASHES = 256;

/**
 * Hands chunks on so that none ends in dashes: the parser recognises the closing `--` only when both of
 * them lie in one chunk.
 */
async function* wholeDashes(body: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  const DASH = 0x2d;
  let held: Uint8Array = new Uint8Array();
  for await (const chunk of body) {
    const joined = held.length === 0 ? chunk : Buffer.concat([held, chunk]);
    let end = joined.length;
    while (end > 0 && joined.length - end < MAX_DASHES && joined[end - 1] === DASH) end -= 1;
    // So many dashes are no delimiter.
    if (joined.length - end === MAX_DASHES) end = joined.length;
    held = joined.subarray(end);
    if (end > 0) yield joined.subarray(0, end);
  }
  if (held.length > 0) yield held;
}

function dispositionOf(
  headers: Readonly<Record<string, string | readonly string[]>>,
): ContentDisposition | ServiceError {
  const line = headers['content-disposition'];
  const disposition = typeof line === 'string' ? parseContentDisposition(line) : undefined;
  if (!disposition) {
    return malformed(
      `a part needs one header like Content-Disposition: form-data; name="files"; filename="photo.jpg", and has ${line === undefined ? 'none' : JSON.stringify(String(line).slice(0, 200))}`,
    );
  }
  const encoding = headers['content-transfer-encoding'];
  if (encoding !== undefined && !/^[ \t]*(?:7bit|8bit|binary)[ \t]*$/i.test(String(encoding))) {
    return malformed(
      `part ${JSON.stringify(disposition.name.slice(0, 100))} is sent with Content-Transfer-Encoding ${JSON.stringify(String(encoding).slice(0, 100))}; send bytes as they are`,
    );
  }
  return disposition;
}

function faultOf(error: MultipartError): ServiceError {
  switch (error._tag) {
    case 'BadHeaders':
      if (error.error.reason === 'HeaderTooLarge' || error.error.reason === 'TooManyHeaders') {
        return new ServiceError(
          'multipart_too_large',
          'A part’s headers are too large; at most 100 headers of 16 KiB in all are accepted.',
        );
      }
      return malformed('a part’s headers break the format');
    case 'InvalidDisposition':
      return malformed('a part has no name; name it files or categories');
    case 'EndNotReached':
      return malformed(CUT_OFF);
    default:
      return malformed('it cannot be read');
  }
}

function malformed(why: string, options?: ErrorOptions): ServiceError {
  return new ServiceError('multipart_malformed', `The multipart body is malformed: ${why}.`, {}, options);
}
