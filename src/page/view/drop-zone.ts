import { acceptedFiles, type FoundFile, type FoundFiles } from '../intake/found-files.ts';
import { find } from './dom.ts';

/** Accepts files that are dropped anywhere on the page, pasted, or chosen. */
export function createDropZone(onFiles: (found: FoundFiles) => void): void {
  find('files-input', HTMLInputElement).accept = acceptedFiles;
  for (const [input, ...openers] of [
    ['files-input', 'choose-files', 'add-files'],
    ['folder-input', 'choose-folder', 'add-folder'],
  ] as const) {
    const field = find(input, HTMLInputElement);
    for (const id of openers) {
      const opener = find(id, HTMLButtonElement);
      // Most phones cannot choose folders.
      opener.hidden = input === 'folder-input' && !('webkitdirectory' in field);
      opener.addEventListener('click', () => field.click());
    }
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
    document.body.classList.toggle('over', depth > 0);
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
function chosenFiles(chosen: FileList | null): FoundFiles {
  const files = [...(chosen ?? [])].map((file) => ({
    file,
    path: file.webkitRelativePath || file.name,
    inFolder: file.webkitRelativePath !== '',
  }));
  return { files, unreadable: [] };
}

/**
 * Files of a drop or a paste, including files in folders. Call it before the first `await` of the event handler,
 * because the browser then empties the list.
 */
function transferredFiles(transfer: DataTransfer): Promise<FoundFiles> {
  const entries = [...transfer.items]
    .filter((item) => item.kind === 'file')
    .map((item) => item.webkitGetAsEntry() ?? item.getAsFile());
  return collect(entries);
}

async function collect(entries: readonly (FileSystemEntry | File | null)[]): Promise<FoundFiles> {
  const found = { files: [] as FoundFile[], unreadable: [] as string[] };
  for (const entry of entries) {
    if (entry instanceof File) found.files.push({ file: entry, path: entry.name, inFolder: false });
    else if (entry) await walk(entry, '', found);
  }
  return found;
}

/** @param found receives the files, and the paths that cannot be read. Chromium does not list broken links. */
async function walk(
  entry: FileSystemEntry,
  folder: string,
  found: { readonly files: FoundFile[]; readonly unreadable: string[] },
): Promise<void> {
  const path = `${folder}${entry.name}`;
  const note = () => void found.unreadable.push(path);
  if (isFile(entry)) {
    const file = await new Promise<File>((resolve, reject) => entry.file(resolve, reject)).catch(note);
    if (file) found.files.push({ file, path, inFolder: folder !== '' });
  } else if (isDirectory(entry)) {
    for (const child of await childrenOf(entry, note)) await walk(child, `${path}/`, found);
  }
}

/**
 * `readEntries` returns about a hundred entries at a time, and none at the end.
 * @param note called if the folder cannot be read completely
 */
async function childrenOf(
  directory: FileSystemDirectoryEntry,
  note: () => void,
): Promise<readonly FileSystemEntry[]> {
  const reader = directory.createReader();
  const children: FileSystemEntry[] = [];
  for (;;) {
    const some = await new Promise<FileSystemEntry[]>((resolve, reject) =>
      reader.readEntries(resolve, reject),
    ).catch(note);
    if (!some || some.length === 0) return children.sort((a, b) => (a.name < b.name ? -1 : 1));
    children.push(...some);
  }
}

const isFile = (entry: FileSystemEntry): entry is FileSystemFileEntry => entry.isFile;
const isDirectory = (entry: FileSystemEntry): entry is FileSystemDirectoryEntry => entry.isDirectory;
