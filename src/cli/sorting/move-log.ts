import { lstat, readdir, readFile } from 'node:fs/promises';
import { dirname, isAbsolute, join, relative, resolve } from 'node:path';
import * as v from 'valibot';
import { errnoOf } from '../../errors.ts';
import { numberedNames } from '../../file-names.ts';
import { reasonOf, UsageError } from '../usage-error.ts';
import {
  type FileFacts,
  type FileOperations,
  haveSameContent,
  isSameFile,
  moveFile,
  NameTakenError,
  NotSortedError,
  SourceError,
} from './file-operations.ts';

/**
 * The log of a run's moves: JSON Lines in the folder that is sorted into. Each move is written before it begins and
 * confirmed after it, so that a run killed at any point can be completed and undone.
 */

export interface FileMove {
  readonly from: string;
  readonly to: string;
}

/** With what the file was before the move, because another file may get its old name. */
interface LoggedFile extends FileMove {
  /** Bytes. */
  readonly size: number;
  /** Milliseconds since 1970. */
  readonly modified: number;
}

/** A photo and its companions, which move together. */
export interface LoggedMove {
  readonly id: number;
  /** Absolute paths; the photo first. */
  readonly files: readonly LoggedFile[];
  /** `begun`: perhaps only a part of it has happened. */
  readonly state: 'begun' | 'done' | 'cancelled' | 'undone';
}

/** Targets are relative to the log, so that the sorted folder may be moved as a whole. */
const lineSchema = v.union([
  v.strictObject({ log: v.literal('moves'), version: v.literal(1), started: v.number() }),
  v.strictObject({
    move: v.number(),
    files: v.array(
      v.strictObject({
        from: v.pipe(v.string(), v.check(isAbsolute)),
        to: v.pipe(v.string(), v.check(isInside)),
        size: v.number(),
        modified: v.number(),
      }),
    ),
  }),
  v.strictObject({ move: v.number(), state: v.picklist(['done', 'cancelled', 'undone']) }),
]);
type Line = v.InferOutput<typeof lineSchema>;

function isInside(path: string): boolean {
  return !isAbsolute(path) && !path.split(/[/\\]/).includes('..');
}

const logName = /^classify-moves-.*\.jsonl$/;

export interface MoveLog {
  /** Undefined until the first move. */
  readonly path: string | undefined;
  /** Resolves when the intention is on the disk. @returns the move's number */
  begin(files: readonly FileMove[]): Promise<number>;
  end(id: number, state: 'done' | 'cancelled'): Promise<void>;
}

export function createMoveLog(operations: FileOperations, directory: string, now = new Date()): MoveLog {
  let path: string | undefined;
  let last = 0;
  let hasMoved = false;
  const create = async (): Promise<string> => {
    const name = `classify-moves-${now.toISOString().slice(0, 19).replaceAll(':', '-')}.jsonl`;
    for (const candidate of numberedNames(name)) {
      const free = join(directory, candidate);
      if ((await operations.facts(free)) !== undefined) continue;
      // Unlike `append`, never through a link.
      await operations.write(free, Buffer.from(lineOf({ log: 'moves', version: 1, started: now.getTime() })));
      await operations.sync(directory);
      return free;
    }
    throw new Error('This is a bug: the names never end');
  };
  return {
    get path() {
      return path;
    },
    async begin(files) {
      path ??= await create();
      last += 1;
      const listed = await Promise.all(
        files.map(async ({ from, to }) => {
          const facts = await operations.facts(from);
          return { from: resolve(from), to: relative(directory, to), ...identityOf(facts) };
        }),
      );
      await operations.append(path, lineOf({ move: last, files: listed }));
      await operations.sync(path);
      return last;
    },
    async end(id, state) {
      if (path === undefined) return;
      if (state === 'done') hasMoved = true;
      if (hasMoved) return await operations.append(path, lineOf({ move: id, state }));
      // A log without moves would only be in the way.
      await operations.unlink(path);
      path = undefined;
    },
  };
}

