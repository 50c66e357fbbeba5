import { errnoOf } from '../errors.ts';

/** The command cannot be carried out as given. The message is a sentence for the person who typed it. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
}

const reasons: Readonly<Record<string, string>> = {
  ENOENT: 'it does not exist',
  EACCES: 'permission is denied',
  EPERM: 'permission is denied',
  ENOTDIR: 'a part of its path is not a folder',
  EISDIR: 'it is a folder',
  ELOOP: 'its symbolic links form a circle',
  ENAMETOOLONG: 'its name is too long',
  EIO: 'the disk reports an error',
  ESTALE: 'the network drive has lost it',
  ENOSPC: 'the disk is full',
  EDQUOT: 'the disk quota is used up',
  EROFS: 'the file system is read-only',
};

/** Why a file operation failed, for the end of a sentence, after "because". */
export function reasonOf(error: unknown): string {
  const errno = errnoOf(error);
  const reason = errno === undefined ? undefined : reasons[errno];
  return reason ?? errno ?? (error instanceof Error ? error.message : String(error));
}
