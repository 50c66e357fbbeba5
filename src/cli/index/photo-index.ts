import { Database, SQLiteError } from 'bun:sqlite';
import { closeSync, lstatSync, mkdirSync, openSync, readSync, renameSync, rmSync } from 'node:fs';
import { basename, dirname, resolve } from 'node:path';
import { MAX_PICTURE_TILES } from '../../contract/options.ts';
import { errnoOf } from '../../errors.ts';
import { takeTurns } from '../../turns.ts';
import type { FileStamp } from '../files/stamp.ts';
import { type SharedFile, shareFile } from '../output/claim.ts';
import { reasonOf, UsageError } from '../usage-error.ts';
import { createEmbeddingCoder, type StoredEmbedding } from './stored-embedding.ts';

export interface StampedFile {
  readonly path: string;
  readonly stamp: FileStamp;
  /** When the stamp was taken, in milliseconds since 1970. */
  readonly stampedMs: number;
}

/** A picture of the index, of one model. */
export interface IndexedPicture {
  readonly id: number;
  /** Of the picture's content and the model. A stored embedding is only read with the right one. */
  readonly salt: number;
}

export interface NewEntry extends StampedFile {
  readonly content: ContentHash;
  /** undefined: the index has the content already */
  readonly stored: StoredEmbedding | undefined;
}

/** The first half of the SHA-256 of a file. */
export type ContentHash = Uint8Array;

export function hashContent(bytes: Uint8Array): ContentHash {
  return new Bun.CryptoHasher('sha256').update(bytes).digest().subarray(0, CONTENT_BYTES);
}

const CONTENT_BYTES = 16;

/**
 * The pictures that one model has encoded. If the index turns out to be damaged, it is rebuilt, and every method
 * answers as an empty index does. If the disk fails, the run continues without it.
 */
export interface PhotoIndex {
  saltOf(content: ContentHash): number;
  /** @returns for each file its picture; undefined if the file is new, or has changed */
  recognise(files: readonly StampedFile[]): readonly (IndexedPicture | undefined)[];
  /** Finds a picture that was encoded under another path. */
  find(content: ContentHash): IndexedPicture | undefined;
  /**
   * Stores all entries, or none if the process is killed.
   * @returns for each entry its picture; undefined if it could not be stored
   */
  save(entries: readonly NewEntry[]): readonly (IndexedPicture | undefined)[];
  /**
   * @param room receives the embedding
   * @returns the part of it that is filled, [tiles, D]; undefined if the index does not have the picture any more
   */
  read(picture: IndexedPicture, room: Float32Array): Float32Array | undefined;
  /**
   * Reads many embeddings, in the order of the disk.
   * @param pictures by ascending id
   * @param visit its embedding is valid during the call
   * @returns the places of the pictures that the index does not have any more
   */
  scan(
    pictures: PictureList,
    visit: (place: number, embedding: Float32Array) => void,
    signal: AbortSignal,
  ): Promise<readonly number[]>;
}

/** Many pictures in little memory. */
export interface PictureList {
  readonly ids: Float64Array;
  readonly salts: Uint32Array;
}

/** What made an embedding: others do not compare with it. */
export interface EmbeddingOrigin {
  /** Of the model. */
  readonly sha256: string;
  /** Of its numbers, and what else changes them: `int8 on #ffffff fit tiles`. */
  readonly precision: string;
}

export interface OpenIndex extends Disposable {
  /** @param dimension numbers of an embedding; a picture has one for each of its tiles */
  of(model: EmbeddingOrigin, dimension: number): PhotoIndex;
}

interface OpenIndexOptions {
  readonly path: string;
  /** Named by the person: then it is an error if it cannot be used. */
  readonly isNamed: boolean;
  readonly note: (sentence: string) => void;
  readonly now?: () => number;
}

/** "CLIX", so that no other program's database is taken for an index. */
const APPLICATION_ID = 0x434c4958;
/**
 * Raise it when the tables change, or when a picture's embedding does: by decoding, preprocessing or the graph. An index
 * of another version is rebuilt.
 */
const VERSION = 1;