function identityOf(facts: FileFacts | undefined): Pick<LoggedFile, 'size' | 'modified'> {
  return { size: Number(facts?.size ?? -1), modified: Number((facts?.mtimeNs ?? 0n) / 1_000_000n) };
}

function lineOf(line: Line): string {
  return `${JSON.stringify(line)}\n`;
}

/** Appends a line, after one that was cut when a run was killed. */
async function appendLine(operations: FileOperations, path: string, line: Line): Promise<void> {
  const file = Bun.file(path);
  const end = await file.slice(Math.max(0, file.size - 1)).text();
  await operations.append(path, `${end === '\n' ? '' : '\n'}${lineOf(line)}`);
}

/** The complete lines. */
function linesOf(text: string): readonly string[] {
  return text.split('\n').slice(0, -1);
}

function parseLine(text: string): Line | undefined {
  const parsed = v.safeParse(v.pipe(v.string(), v.parseJson(), lineSchema), text);
  return parsed.success ? parsed.output : undefined;
}

function isCut(line: string): boolean {
  if (!line.startsWith('{"move":') && !'{"move":'.startsWith(line)) return false;
  return !v.is(v.pipe(v.string(), v.parseJson()), line);
}

/** [number] the moves that lines of a log describe. Other lines are left out. */
function movesIn(lines: readonly string[], directory: string): ReadonlyMap<number, LoggedMove> {
  const moves = new Map<number, LoggedMove>();
  for (const line of lines.map(parseLine)) {
    if (line === undefined || 'log' in line) continue;
    if ('files' in line) {
      const files = line.files.map((file) => ({ ...file, to: join(directory, file.to) }));
      moves.set(line.move, { id: line.move, files, state: 'begun' });
    } else {
      const move = moves.get(line.move);
      if (move) moves.set(line.move, { ...move, state: line.state });
    }
  }
  return moves;
}

interface ReadLog {
  /** In their order. */
  readonly moves: readonly LoggedMove[];
  /** When the run began, in milliseconds since 1970. */
  readonly started: number;
}

/**
 * Reads a log. A line that was cut when a run was killed counts as not written.
 * @throws UsageError if the file cannot be read, or is not such a log
 */
export async function readMoveLog(path: string): Promise<ReadLog> {
  const text = await readFile(path, 'utf8').catch((fault: unknown) => {
    throw new UsageError(`The log ${path} cannot be read, because ${reasonOf(fault)}.`);
  });
  const lines = linesOf(text);
  const foreign = lines.findIndex((written, index) => {
    const line = parseLine(written);
    return index === 0 ? !line || !('log' in line) : !line && !isCut(written);
  });
  const header = parseLine(lines[0] ?? '');
  if (foreign !== -1 || !header || !('log' in header)) {
    throw new UsageError(
      `${path} is not a log of moves: line ${Math.max(0, foreign) + 1} is not of this command.`,
    );
  }
  return { moves: [...movesIn(lines, resolve(dirname(path))).values()], started: header.started };
}

/** Completes the move that a killed run had begun, so that a photo and its companions are together again. */
export async function completeBegunMove(operations: FileOperations, directory: string): Promise<void> {
  const names = await readdir(directory).catch(() => []);
  for (const name of names.filter((candidate) => logName.test(candidate))) {
    const path = join(directory, name);
    const begun = await lastBegun(path);
    if (begun === undefined) continue;
    try {
      for (const file of begun.files) await complete(operations, file);
      await appendLine(operations, path, { move: begun.id, state: 'done' });
    } catch (fault) {
      // The run reports the file when its turn comes.
      if (!isAboutFile(fault)) throw fault;
    }
  }
}

/** A photo and its companions need less. */
const TAIL_BYTES = 256 * 1024;

/** The last move of a log, if it was not confirmed. Logs are long, so only the end is read. */
async function lastBegun(path: string): Promise<LoggedMove | undefined> {
  // In a shared folder, another user could write a log that moves this user's files.
  const facts = await lstat(path).catch(() => undefined);
  if (!facts?.isFile() || facts.uid !== (process.getuid?.() ?? facts.uid)) return undefined;
  const file = Bun.file(path);
  const tail = await file.slice(Math.max(0, file.size - TAIL_BYTES)).text();
  const last = [...movesIn(linesOf(tail), resolve(dirname(path))).values()].at(-1);
  return last?.state === 'begun' ? last : undefined;
}

