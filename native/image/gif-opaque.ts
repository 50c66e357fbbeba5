const EXTENSION = 0x21;
const GRAPHIC_CONTROL = 0xf9;
const TRANSPARENT_FLAG = 1;

/**
 * The same GIF with its first frame opaque. `Bun.Image` makes transparent pixels black; the reference shows
 * the palette's colour there. The picture is left alone where nothing is transparent.
 */
export function opaqueGif(bytes: Uint8Array): Uint8Array {
  const flags = bytes[10]!;
  let at = 13 + (flags & 0x80 ? 3 << ((flags & 7) + 1) : 0);
  let opaque = bytes;
  while (bytes[at] === EXTENSION) {
    if (bytes[at + 1] === GRAPHIC_CONTROL && bytes[at + 3]! & TRANSPARENT_FLAG) {
      opaque = opaque === bytes ? new Uint8Array(bytes) : opaque;
      opaque[at + 3]! &= ~TRANSPARENT_FLAG;
    }
    at += 2;
    while (bytes[at]) at += 1 + bytes[at]!;
    at += 1;
  }
  return opaque;
}