/** Large pages waste least: an embedding of 1 KB never spills, and 31 fill a page. */
const PAGE_BYTES = 32 * 1024;
/** The keys of a million pictures stay in memory. */
const CACHE_KIB = 64 * 1024;
const BUSY_MS = 10_000;

const schema = `
CREATE TABLE IF NOT EXISTS models(
  id INTEGER PRIMARY KEY, sha256 TEXT NOT NULL, precision TEXT NOT NULL, UNIQUE(sha256, precision));
CREATE TABLE IF NOT EXISTS folders(id INTEGER PRIMARY KEY, path TEXT NOT NULL UNIQUE);
CREATE TABLE IF NOT EXISTS files(
  folder INTEGER NOT NULL, name TEXT NOT NULL, size INTEGER NOT NULL, modified REAL NOT NULL,
  changed REAL NOT NULL, content BLOB NOT NULL, model INTEGER NOT NULL, picture INTEGER NOT NULL,
  seen INTEGER NOT NULL, PRIMARY KEY(folder, name)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS contents(
  content BLOB NOT NULL, model INTEGER NOT NULL, picture INTEGER NOT NULL,
  PRIMARY KEY(content, model)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS pictures(id INTEGER PRIMARY KEY, embedding BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS cleanings(day INTEGER NOT NULL);
`;

const DAY_MS = 24 * 3600 * 1000;
/** `seen` is written again only after this number of days, because a question would write every row otherwise. */
const SEEN_DAYS = 30;
/** Photos that no question has met for so long are forgotten. */
const FORGOTTEN_DAYS = 400;
/** A file can be written again within the resolution of its time stamps. FAT's is the coarsest, with two seconds. */
const UNSETTLED_MS = 3000;

const SCANNED_AT_ONCE = 1024;
/** Rows between the wanted ones cost less than a search for each, up to this share. */
const MAX_SPREAD = 8;

/** Where it is if the person names no other. */
export function defaultIndexPath(cacheDirectory: string | undefined, home: string): string {
  return resolve(cacheDirectory ?? resolve(home, '.cache/clip'), 'photos.index');
}

/**
 * Opens an index, or creates it. A damaged index, and one of another version, is replaced; a file of something else is
 * renamed first. Several processes may use one index at the same time.
 * @returns undefined if it cannot be used, and is not named
 * @throws UsageError if it cannot be used
 */
export async function openIndex(options: OpenIndexOptions): Promise<OpenIndex | undefined> {
  const { path, isNamed, note } = options;
  let runs: SharedFile | undefined;
  try {
    const present = lstatSync(path, { throwIfNoEntry: false });
    if (present && !present.isFile())
      throw new UsageError(`The index ${path} is not a file; name another one.`);
    mkdirSync(dirname(path), { recursive: true });
    const { shared, isAlone } = await shareFile(`${path}-runs`);
    runs = shared;
    return createIndex(options, shared, isAlone);
  } catch (fault) {
    runs?.[Symbol.dispose]();
    const isExpected = fault instanceof UsageError || fault instanceof SQLiteError || errnoOf(fault);
    if (!isExpected) throw fault;
    const sentence =
      fault instanceof UsageError
        ? fault.message
        : `The index ${path} cannot be used, because ${reasonOfFault(fault)}.`;
    if (isNamed) throw new UsageError(sentence);
    note(`${sentence} This run does not remember its photos; --index FILE names another place.`);
    return undefined;
  }
}

function reasonOfFault(fault: unknown): string {
  if (!(fault instanceof SQLiteError)) return reasonOf(fault);
  const { code } = fault;
  if (code === 'SQLITE_FULL') return 'the disk is full';
  if (code?.startsWith('SQLITE_BUSY') || code?.startsWith('SQLITE_LOCKED'))
    return 'another run is busy with it';
  if (code?.startsWith('SQLITE_READONLY') || code === 'SQLITE_CANTOPEN') return 'it cannot be written';
  return fault.message;
}

