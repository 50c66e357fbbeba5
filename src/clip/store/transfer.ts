import type { FileHandle } from 'node:fs/promises';
import { dirname } from 'node:path';
import { judgeAnswer } from './delivery.ts';
import type { PartFile } from './part-file.ts';
import { Patience } from './patience.ts';
import type { DownloadSource } from './sources.ts';
import { freeBytes, megabytes, storageFull, storing } from './storage-error.ts';
import type { StoreTimings } from './store-timings.ts';
import { TransferError } from './transfer-error.ts';

/** Called with the bytes that stand on disk, and all that are expected where that is known. */
export type OnBytes = (bytesDone: number, bytesTotal: number | undefined) => void;

/**
 * One attempt to bring a part file to its full length with one GET, going on where it stands.
 * Proxies (`http_proxy`, `https_proxy`, `no_proxy`) and redirects are followed by `fetch` itself.
 * @returns whether bytes of an earlier attempt are among it
 * @throws TransferError the source's fault
 * @throws ModelStoreError storage_full, storage_failed: the disk's fault
 */
export async function transfer(
  source: DownloadSource,
  part: PartFile,
  timings: StoreTimings,
  onBytes: OnBytes,
  signal: AbortSignal,
): Promise<{ readonly resumed: boolean }> {
  const present = await resumableBytes(source, part);
  if (source.bytes !== undefined && present === source.bytes) return { resumed: true };

  // Lengths and ranges count the file's own bytes, not those of a compression under way.
  const headers = new Headers({ 'Accept-Encoding': 'identity' });
  const validator = present > 0 ? (await part.continuation())?.validator : undefined;
  if (present > 0) headers.set('Range', `bytes=${present}-`);
  if (validator !== undefined) headers.set('If-Range', validator);

  using patience = new Patience(timings, signal);
  const response = await patience.answer(fetch(source.url, { headers, signal: patience.signal }));
  const delivery = judgeAnswer(response, source, present, validator);
  if (delivery.kind === 'complete') return { resumed: true };
  if (delivery.kind === 'restart') {
    await part.discard();
    throw new TransferError(delivery.reason, true);
  }
  await part.setOrigin(delivery.validator);
  await receive(response, delivery.offset, delivery.bytesTotal, part, patience, onBytes);
  return { resumed: delivery.offset > 0 };
}

/** The bytes that may be kept; a part that may not be continued is thrown away. */
async function resumableBytes(source: DownloadSource, part: PartFile): Promise<number> {
  const present = await part.bytes();
  if (present === 0) return 0;
  const tooLong = source.bytes !== undefined && present > source.bytes;
  if (!tooLong && (await part.continuation()) !== undefined) return present;
  await part.discard();
  return 0;
}

async function receive(
  response: Response,
  offset: number,
  bytesTotal: number | undefined,
  part: PartFile,
  patience: Patience,
  onBytes: OnBytes,
): Promise<void> {
  const directory = dirname(part.path);
  const free = await freeBytes(directory);
  if (free !== undefined && bytesTotal !== undefined && free < bytesTotal - offset) {
    throw storageFull(directory, bytesTotal - offset);
  }
  await using file = await part.open(offset);
  const reader = response.body?.getReader();
  let bytesDone = offset;
  onBytes(bytesDone, bytesTotal);
  while (reader !== undefined) {
    const { done, value } = await patience.bytes(reader.read());
    if (done) break;
    if (bytesTotal !== undefined && bytesDone + value.length > bytesTotal) {
      await part.discard();
      throw new TransferError(
        `it sends more than the expected ${bytesTotal.toLocaleString('en')} bytes`,
        false,
      );
    }
    await storing(directory, () => writeAll(file, value, bytesDone));
    bytesDone += value.length;
    onBytes(bytesDone, bytesTotal);
  }
  await storing(directory, () => file.sync());
  if (bytesTotal !== undefined && bytesDone < bytesTotal) {
    throw new TransferError(`it ends after ${megabytes(bytesDone)} of ${megabytes(bytesTotal)}`, true);
  }
}

async function writeAll(file: FileHandle, chunk: Uint8Array, position: number): Promise<void> {
  for (let written = 0; written < chunk.length; ) {
    const rest = chunk.length - written;
    written += (await file.write(chunk, written, rest, position + written)).bytesWritten;
  }
}
