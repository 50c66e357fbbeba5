import { AV_LOG_QUIET } from 'node-av/constants';
import { Log } from 'node-av/lib';

let quiet = false;

/** libav reports every oddity of a file on standard error: errors are returned to us anyway. */
export function quietLibrary(): void {
  if (quiet) return;
  Log.setLevel(AV_LOG_QUIET);
  quiet = true;
}