function isDamage(fault: unknown): boolean {
  if (!(fault instanceof SQLiteError)) return false;
  // SQLITE_ERROR: a table is missing, or has other columns.
  return /^SQLITE_(?:CORRUPT|NOTADB|ERROR|MISMATCH|IOERR_SHORT_READ)/.test(fault.code ?? '');
}

const suffixes = ['', '-wal', '-shm'] as const;

const SQLITE_MAGIC = 'SQLite format 3\0';
const HEADER_BYTES = 100;

/**
 * Looks at a file without opening it as a database, which could change it.
 * @returns why it cannot be used; undefined: it can, or it is missing or empty
 */
function faultOfFile(path: string): 'foreign' | 'version' | undefined {
  const size = lstatSync(path, { throwIfNoEntry: false })?.size ?? 0;
  if (size === 0) return undefined;
  const header = Buffer.alloc(HEADER_BYTES);
  const file = openSync(path, 'r');
  try {
    readSync(file, header, 0, HEADER_BYTES, 0);
  } finally {
    closeSync(file);
  }
  const isOurs =
    header.toString('latin1', 0, SQLITE_MAGIC.length) === SQLITE_MAGIC &&
    header.readUInt32BE(68) === APPLICATION_ID;
  if (!isOurs) return 'foreign';
  return header.readUInt32BE(60) === VERSION ? undefined : 'version';
}

/** Gives a file another name, so that nothing of somebody else is lost. @returns the name */
function setAside(path: string): string {
  for (let number = 1; ; number++) {
    const target = `${path}.set-aside${number === 1 ? '' : `-${number}`}`;
    if (lstatSync(target, { throwIfNoEntry: false })) continue;
    renameSync(path, target);
    for (const suffix of suffixes.slice(1)) rmSync(`${path}${suffix}`, { force: true });
    return target;
  }
}

