import { closeSync, fstatSync, openSync, readSync, statSync } from 'node:fs';
import { errnoOf, invariant } from '../../errors.ts';
import type { ClipArchitecture } from '../architecture.ts';

/** One named weight. It stays in its file until it is read, so that memory never holds a whole checkpoint. */
export interface WeightTensor {
  readonly shape: readonly number[];
  /**
   * Reads the values, widened to float32 and row-major. Takes a few megabytes of memory besides the result.
   * @throws CheckpointError if the file cannot be read any more; its sentence does not name the file
   */
  read(): Float32Array;
}

/**
 * The layout of the file: OpenAI's TorchScript module tree, a dictionary with the same names (of PyTorch or
 * safetensors; also OpenCLIP's), Hugging Face's CLIPModel, or no file: constructed in code.
 */
export type CheckpointLayout = 'torchscript' | 'state_dict' | 'huggingface' | 'constructed';

/**
 * An open checkpoint: every weight of the architecture, under the reference's names (`visual.conv1.weight`,
 * `token_embedding.weight`, …) and with its shapes. Disposing closes the file.
 */
export interface Checkpoint extends Disposable {
  /** Name of the model family that the weights belong to. */
  readonly family: string;
  readonly layout: CheckpointLayout;
  readonly architecture: ClipArchitecture;
  readonly weights: ReadonlyMap<string, WeightTensor>;
  /** A sentence for the operator if something about the model was assumed. */
  readonly assumption?: string;
}

/** A checkpoint file that cannot be used. The message is for the operator. */
export class CheckpointError extends Error {
  override readonly name = 'CheckpointError';
}

const QUOTED_CHARACTERS = 120;

/** A name from an untrusted file: escaped, and short enough for a log line. */
export function quote(name: string): string {
  return JSON.stringify(name.length <= QUOTED_CHARACTERS ? name : `${name.slice(0, QUOTED_CHARACTERS)}…`);
}

/** Bytes of a file, from its beginning. */
export interface ByteRange {
  readonly byteOffset: number;
  readonly byteLength: number;
}

/** An open checkpoint file, read at given positions so that memory never holds all of it. */
export class CheckpointFile implements Disposable {
  readonly path: string;
  readonly byteLength: number;
  #descriptor: number | undefined;

  /** @throws CheckpointError if there is no readable regular file */
  constructor(path: string) {
    this.path = path;
    try {
      // Checked first: opening a named pipe would wait for a writer.
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
   * @throws CheckpointError if the file is too short or cannot be read
   */
  read(target: Uint8Array, position: number): void {
    invariant(this.#descriptor !== undefined, 'the checkpoint is already closed');
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

  /** The caller has limited the range's length. */
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
  return errnoOf(error) ?? String(error);
}

type CheckpointFileKind = 'zip' | 'safetensors';

/** Covers all signatures below; a tar archive's is the furthest in. */
const HEAD_BYTES = 512;

const ZIP = Buffer.from('PK\x03\x04', 'latin1');

/** Files of PyTorch before 1.6 begin with this number, pickled after two bytes of protocol and perhaps a frame. */
const LEGACY_MAGIC_NUMBER = Buffer.from('8a0a6cfc9c46f9206aa85019', 'hex');
const LEGACY_MAGIC_END = 2 + 9 + LEGACY_MAGIC_NUMBER.length;
/** PyTorch before 0.1.10. */
const TAR = { signature: 'ustar', offset: 257 };

const pictures = ['ffd8ff', '89504e47', '47494638', '52494646'].map((hex) => Buffer.from(hex, 'hex'));
const GZIP = Buffer.from('1f8b', 'hex');

/**
 * Recognises a file by its content, not its name.
 * @throws CheckpointError that says what else it looks like
 */
export function detectFileKind(file: CheckpointFile): CheckpointFileKind {
  if (file.byteLength === 0) throw new CheckpointError('the file is empty');
  const byteLength = Math.min(file.byteLength, HEAD_BYTES);
  const head = Buffer.from(file.readRange({ byteOffset: 0, byteLength }).buffer);
  if (startsWith(head, ZIP)) return 'zip';
  if (looksLikeSafetensors(head)) return 'safetensors';
  if (isLegacyFormat(head)) {
    throw new CheckpointError(
      'it is in the format of PyTorch before version 1.6; save it again with a current PyTorch: ' +
        'torch.save(torch.load("old.pt", map_location="cpu", weights_only=True), "new.pt")',
    );
  }
  const stranger = describeStranger(head);
  throw new CheckpointError(
    `it is not a checkpoint${stranger === undefined ? '' : ` but ${stranger}`}; PyTorch's zip files ` +
      '(.pt, .pth, .bin) and .safetensors are supported',
  );
}

/** The header's length, then a JSON object. A plausible length has zeros where text has letters. */
function looksLikeSafetensors(head: Buffer): boolean {
  return head.length > 8 && head.readUInt16LE(6) === 0 && head[8] === '{'.charCodeAt(0);
}

function isLegacyFormat(head: Buffer): boolean {
  return (
    head.subarray(0, LEGACY_MAGIC_END).includes(LEGACY_MAGIC_NUMBER) ||
    head.toString('latin1', TAR.offset, TAR.offset + TAR.signature.length) === TAR.signature
  );
}

/** Files that people mistake for a checkpoint. */
function describeStranger(head: Buffer): string | undefined {
  const text = head.toString('latin1').trimStart();
  if (text.startsWith('version https://git-lfs')) {
    return 'a Git LFS pointer instead of the file it points to (git lfs pull)';
  }
  if (text.startsWith('<')) return 'a web page: a download has saved a message instead of the file';
  if (text.startsWith('{') || text.startsWith('[')) {
    return 'a JSON document: perhaps a download has saved a message instead of the file';
  }
  if (startsWith(head, GZIP)) return 'compressed with gzip (gunzip it first)';
  if (pictures.some((signature) => startsWith(head, signature))) return 'a picture';
  return undefined;
}

function startsWith(head: Buffer, signature: Buffer): boolean {
  return head.subarray(0, signature.length).equals(signature);
}
