/** Leaves room for ` (2)` within the 255 bytes of a name. */
const MAX_FOLDER_NAME_BYTES = 200;

/** Windows reads these as devices, with any extension; sorted folders may be copied to USB sticks. */
const deviceName = /^(?:con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³])(?=\.|$)/i;

/**
 * A folder name for every label: one component, never hidden, never `.` or `..`, valid on every file system.
 * Labels that would share a folder, even only without regard to case, get ` (2)`.
 */
export function folderNames(labels: readonly string[]): ReadonlyMap<string, string> {
  const taken = new Set<string>();
  const names = new Map<string, string>();
  for (const label of labels) {
    const name = validName(label, MAX_FOLDER_NAME_BYTES);
    let unique = name;
    for (let copy = 2; taken.has(foldCase(unique)); copy++) unique = `${name} (${copy})`;
    taken.add(foldCase(unique));
    names.set(label, unique);
  }
  return names;
}

/** One component of a path that is valid on every file system, never hidden, never `.` or `..`. */
export function validName(text: string, maxBytes = MAX_NAME_BYTES): string {
  const name = text
    .toWellFormed()
    .normalize('NFC')
    // Separators, characters that Windows refuses, and control characters.
    .replace(/[/\\:*?"<>|\p{Cc}]/gu, '_')
    .replace(/^ +/, '')
    .replace(/^\.+/, (dots) => '_'.repeat(dots.length))
    .replace(deviceName, (device) => `${device}_`);
  // Windows drops these at the end.
  return shorten(name, maxBytes).replace(/[ .]+$/, '') || '_';
}

/** Compares names as file systems that ignore case do. */
export function foldCase(name: string): string {
  return name.normalize('NFC').toUpperCase().toLowerCase();
}

const encoder = new TextEncoder();
const byteLength = (text: string) => encoder.encode(text).length;

/** The longest beginning of whole graphemes with at most `maxBytes` in UTF-8. */
function shorten(text: string, maxBytes: number): string {
  if (byteLength(text) <= maxBytes) return text;
  let bytes = 0;
  let kept = '';
  for (const { segment } of new Intl.Segmenter().segment(text)) {
    bytes += byteLength(segment);
    if (bytes > maxBytes) break;
    kept += segment;
  }
  return kept;
}

/** The limit of file systems for one component. */
const MAX_NAME_BYTES = 255;

/**
 * `photo.jpg`, `photo (2).jpg`, `photo (3).jpg`, …: names to try in turn.
 * @param reserved bytes by which names of companions are longer
 */
export function* numberedNames(name: string, from = 1, reserved = 0): Generator<string> {
  if (from <= 1) yield name;
  const dot = name.lastIndexOf('.');
  const stem = dot > 0 ? name.slice(0, dot) : name;
  const extension = name.slice(stem.length);
  for (let copy = Math.max(2, from); ; copy++) {
    const ending = ` (${copy})${extension}`;
    yield shorten(stem, MAX_NAME_BYTES - reserved - byteLength(ending)) + ending;
  }
}