function createIndex(
  { path, note, now = Date.now }: OpenIndexOptions,
  runs: SharedFile,
  isAloneAtFirst: boolean,
): OpenIndex {
  let database: Database | undefined;
  /** An entry could not be read. Either only the entry is damaged, or the whole index: SQLite does not notice all. */
  let isSuspect = false;
  let isChecked = false;
  const today = Math.floor(now() / DAY_MS);

  /** Only if this run is the only one: SQLite does not survive that its files are removed under it. */
  const replace = (): string => {
    if (faultOfFile(path) === 'foreign') return `It was renamed to ${setAside(path)}; a new one is made.`;
    for (const suffix of suffixes) rmSync(`${path}${suffix}`, { force: true });
    return 'It is made anew.';
  };

  const open = (isAlone: boolean): void => {
    // Paths and embeddings say much about the photos. SQLite gives its other files the same permissions.
    closeSync(openSync(path, 'a', 0o600));
    const opened = new Database(path, { create: true, strict: true });
    try {
      opened.run(`PRAGMA busy_timeout=${BUSY_MS}`);
      opened.run(`PRAGMA page_size=${PAGE_BYTES}`);
      if (isAlone) {
        // Before the write-ahead log exists: the file itself says what it is, even if this run is killed.
        opened
          .transaction(() => {
            opened.run(schema);
            opened.run(`PRAGMA application_id=${APPLICATION_ID}`);
            opened.run(`PRAGMA user_version=${VERSION}`);
          })
          .immediate();
      }
      opened.run('PRAGMA journal_mode=WAL');
      // A killed process loses nothing; a power failure may lose the last second, and leaves the index valid.
      opened.run('PRAGMA synchronous=NORMAL');
      opened.run(`PRAGMA cache_size=-${CACHE_KIB}`);
      if (isAlone) forget(opened);
    } catch (fault) {
      opened.close();
      throw fault;
    }
    database = opened;
  };

  const close = () => {
    database?.close();
    database = undefined;
  };

  /** Forgets photos that no question has met for a year, once a month. */
  const forget = (opened: Database): void => {
    const last = opened.query<{ day: number | null }, []>('SELECT max(day) AS day FROM cleanings').get()?.day;
    if (last != null && last > today - SEEN_DAYS) return;
    opened
      .transaction(() => {
        opened.query('DELETE FROM files WHERE seen < ?').run(today - FORGOTTEN_DAYS);
        opened.run('DELETE FROM contents WHERE content NOT IN (SELECT content FROM files)');
        opened.run('DELETE FROM pictures WHERE id NOT IN (SELECT picture FROM contents)');
        opened.run('DELETE FROM cleanings');
        opened.query('INSERT INTO cleanings VALUES(?)').run(today);
      })
      .immediate();
  };

  /** Opens the index; if it cannot be read, replaces it. */
  const prepare = (isAlone: boolean): void => {
    try {
      const fault = faultOfFile(path);
      if (fault !== undefined) {
        const what =
          fault === 'foreign' ? 'is not an index of photos' : 'is of another version of this command';
        if (!isAlone) throw new UsageError(`The index ${path} ${what}, and another run is using it.`);
        note(`${path} ${what}. ${replace()}`);
      }
      try {
        open(isAlone);
      } catch (damage) {
        if (!isDamage(damage)) throw damage;
        if (!isAlone) throw new UsageError(`The index ${path} is damaged, and another run is using it.`);
        note(`The index ${path} is damaged (${reasonOfFault(damage)}). ${replace()}`);
        open(isAlone);
      }
    } finally {
      if (isAlone) runs.share();
    }
  };

  const giveUp = (why: string): void => {
    close();
    note(`The index ${path} ${why}. This run goes on without it.`);
  };

  const rebuild = (fault: unknown): void => {
    // What this run has found before is missing from the new index, which is no damage.
    isChecked = true;
    close();
    const reason = fault instanceof Error ? fault.message : String(fault);
    if (!runs.claim()) {
      giveUp(`is damaged (${reason}), and another run is using it`);
      return;
    }
    try {
      note(`The index ${path} is damaged (${reason}). ${replace()}`);
      open(true);
    } finally {
      runs.share();
    }
  };

  const check = (opened: Database): void => {
    isChecked = true;
    const [first] = opened.query('PRAGMA integrity_check(1)').values() as [string][];
    if (first?.[0] !== 'ok') rebuild(new Error('its structure is broken'));
    else note(`The index ${path} has damaged entries. Their photos are analysed again.`);
  };

  /** Works with the database. Damage and faults of the disk do not end the run. */
  const attempt = <T>(work: (opened: Database) => T, otherwise: T): T => {
    if (!database) return otherwise;
    try {
      const result = work(database);
      if (isSuspect && !isChecked) check(database);
      return result;
    } catch (fault) {
      if (!(fault instanceof SQLiteError)) throw fault;
      if (!isDamage(fault)) giveUp(`cannot be used, because ${reasonOfFault(fault)}`);
      else {
        try {
          rebuild(fault);
          if (database) return work(database);
        } catch (again) {
          giveUp(`cannot be made anew, because ${reasonOfFault(again)}`);
        }
      }
      return otherwise;
    }
  };

  const onUnreadable = () => {
    isSuspect = true;
  };

  prepare(isAloneAtFirst);

  return {
    of: (model, dimension) => createPhotoIndex({ attempt, onUnreadable, model, dimension, today }),
    [Symbol.dispose]() {
      close();
      runs[Symbol.dispose]();
    },
  };
}

interface PhotoIndexParts {
  readonly attempt: <T>(work: (database: Database) => T, otherwise: T) => T;
  /** Called when an embedding that should be there could not be read. */
  readonly onUnreadable: () => void;
  readonly model: EmbeddingOrigin;
  readonly dimension: number;
  /** In days since 1970. */
  readonly today: number;
}

interface FileRow {
  readonly size: number;
  readonly modified: number;
  readonly changed: number;
  readonly content: Uint8Array;
  readonly model: number;
  readonly picture: number;
  readonly seen: number;
}

const fileColumns = 'name, size, modified, changed, content, model, picture, seen';
type FileValues = [string, number, number, number, Uint8Array, number, number, number];

function isRowOf({ size, modified, changed, content }: FileRow, stamp: FileStamp): boolean {
  const isSame = size === stamp.size && modified === stamp.modifiedMs && changed === stamp.changedMs;
  return isSame && content instanceof Uint8Array;
}

