import { readSync, writeFileSync } from 'node:fs';
import { DecodeError } from '../../../native/image/builtin-decoder.ts';
import { invariant, ServiceError } from '../../errors.ts';
import { createGarbageNote, giveBack } from '../../garbage.ts';
import { decoderOf } from '../sniff.ts';
import { decodeSquare } from './picture.ts';
import type { PictureMessage, PictureOrder } from './picture-process.ts';

/**
 * Decodes pictures in a child process, one after another. The libraries that read AVIF and HEIC end their process on
 * some damaged files, and JavaScript cannot catch that. TIFF is read without a pause.
 */

/** The system ends this process rather than the service when memory runs out. */
const FIRST_TO_GO = '1000';
const STANDARD_INPUT = 0;

/** Without a collection, the last picture's pixels would stay while the process waits. It takes some milliseconds. */
const noteGarbage = createGarbageNote(8 * 1024 ** 2);

/** Kills the process: an ordinary exit waits for the decoder, which may never end. */
function end(): never {
  process.kill(process.pid, 'SIGKILL');
  invariant(false, 'a killed process continues.');
}

/** Blocks until the bytes have arrived. The process has no other work. */
function receive(byteLength: number): Uint8Array {
  const bytes = new Uint8Array(byteLength);
  for (let at = 0; at < byteLength; ) {
    const count = readSync(STANDARD_INPUT, bytes, at, byteLength - at, null);
    // The service has ended.
    if (count === 0) end();
    at += count;
  }
  return bytes;
}

async function decode({ byteLength, targetBytes, ...task }: PictureOrder): Promise<PictureMessage> {
  const bytes = receive(byteLength);
  const pixels = new Uint8Array(targetBytes);
  try {
    if (decoderOf(task.header) === 'libav') {
      // Loaded with the first such picture: most services never get one.
      const { decodeHeicSquare } = await import('./heic-square.ts');
      decodeHeicSquare(bytes, task, pixels);
    } else await decodeSquare(bytes, task, pixels);
    return { kind: 'decoded', pixels };
  } catch (fault) {
    const message = fault instanceof Error ? fault.message : String(fault);
    if (fault instanceof ServiceError) return { kind: 'refused', code: fault.code, message };
    return { kind: 'failed', message, ...(fault instanceof DecodeError && { reason: fault.reason }) };
  } finally {
    giveBack(bytes);
  }
}

function say(message: PictureMessage): void {
  process.send?.(message);
}

try {
  writeFileSync('/proc/self/oom_score_adj', FIRST_TO_GO);
} catch {
  // Some systems do not have it.
}
process.on('disconnect', end);
process.on('message', async (order: PictureOrder) => {
  const message = await decode(order);
  // Before the answer: the service reuses this process only if it holds little memory.
  noteGarbage(order.byteLength + order.header.width * order.header.height * 4);
  say(message);
});
say({ kind: 'started' });
