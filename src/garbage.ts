/**
 * Frees the memory of bytes that are not read again, without waiting for the collector. A view into a larger buffer
 * shares that buffer, so it is left to the collector.
 * @returns whether the memory is free
 */
export function giveBack({ buffer, byteLength }: Uint8Array): boolean {
  if (!(buffer instanceof ArrayBuffer) || buffer.byteLength !== byteLength) return false;
  buffer.transfer(0);
  return true;
}

/** Counts bytes that have become garbage, and collects garbage when there are enough. */
export type NoteGarbage = (bytes: number) => void;

/**
 * The collector of JavaScriptCore hardly counts buffers outside its heap: with a heap of 20 MB it keeps half a gigabyte
 * of uploaded pictures before it runs. Collecting such a small heap takes a few milliseconds, so this asks for it after
 * every `everyBytes`.
 */
export function createGarbageNote(everyBytes: number, collect = collectGarbage): NoteGarbage {
  let noted = 0;
  return (bytes) => {
    noted += bytes;
    if (noted < everyBytes) return;
    noted = 0;
    collect();
  };
}

/** Collects garbage now, and returns the memory of large buffers to the system, which otherwise takes a second. */
export function collectGarbage(): void {
  Bun.gc(true);
}