function isAboutFile(fault: unknown): boolean {
  return (
    errnoOf(fault) !== undefined ||
    fault instanceof NotSortedError ||
    fault instanceof NameTakenError ||
    fault instanceof SourceError
  );
}

async function complete(operations: FileOperations, file: LoggedFile): Promise<void> {
  const { from, to } = file;
  const [source, target] = await Promise.all([operations.facts(from), operations.facts(to)]);
  const { size, modified } = identityOf(source);
  if (!source || size !== file.size || modified !== file.modified) return;
  if (!target) await moveFile(operations, from, to);
  else if (await isCopy(operations, { from, to })) await operations.unlink(from);
}

/** Whether a move was killed after the target was complete, and before the source was removed. */
async function isCopy(operations: FileOperations, { from, to }: FileMove): Promise<boolean> {
  const [source, target] = await Promise.all([operations.facts(from), operations.facts(to)]);
  if (!source?.isFile() || !target?.isFile()) return false;
  return isSameFile(source, target) || (await haveSameContent(from, to));
}

/** What became of one file of a move that is undone. */
export type UndoneFile =
  | (FileMove & { readonly kind: 'back' })
  | { readonly kind: 'fault'; readonly path: string; readonly error: string };

interface UndoOptions {
  readonly operations: FileOperations;
  /** The companions of a photo that are not in the log, because they were made since. */
  readonly companionsOf: (move: FileMove) => Promise<readonly FileMove[]>;
  /** Changes no file. */
  readonly isDry: boolean;
}

/**
 * Moves the files of one move back, if they are where it put them and their old places are free.
 * @throws errors of the operations, if they are not about one file
 */
export async function undoMove(
  { files, state }: LoggedMove,
  { operations, companionsOf, isDry }: UndoOptions,
): Promise<readonly UndoneFile[]> {
  const [photo] = files;
  const others = photo ? await companionsOf(photo) : [];
  const outcomes: UndoneFile[] = [];
  for (const file of [...files, ...others].toReversed()) {
    const outcome = await moveBack(file, { operations, isDry, isBegun: state === 'begun' });
    if (outcome) outcomes.push(outcome);
  }
  return outcomes;
}

async function moveBack(
  file: FileMove,
  {
    operations,
    isDry,
    isBegun,
  }: { readonly operations: FileOperations; readonly isDry: boolean; readonly isBegun: boolean },
): Promise<UndoneFile | undefined> {
  const { from, to } = file;
  const fault = (error: string): UndoneFile => ({ kind: 'fault', path: to, error });
  try {
    const [source, target] = await Promise.all([operations.facts(from), operations.facts(to)]);
    if (!target) return source ? undefined : fault('It is no longer there, so it cannot be moved back.');
    if (source) {
      // The move was killed before it removed the source.
      const isSecond = isSameFile(source, target) || (isBegun && (await isCopy(operations, file)));
      if (!isSecond) return fault(`It cannot be moved back, because there is a file ${from}.`);
      if (!isDry) await operations.unlink(to);
    } else if (!isDry) {
      await operations.makeFolder(dirname(from));
      await moveFile(operations, to, from);
    }
    return { kind: 'back', from, to };
  } catch (thrown) {
    if (!isAboutFile(thrown)) throw thrown;
    if (thrown instanceof NotSortedError) return fault(thrown.message);
    const reason = reasonOf(thrown instanceof SourceError ? thrown.cause : thrown);
    return fault(`It cannot be moved back to ${from}, because ${reason}.`);
  }
}

/** Notes in the log that a move is undone. */
export function logUndone(operations: FileOperations, path: string, { id }: LoggedMove): Promise<void> {
  return appendLine(operations, path, { move: id, state: 'undone' });
}
