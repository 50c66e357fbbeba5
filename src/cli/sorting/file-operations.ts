import { constants } from 'node:fs';
import * as fs from 'node:fs/promises';
import { errnoOf } from '../files/errno.ts';

/** What `lstat` tells, as far as sorting asks. */
export interface FileFacts {
  readonly dev: bigint;
  readonly ino: bigint;
  readonly nlink: bigint;
  readonly size: bigint;
  readonly mtimeNs: bigint;
  isFile(): boolean;
  isSymbolicLink(): boolean;
}

/** The steps that sorting is made of. Tests let each of them fail, and end the process before and after. */
export interface FileOperations {
  /** Undefined: there is nothing of this name. */
  facts(path: string): Promise<FileFacts | undefined>;
  makeFolder(path: string): Promise<void>;
  /** A second name for a file. @throws EEXIST where the name is taken: the one way to never overwrite */
  link(existing: string, name: string): Promise<void>;
  rename(from: string, to: string): Promise<void>;
  unlink(path: string): Promise<void>;
  /** Copies content, permissions and times. What has the name loses it, and other names of it stay whole. */
  copy(from: string, to: string): Promise<void>;
  /** As `copy`. */
  write(path: string, bytes: Uint8Array): Promise<void>;
  /** Resolves when a file or a folder's list of names would survive a power cut. */
  sync(path: string): Promise<void>;
}

export const fileOperations: FileOperations = {
  async facts(path) {
    try {
      return await fs.lstat(path, { bigint: true });
    } catch (error) {
      if (errnoOf(error) === 'ENOENT') return undefined;
      throw error;
    }
  },
  async makeFolder(path) {
    await fs.mkdir(path, { recursive: true });
  },
  link: fs.link,
  rename: fs.rename,
  unlink: fs.unlink,
  async copy(from, to) {
    await fs.rm(to, { force: true });
    // Shares the blocks instead of copying them, where the file system can.
    await fs.copyFile(from, to, constants.COPYFILE_FICLONE | constants.COPYFILE_EXCL);
    const { atimeMs, mtimeMs } = await fs.stat(from);
    // Not `utimes`: that would follow a link that somebody has put in its place meanwhile.
    await fs.lutimes(to, atimeMs / 1000, mtimeMs / 1000);
  },
  async write(path, bytes) {
    await fs.rm(path, { force: true });
    await fs.writeFile(path, bytes, { flag: 'wx' });
  },
  async sync(path) {
    const file = await fs.open(path, 'r');
    try {
      await file.sync();
    } catch (error) {
      // Some file systems have nothing to do for a folder, and say so.
      if (errnoOf(error) !== 'EINVAL') throw error;
    } finally {
      await file.close();
    }
  },
};
