/**
 * Gives the memory of bytes back at once, that nobody will look into again. A view into a larger buffer shares it
 * with others: that is left to the collector.
 */
export function giveBack({ buffer, byteLength }: Uint8Array): void {
  if (buffer instanceof ArrayBuffer && buffer.byteLength === byteLength) buffer.transfer(0);
}

/** Told of every buffer that has become garbage; lets the collector run when they add up. */
export type NoteGarbage = (bytes: number) => void;

/**
 * The engine's collector hardly sees what buffers outside its heap weigh: with the heap at 20 MB it lets
 * half a gigabyte of uploaded pictures pile up before it looks. A collection of so small a heap takes a few
 * milliseconds, so it is asked for whenever `everyBytes` of them have gone through.
 */
export function createGarbageNote(everyBytes: number, collect: () => void = () => Bun.gc(true)): NoteGarbage {
  let noted = 0;
  return (bytes) => {
    noted += bytes;
    if (noted < everyBytes) return;
    noted = 0;
    collect();
  };
}
