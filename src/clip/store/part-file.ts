import { createHash } from 'node:crypto';
import { constants } from 'node:fs';
import { type FileHandle, lstat, open, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import * as v from 'valibot';
import type { DownloadSource } from './sources.ts';
import { storing } from './storage-error.ts';

/** What is known about the bytes of a part, so that no other file's bytes are put behind them. */
const originSchema = v.object({
  /** sha256 of the address they came from: the address itself may hold a token. */
  urlSha256: v.string(),
  /** Strong ETag, or Last-Modified, as If-Range takes them. */
  validator: v.optional(v.string()),
});
type PartOrigin = v.InferOutput<typeof originSchema>;

/**
 * The unfinished file of a download: `<file>.<identity>.part`, and beside it where its bytes came from.
 * Its methods throw ModelStoreError storage_full or storage_failed where the disk refuses.
 * The identity is the file's sum where that is known, so that one mirror goes on where another stopped.
 */
export class PartFile {
  readonly path: string;
  readonly #directory: string;
  readonly #source: DownloadSource;
  readonly #originPath: string;

  constructor(directory: string, source: DownloadSource) {
    const identity = source.sha256 ?? sha256OfText(source.url);
    this.path = join(directory, `${source.fileName}.${identity.slice(0, 12)}.part`);
    this.#directory = directory;
    this.#source = source;
    this.#originPath = `${this.path}.json`;
  }

  /** Bytes that are there already; 0 where there is no part, and where a link has its name. */
  async bytes(): Promise<number> {
    const present = await lstat(this.path).catch(() => undefined);
    return present?.isFile() ? present.size : 0;
  }

  /**
   * Opens it for writing: from its beginning, as a new file, or behind what is there. Where a link leads is not
   * written to: the names can be foreseen, and the folder may be one that others write to.
   * @throws ModelStoreError
   */
  async open(offset: number): Promise<FileHandle> {
    return await storing(this.#directory, async () => {
      // Windows has no such flag.
      if (offset > 0) return await open(this.path, constants.O_RDWR | (constants.O_NOFOLLOW ?? 0));
      await rm(this.path, { force: true });
      return await open(this.path, 'wx');
    });
  }

  /**
   * How the part may be continued: with a validator, or without one where the sum will tell.
   * Undefined: it may not, and has to begin anew.
   */
  async continuation(): Promise<{ readonly validator: string | undefined } | undefined> {
    const origin = await this.#origin();
    const validator = origin?.urlSha256 === sha256OfText(this.#source.url) ? origin.validator : undefined;
    return validator !== undefined || this.#source.sha256 !== undefined ? { validator } : undefined;
  }

  async setOrigin(validator: string | undefined): Promise<void> {
    const origin: PartOrigin = {
      urlSha256: sha256OfText(this.#source.url),
      ...(validator === undefined ? {} : { validator }),
    };
    await storing(this.#directory, async () => {
      await rm(this.#originPath, { force: true });
      await writeFile(this.#originPath, JSON.stringify(origin), { flag: 'wx' });
    });
  }

  async discard(): Promise<void> {
    await storing(this.#directory, async () => {
      await rm(this.path, { force: true });
      await rm(this.#originPath, { force: true });
    });
  }

  /** Gives the finished file its name. */
  async finish(target: string): Promise<void> {
    await storing(this.#directory, async () => {
      await rename(this.path, target);
      await rm(this.#originPath, { force: true });
    });
  }

  async #origin(): Promise<PartOrigin | undefined> {
    try {
      return v.parse(originSchema, JSON.parse(await readFile(this.#originPath, 'utf8')));
    } catch {
      // Absent or damaged: then nothing is known, which `continuation` deals with.
      return undefined;
    }
  }
}

/** Removes what interrupted downloads of these files left in a folder. */
export async function discardParts(directory: string, fileNames: readonly string[]): Promise<void> {
  for (const entry of await readdir(directory)) {
    const isPart = /\.[0-9a-f]{12}\.part(\.json)?$/.test(entry);
    if (isPart && fileNames.some((name) => entry.startsWith(`${name}.`))) {
      await rm(join(directory, entry), { force: true });
    }
  }
}

function sha256OfText(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}
