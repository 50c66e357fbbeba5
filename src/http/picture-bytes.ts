import type { Permit, Semaphore } from '../semaphore.ts';
import { readWhole } from './form-parts.ts';

/**
 * Photos of phones pass freely: eight requests that each hold this much are 48 MB. Nobody who sends slowly
 * comes to hold a place for large ones.
 */
const SMALL_BYTES = 6 * 1024 ** 2;

/** A picture that has arrived; disposed of when its bytes are in other hands. */
export interface ArrivedPicture extends Disposable {
  /** Undefined where there were more than may be. */
  readonly bytes: Uint8Array | undefined;
}

/**
 * Reads a picture whole. Only so many large ones are in memory at a time; a further one stays in the
 * client's hands until there is room for it.
 * @param largePictures a share for each large picture that may arrive at the same time
 */
export async function readPicture(
  content: AsyncIterable<Uint8Array>,
  maxBytes: number,
  largePictures: Semaphore,
  signal: AbortSignal,
): Promise<ArrivedPicture> {
  let permit: Permit | undefined;
  const dispose = () => permit?.[Symbol.dispose]();
  async function* admitted() {
    let length = 0;
    for await (const chunk of content) {
      length += chunk.byteLength;
      if (length > SMALL_BYTES) permit ??= await largePictures.acquire(1, signal);
      yield chunk;
    }
  }
  try {
    return { bytes: await readWhole(admitted(), maxBytes), [Symbol.dispose]: dispose };
  } catch (fault) {
    dispose();
    throw fault;
  }
}
