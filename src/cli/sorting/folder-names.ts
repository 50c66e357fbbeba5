/** Leaves room for ` (2)` within the 255 bytes that file systems allow. */
const MAX_NAME_BYTES = 200;

/** Windows takes these for devices, with any extension; sorted folders end up on USB sticks. */
const deviceName = /^(?:con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³])(?=\.|$)/i;

/**
 * A folder name for every label: one component, never hidden, never `.` or `..`, sound on every file system.
 * Labels that would share a folder, also where upper and lower case are the same, are told apart by ` (2)`.
 */
export function folderNames(labels: readonly string[]): ReadonlyMap<string, string> {
  const taken = new Set<string>();
  const names = new Map<string, string>();
  for (const label of labels) {
    const name = folderName(label);
    let unique = name;
    for (let copy = 2; taken.has(foldCase(unique)); copy++) unique = `${name} (${copy})`;
    taken.add(foldCase(unique));
    names.set(label, unique);
  }
  return names;
}

function folderName(label: string): string {
  const name = label
    .toWellFormed()
    .normalize('NFC')
    // Separators, what Windows refuses, and control characters.
    .replace(/[/\\:*?"<>|\p{Cc}]/gu, '_')
    .replace(/^ +/, '')
    .replace(/^\.+/, (dots) => '_'.repeat(dots.length))
    .replace(deviceName, (device) => `${device}_`);
  // Windows drops these at the end.
  return shorten(name, MAX_NAME_BYTES).replace(/[ .]+$/, '') || '_';
}

/** As file systems without case compare names. */
export function foldCase(name: string): string {
  return name.normalize('NFC').toUpperCase().toLowerCase();
}

/** The longest beginning of whole characters, as a person counts them, that has at most `maxBytes` in UTF-8. */
export function shorten(text: string, maxBytes: number): string {
  if (Buffer.byteLength(text) <= maxBytes) return text;
  let bytes = 0;
  let kept = '';
  for (const { segment } of new Intl.Segmenter().segment(text)) {
    bytes += Buffer.byteLength(segment);
    if (bytes > maxBytes) break;
    kept += segment;
  }
  return kept;
}
