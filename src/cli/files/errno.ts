import { errnoOf } from '../../errors.ts';

const reasons: Readonly<Record<string, string>> = {
  ENOENT: 'it does not exist',
  EACCES: 'permission is denied',
  EPERM: 'permission is denied',
  ENOTDIR: 'a part of its path is no folder',
  EISDIR: 'it is a folder',
  ELOOP: 'its symbolic links go round in circles',
  ENAMETOOLONG: 'its name is too long',
  EIO: 'the disk fails',
  ESTALE: 'the network drive has lost it',
  ENOSPC: 'the disk is full',
  EDQUOT: 'the quota is used up',
  EROFS: 'the file system is read-only',
};

/** Why a file operation failed, as the rest of a sentence after "because". */
export function reasonOf(error: unknown): string {
  const errno = errnoOf(error);
  const reason = errno === undefined ? undefined : reasons[errno];
  return reason ?? errno ?? (error instanceof Error ? error.message : String(error));
}
