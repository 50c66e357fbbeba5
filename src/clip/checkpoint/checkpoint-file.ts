import { closeSync, fstatSync, openSync, readSync, statSync } from 'node:fs';
import { CheckpointError } from './checkpoint-error.ts';

/** Bytes of a file, from its beginning. */
export interface ByteRange {
  readonly byteOffset: number;
  readonly byteLength: number;
}

/** An open checkpoint file, read at given positions so that it never lies in memory whole. */
export class CheckpointFile implements Disposable {
  readonly path: string;
  readonly byteLength: number;
  #descriptor: number | undefined;

  /** @throws CheckpointError where there is no regular file that may be read */
  constructor(path: string) {
    this.path = path;
    try {
      // Asked before opening: opening a named pipe would wait for a writer.
      if (!statSync(path).isFile()) throw new CheckpointError('it is not a regular file');
      this.#descriptor = openSync(path, 'r');
      this.byteLength = fstatSync(this.#descriptor).size;
    } catch (error) {
      this[Symbol.dispose]();
      if (error instanceof CheckpointError) throw error;
      throw new CheckpointError(`it cannot be opened (${systemFault(error)})`, { cause: error });
    }
  }

  /**
   * Fills `target` from `position` on, in bytes.
   * @throws CheckpointError where the file ends before, or cannot be read
   */
  read(target: Uint8Array, position: number): void {
    if (this.#descriptor === undefined) throw new Error('This is a bug: the checkpoint is closed already.');
    let done = 0;
    while (done < target.byteLength) {
      let count: number;
      try {
        count = readSync(this.#descriptor, target, done, target.byteLength - done, position + done);
      } catch (error) {
        throw new CheckpointError(`reading it failed (${systemFault(error)})`, { cause: error });
      }
      if (count === 0) throw new CheckpointError(`it ends before byte ${position + target.byteLength}`);
      done += count;
    }
  }

  /** The caller has checked the range's length against a limit of its own. */
  readRange({ byteOffset, byteLength }: ByteRange): Uint8Array<ArrayBuffer> {
    const bytes = new Uint8Array(byteLength);
    this.read(bytes, byteOffset);
    return bytes;
  }

  [Symbol.dispose](): void {
    if (this.#descriptor === undefined) return;
    closeSync(this.#descriptor);
    this.#descriptor = undefined;
  }
}

function systemFault(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : String(error);
}
