/**
 * Pictures with opacity up to this size are resized as Pillow does, by way of a second decoding. In larger
 * ones, shrunk a hundredfold and more, only the wholly transparent areas are made black.
 */
export const MAXIMUM_PREMULTIPLIED_PIXELS = 25_000_000;

/**
 * Multiplies colours by their opacity, in place, with Pillow's rounding (`MULDIV255`). Pillow resizes
 * pictures with opacity so; resized without it, colours hidden under transparent areas bleed into the
 * visible ones.
 * @param pixels [n, 4] u8 RGBA
 */
export function premultiplyAlpha(pixels: Uint8Array): void {
  // Most pixels are fully opaque or fully transparent: one comparison of a whole pixel settles those.
  const words = new Uint32Array(pixels.buffer, pixels.byteOffset, pixels.length / 4);
  for (let i = 0; i < words.length; i++) {
    const alpha = words[i]! >>> 24;
    if (alpha === 255) continue;
    if (alpha === 0) {
      words[i] = 0;
      continue;
    }
    for (let at = i * 4, end = at + 3; at < end; at++) {
      const product = pixels[at]! * alpha + 128;
      pixels[at] = (product + (product >> 8)) >> 8;
    }
  }
}

/** The way back, with Pillow's truncation: a transparent pixel stays black. */
export function unpremultiplyAlpha(pixels: Uint8Array): void {
  for (let at = 0; at < pixels.length; at += 4) {
    const alpha = pixels[at + 3]!;
    if (alpha === 255 || alpha === 0) continue;
    for (let channel = at; channel < at + 3; channel++) {
      pixels[channel] = Math.min(255, Math.trunc((pixels[channel]! * 255) / alpha));
    }
  }
}

export function isOpaque(pixels: Uint8Array): boolean {
  for (let at = 3; at < pixels.length; at += 4) if (pixels[at] !== 255) return false;
  return true;
}

/** [n, 4] u8 RGBA → [n, 3] u8 RGB. The opacity is dropped, not applied, as the reference does. */
export function dropAlpha(rgba: Uint8Array, rgb: Uint8Array): void {
  for (let from = 0, to = 0; from < rgba.length; from += 4, to += 3) {
    rgb[to] = rgba[from]!;
    rgb[to + 1] = rgba[from + 1]!;
    rgb[to + 2] = rgba[from + 2]!;
  }
}
