import { acceptedFiles, type FoundFile } from '../intake/photo-list.ts';
import { find } from './dom.ts';

/** Accepts files that are dropped anywhere on the page, pasted, or chosen. */
export function createDropZone(onFiles: (files: readonly FoundFile[]) => void): void {
  const zone = find('drop', HTMLElement);
  find('files-input', HTMLInputElement).accept = acceptedFiles;
  for (const [button, input] of [
    ['choose-files', 'files-input'],
    ['choose-folder', 'folder-input'],
  ] as const) {
    const field = find(input, HTMLInputElement);
    const opener = find(button, HTMLButtonElement);
    // Most phones cannot choose folders.
    opener.hidden = input === 'folder-input' && !('webkitdirectory' in field);
    opener.addEventListener('click', () => field.click());
    field.addEventListener('change', () => {
      const chosen = chosenFiles(field.files);
      // Otherwise choosing the same file again would not be a change.
      field.value = '';
      onFiles(chosen);
    });
  }

  // `dragenter` of a child comes before `dragleave` of its parent, so they are counted.
  let depth = 0;
  const mark = (change: number) => {
    depth = Math.max(0, depth + change);
    zone.classList.toggle('over', depth > 0);
  };
  addEventListener('dragenter', (event) => {
    if (hasFiles(event.dataTransfer)) mark(1);
  });
  addEventListener('dragleave', (event) => {
    if (hasFiles(event.dataTransfer)) mark(-1);
  });
  // Otherwise the browser would open the file instead of the page.
  addEventListener('dragover', (event) => {
    if (hasFiles(event.dataTransfer)) event.preventDefault();
  });
  addEventListener('drop', async (event) => {
    if (!event.dataTransfer || !hasFiles(event.dataTransfer)) return;
    event.preventDefault();
    mark(-depth);
    onFiles(await transferredFiles(event.dataTransfer));
  });
  addEventListener('paste', async ({ clipboardData }) => {
    if (clipboardData && hasFiles(clipboardData)) onFiles(await transferredFiles(clipboardData));
  });
}

/** The fields handle text that is dragged or pasted. */
function hasFiles(transfer: DataTransfer | null): boolean {
  return transfer?.types.includes('Files') ?? false;
}

/** Files of an `<input>`. */
function chosenFiles(files: FileList | null): readonly FoundFile[] {
  return [...(files ?? [])].map((file) => ({
    file,
    path: file.webkitRelativePath || file.name,
    inFolder: file.webkitRelativePath !== '',
  }));
}

/**
 * Files of a drop or a paste, including files in folders. Call it before the first `await` of the event handler,
 * because the browser then empties the list.
 */
function transferredFiles(transfer: DataTransfer): Promise<readonly FoundFile[]> {
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

/** Skips entries that cannot be read, such as broken links. */
async function walk(entry: FileSystemEntry, folder: string, found: FoundFile[]): Promise<void> {
  const path = `${folder}${entry.name}`;
  if (isFile(entry)) {
    const file = await new Promise<File>((resolve, reject) => entry.file(resolve, reject)).catch(() => null);
    if (file) found.push({ file, path, inFolder: folder !== '' });
  } else if (isDirectory(entry)) {
    for (const child of await childrenOf(entry)) await walk(child, `${path}/`, found);
  }
}

/** `readEntries` returns about a hundred entries at a time, and none at the end. */
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
