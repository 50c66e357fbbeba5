import type { FoundFile } from './photo-list.ts';

/** Files that an `<input>` gives. */
export function chosenFiles(files: FileList | null): readonly FoundFile[] {
  return [...(files ?? [])].map((file) => ({
    file,
    path: file.webkitRelativePath || file.name,
    inFolder: file.webkitRelativePath !== '',
  }));
}

/**
 * Files of a drop or a paste, those in folders included. The entries have to be taken before anything is
 * awaited: the browser empties the list when the event is over.
 */
export function transferredFiles(transfer: DataTransfer): Promise<readonly FoundFile[]> {
  const entries = [...transfer.items]
    .filter((item) => item.kind === 'file')
    .map((item) => item.webkitGetAsEntry() ?? item.getAsFile());
  return collect(entries);
}

async function collect(entries: readonly (FileSystemEntry | File | null)[]): Promise<readonly FoundFile[]> {
  const found: FoundFile[] = [];
  for (const entry of entries) {
    if (entry instanceof File) found.push({ file: entry, path: entry.name, inFolder: false });
    else if (entry) await walk(entry, '', found);
  }
  return found;
}

/** What cannot be read is passed over: a link that leads nowhere, a file that vanished meanwhile. */
async function walk(entry: FileSystemEntry, folder: string, found: FoundFile[]): Promise<void> {
  const path = `${folder}${entry.name}`;
  if (isFile(entry)) {
    const file = await new Promise<File>((resolve, reject) => entry.file(resolve, reject)).catch(() => null);
    if (file) found.push({ file, path, inFolder: folder !== '' });
  } else if (isDirectory(entry)) {
    for (const child of await childrenOf(entry)) await walk(child, `${path}/`, found);
  }
}

/** `readEntries` gives some hundred at a time, and none at the end. */
async function childrenOf(directory: FileSystemDirectoryEntry): Promise<readonly FileSystemEntry[]> {
  const reader = directory.createReader();
  const children: FileSystemEntry[] = [];
  for (;;) {
    const some = await new Promise<FileSystemEntry[]>((resolve, reject) =>
      reader.readEntries(resolve, reject),
    ).catch(() => []);
    if (some.length === 0) return children.sort((a, b) => (a.name < b.name ? -1 : 1));
    children.push(...some);
  }
}

const isFile = (entry: FileSystemEntry): entry is FileSystemFileEntry => entry.isFile;
const isDirectory = (entry: FileSystemEntry): entry is FileSystemDirectoryEntry => entry.isDirectory;