/** Files in a row that are in one folder. */
interface FolderRun {
  readonly folder: string;
  readonly names: readonly string[];
  /** The place of the first of them. */
  readonly first: number;
}

function runsOf(files: readonly StampedFile[]): readonly FolderRun[] {
  const runs: { folder: string; names: string[]; first: number }[] = [];
  for (const [place, { path }] of files.entries()) {
    const absolute = resolve(path);
    const folder = dirname(absolute);
    const last = runs.at(-1);
    if (last?.folder === folder) last.names.push(basename(absolute));
    else runs.push({ folder, names: [basename(absolute)], first: place });
  }
  return runs;
}

/** Files that are not asked for may be between the others. */
const ROWS_FOR_A_NAME = 2;

/** The names mostly follow each other, so one search finds all. */
function rowsOf(database: Database, folder: number, names: readonly string[]): ReadonlyMap<string, FileRow> {
  const rows = new Map<string, FileRow>();
  const take = (found: unknown[][]) => {
    for (const [name, size, modified, changed, content, model, picture, seen] of found as FileValues[]) {
      rows.set(name, { size, modified, changed, content, model, picture, seen });
    }
  };
  const between = database.query(
    `SELECT ${fileColumns} FROM files WHERE folder = ? AND name BETWEEN ? AND ? ORDER BY name LIMIT ?`,
  );
  const most = ROWS_FOR_A_NAME * names.length;
  const found = between.values(folder, names[0] ?? '', names.at(-1) ?? '', most);
  take(found);
  if (found.length < most && rows.size >= names.length) return rows;
  const one = database.query(`SELECT ${fileColumns} FROM files WHERE folder = ? AND name = ?`);
  for (const name of names) if (!rows.has(name)) take(one.values(folder, name));
  return rows;
}

