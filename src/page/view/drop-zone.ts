import { chosenFiles, transferredFiles } from '../intake/dropped-files.ts';
import { acceptedFiles, type FoundFile } from '../intake/photo-list.ts';
import { find } from './dom.ts';

/** Takes files wherever they are dropped on the page, pasted into it, or chosen. */
export function createDropZone(onFiles: (files: readonly FoundFile[]) => void): void {
  const zone = find('drop', HTMLElement);
  find('files-input', HTMLInputElement).accept = acceptedFiles;
  for (const [button, input] of [
    ['choose-files', 'files-input'],
    ['choose-folder', 'folder-input'],
  ] as const) {
    const field = find(input, HTMLInputElement);
    const opener = find(button, HTMLButtonElement);
    // Most phones have no folders to choose.
    opener.hidden = input === 'folder-input' && !('webkitdirectory' in field);
    opener.addEventListener('click', () => field.click());
    field.addEventListener('change', () => {
      const chosen = chosenFiles(field.files);
      // So that choosing the same file again is a change, too.
      field.value = '';
      onFiles(chosen);
    });
  }

  // Entering a child counts before leaving its parent does.
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
  // Without it the browser would leave the page and show the file.
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

/** Text that is dragged or pasted is the fields' own business. */
function hasFiles(transfer: DataTransfer | null): boolean {
  return transfer?.types.includes('Files') ?? false;
}
