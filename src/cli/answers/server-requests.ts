import * as v from 'valibot';
import { isAboutFiles } from '../../contract/codes.ts';
import type { FoundFile } from '../files/find-files.ts';
import type { ReadFile } from '../files/read-picture.ts';
import { UsageError } from '../usage-error.ts';
import type { BrokenFile, SkippedFile, TellFile } from './answers.ts';
import { inOrder } from './in-order.ts';
import { type FormPart, ServerError } from './server-client.ts';

/** The work for this many files is large beside the overhead of a request, and answers come about every second. */
export const CHUNK_FILES = 32;
/** While one request is answered, the next one is sent, so that the server never waits. */
export const REQUESTS_AT_ONCE = 2;
export const READS_AT_ONCE = 3;

/** @throws UsageError if the answer has another shape: of another version of the service, or of a proxy */
export function expectShape<Schema extends v.GenericSchema>(
  schema: Schema,
  answer: unknown,
): v.InferOutput<Schema> {
  const parsed = v.safeParse(schema, answer);
  if (parsed.success) return parsed.output;
  throw wrongShape();
}

export function wrongShape(): UsageError {
  return new UsageError(
    'The server answered something else than this command expects. Does it have the same version? Is a proxy in between?',
  );
}

/** @returns undefined if no picture was sent, because none of the files is a picture */
export async function orNothing(answer: Promise<unknown>): Promise<unknown> {
  try {
    return await answer;
  } catch (fault) {
    if (fault instanceof ServerError && fault.code === 'files_missing') return undefined;
    throw fault;
  }
}

/** Whether the same request with other files may be answered. */
export function mayBeAFile(fault: unknown): fault is ServerError {
  return fault instanceof ServerError && (isAboutFiles(fault) || fault.about === 'unknown');
}

interface FilePartsOptions<Other> {
  readonly read: (file: FoundFile) => Promise<ReadFile | Other>;
  /** Receives what is not sent, by the place of its file. */
  readonly left: Map<string, BrokenFile | SkippedFile | (Other & { readonly file: string })>;
  readonly tell?: TellFile;
  readonly signal: AbortSignal;
}

/** The pictures among the files, which are read while the form is sent. Each has its place as its name. */
export async function* fileParts<Other extends { readonly kind: 'known' } = never>(
  files: readonly FoundFile[],
  { read, left, tell, signal }: FilePartsOptions<Other>,
): AsyncGenerator<FormPart> {
  let place = 0;
  for await (const [{ path: file }, found] of inOrder(files, READS_AT_ONCE, async (one) => {
    signal.throwIfAborted();
    return [one, await read(one)] as const;
  })) {
    const filename = String(place);
    place += 1;
    if (found.kind === 'picture') {
      yield { name: 'files', filename, content: found.bytes };
      tell?.({ kind: 'taken', file });
    } else if (found.kind === 'known') left.set(filename, { ...found, file });
    else {
      left.set(filename, { ...found, file });
      tell?.({ ...found, file });
    }
  }
}

interface HalvesOptions<Outcome> {
  readonly answer: (files: readonly FoundFile[]) => Promise<readonly Outcome[]>;
  /** Sends the same request without files. @throws unless the server would answer it */
  readonly prove: () => Promise<void>;
  /** Receives the files at which the server fails. */
  readonly unanswerable?: BrokenFile[];
  readonly signal: AbortSignal;
}

/** If a request fails, perhaps because of one of its files, halves of it are sent until that file is found. */
export async function inHalves<Outcome>(
  files: readonly FoundFile[],
  options: HalvesOptions<Outcome>,
): Promise<readonly (Outcome | BrokenFile)[]> {
  const { answer, prove, unanswerable, signal } = options;
  try {
    return await answer(files);
  } catch (fault) {
    signal.throwIfAborted();
    if (!mayBeAFile(fault)) throw fault;
    // If the server answers nothing at all, the halves need not be tried.
    await prove().catch(() => {
      signal.throwIfAborted();
      throw fault;
    });
    const [only] = files;
    if (files.length === 1 && only) {
      const code = fault.code ?? 'internal';
      const broken: BrokenFile = { kind: 'broken', file: only.path, code, error: fault.message };
      unanswerable?.push(broken);
      return [broken];
    }
    const middle = Math.ceil(files.length / 2);
    const outcomes: (Outcome | BrokenFile)[] = [];
    for (const half of [files.slice(0, middle), files.slice(middle)]) {
      outcomes.push(...(await inHalves(half, options)));
    }
    return outcomes;
  }
}
