import { parse } from 'node:path';
import { shorten } from './folder-names.ts';

/** What file systems allow for one component. */
const MAX_NAME_BYTES = 255;

/** `photo.jpg`, `photo (2).jpg`, `photo (3).jpg`, …: what a file may be called where names are taken. */
export function* numberedNames(name: string, from = 1): Generator<string> {
  if (from <= 1) yield name;
  const { name: stem, ext } = parse(name);
  for (let copy = Math.max(2, from); ; copy++) {
    const ending = ` (${copy})${ext}`;
    yield shorten(stem, MAX_NAME_BYTES - Buffer.byteLength(ending)) + ending;
  }
}
