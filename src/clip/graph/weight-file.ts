import { type FileHandle, open } from 'node:fs/promises';

/** A page: ONNX Runtime maps each weight from the file into memory instead of reading it. */
const ALIGNMENT = 4096;

/** Where one tensor's bytes lie in a weight file. */
export interface WeightLocation {
  /** Offset from the file's beginning, in bytes; a multiple of 4096. */
  readonly byteOffset: number;
  readonly byteLength: number;
}

/** Weights one after another, little-endian and row-major, outside of the ONNX file that names them. */
export class WeightFile implements AsyncDisposable {
  readonly #file: FileHandle;
  #end = 0;

  private constructor(file: FileHandle) {
    this.#file = file;
  }

  /** @throws when the file exists already */
  static async create(path: string): Promise<WeightFile> {
    return new WeightFile(await open(path, 'wx'));
  }

  async append(values: ArrayBufferView): Promise<WeightLocation> {
    const bytes = new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
    const byteOffset = Math.ceil(this.#end / ALIGNMENT) * ALIGNMENT;
    // One call may write less than it is given.
    for (let written = 0; written < bytes.length; ) {
      const { bytesWritten } = await this.#file.write(
        bytes,
        written,
        bytes.length - written,
        byteOffset + written,
      );
      written += bytesWritten;
    }
    this.#end = byteOffset + bytes.length;
    return { byteOffset, byteLength: bytes.length };
  }

  /** Returns when all bytes stand on the disk: whoever renames the folder relies on it. */
  async flush(): Promise<void> {
    await this.#file.datasync();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#file.close();
  }
}