function createPhotoIndex({ attempt, onUnreadable, model, dimension, today }: PhotoIndexParts): PhotoIndex {
  const coder = createEmbeddingCoder(dimension);
  const modelSalt = Bun.hash.xxHash32(`${model.sha256} ${model.precision}`);
  const saltOf = (content: ContentHash): number => Bun.hash.xxHash32(content, modelSalt);

  /** A statement is compiled once for a database. */
  const modelId = (database: Database): number => {
    const find = database.query<{ id: number }, [string, string]>(
      'SELECT id FROM models WHERE sha256 = ? AND precision = ?',
    );
    const known = find.get(model.sha256, model.precision)?.id;
    if (known !== undefined) return known;
    database
      .query('INSERT OR IGNORE INTO models(sha256, precision) VALUES(?, ?)')
      .run(model.sha256, model.precision);
    return find.get(model.sha256, model.precision)?.id ?? Number.NaN;
  };

  const folderId = (database: Database, path: string): number | undefined =>
    database.query<{ id: number }, [string]>('SELECT id FROM folders WHERE path = ?').get(path)?.id;

  const pictureOf = (
    database: Database,
    content: ContentHash,
    itsModel: number,
  ): IndexedPicture | undefined => {
    const [row] = database
      .query('SELECT picture FROM contents WHERE content = ? AND model = ?')
      .values(content, itsModel) as [number][];
    return row && { id: row[0], salt: saltOf(content) };
  };

  const embeddingOf = (database: Database, id: number): unknown =>
    database.query('SELECT embedding FROM pictures WHERE id = ?').values(id)[0]?.[0];

  const load = (stored: unknown, salt: number, room: Float32Array): Float32Array | undefined => {
    const embedding = stored instanceof Uint8Array ? coder.load(stored, salt, room) : undefined;
    if (!embedding) onUnreadable();
    return embedding;
  };

  return {
    saltOf,

    recognise: (files) =>
      attempt(
        (database) => {
          const itsModel = modelId(database);
          const met: [folder: number, name: string][] = [];
          const found: (IndexedPicture | undefined)[] = [];
          for (const { folder: path, names, first } of runsOf(files)) {
            const folder = folderId(database, path);
            if (folder === undefined) continue;
            const rows = rowsOf(database, folder, names);
            for (const [order, name] of names.entries()) {
              const row = rows.get(name);
              const stamp = files[first + order]?.stamp;
              if (!row || !stamp || !isRowOf(row, stamp)) continue;
              if (row.seen < today - SEEN_DAYS) met.push([folder, name]);
              // Most often, the photos were encoded by the model that is asked now.
              found[first + order] =
                row.model === itsModel
                  ? { id: row.picture, salt: saltOf(row.content) }
                  : pictureOf(database, row.content, itsModel);
            }
          }
          if (met.length > 0) {
            const see = database.query('UPDATE files SET seen = ? WHERE folder = ? AND name = ?');
            database
              .transaction(() => {
                for (const [folder, name] of met) see.run(today, folder, name);
              })
              .immediate();
          }
          return files.map((_, place) => found[place]);
        },
        files.map(() => undefined),
      ),

    find: (content) => attempt((database) => pictureOf(database, content, modelId(database)), undefined),

    save: (entries) =>
      attempt(
        (database) => {
          const addFolder = database.query('INSERT OR IGNORE INTO folders(path) VALUES(?)');
          const addFile = database.query('INSERT OR REPLACE INTO files VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?)');
          const addPicture = database.query('INSERT INTO pictures(embedding) VALUES(?)');
          const replacePicture = database.query('INSERT OR REPLACE INTO pictures VALUES(?, ?)');
          const addContent = database.query('INSERT INTO contents VALUES(?, ?, ?)');
          return database
            .transaction(() => {
              const itsModel = modelId(database);
              return entries.map(({ path, stamp, stampedMs, content, stored }) => {
                let picture = pictureOf(database, content, itsModel);
                if (picture && stored) replacePicture.run(picture.id, stored);
                else if (!picture && stored) {
                  const id = Number(addPicture.run(stored).lastInsertRowid);
                  addContent.run(content, itsModel, id);
                  picture = { id, salt: saltOf(content) };
                }
                // A file that has just been written may be written again without another stamp.
                const isSettled = stamp.changedMs < stampedMs - UNSETTLED_MS;
                if (picture && isSettled) {
                  const absolute = resolve(path);
                  const parent = dirname(absolute);
                  addFolder.run(parent);
                  const folder = folderId(database, parent) ?? Number.NaN;
                  const { size, modifiedMs, changedMs } = stamp;
                  addFile.run(
                    folder,
                    basename(absolute),
                    size,
                    modifiedMs,
                    changedMs,
                    content,
                    itsModel,
                    picture.id,
                    today,
                  );
                }
                return picture;
              });
            })
            .immediate();
        },
        entries.map(() => undefined),
      ),

    read: ({ id, salt }, room) =>
      attempt((database) => load(embeddingOf(database, id), salt, room), undefined),

    async scan({ ids, salts }, visit, signal) {
      const missing: number[] = [];
      const turns = takeTurns(signal);
      const room = new Float32Array(MAX_PICTURE_TILES * dimension);
      const take = (place: number, stored: unknown) => {
        const embedding = load(stored, salts[place]!, room);
        if (embedding) visit(place, embedding);
        else missing.push(place);
      };
      for (let start = 0; start < ids.length; start += SCANNED_AT_ONCE) {
        const end = Math.min(start + SCANNED_AT_ONCE, ids.length);
        const [first, last] = [ids[start]!, ids[end - 1]!];
        const isDense = last - first < MAX_SPREAD * (end - start);
        let place = start;
        attempt((database) => {
          if (isDense) {
            const rows = database.query('SELECT id, embedding FROM pictures WHERE id BETWEEN ? AND ?');
            for (const [id, stored] of rows.values(first, last) as [number, unknown][]) {
              while (place < end && ids[place]! < id) take(place++, undefined);
              if (ids[place] === id) take(place++, stored);
            }
            while (place < end) take(place++, undefined);
          } else {
            while (place < end) {
              take(place, embeddingOf(database, ids[place]!));
              place += 1;
            }
          }
        }, undefined);
        while (place < end) missing.push(place++);
        if (turns.isOver) await turns.next();
      }
      return missing;
    },
  };
}
