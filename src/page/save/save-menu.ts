import { validName } from '../../file-names.ts';
import { create, createButton, saveBlob, setText } from '../view/dom.ts';
import { bytes, count, number } from '../view/numbers.ts';
import { namesText, plannedFiles, type SavedGroup } from './planned-files.ts';
import type { Saved, SavingEvents } from './saving.ts';

/** Chromium's dialogs; other browsers have none. */
declare global {
  interface Window {
    showSaveFilePicker?(options: object): Promise<FileSystemFileHandle>;
    showDirectoryPicker?(options: object): Promise<FileSystemDirectoryHandle>;
  }
}

interface SaveMenuOptions {
  /** The groups of the page, asked when the menu opens. */
  readonly groups: () => readonly SavedGroup[];
  /** The group that the page shows: the menu begins with it. undefined: all. */
  readonly current?: () => string | undefined;
  /** Saves the answers as a file. Without it, the menu does not offer them. */
  readonly onExport?: (format: 'json' | 'csv') => Promise<void>;
  /** Called when something was saved. */
  readonly onSaved: () => void;
}

interface SaveMenu {
  readonly element: HTMLElement;
}

/** More entries need a field of the format that the library does not write. */
const MAX_ZIP_ENTRIES = 65_534;

/** What few visits need is loaded when it is needed. */
const loadSaving = () => import('./saving.ts');

/**
 * From this size on, a ZIP is written into a file while it is made, if the browser can: otherwise the visitor sees
 * nothing until all photos were read. Below, a download asks no question.
 */
const MIN_BYTES_TO_STREAM = 256 * 1024 ** 2;

/** A button that opens a panel with the ways to take the photos away. */
export function createSaveMenu({ groups, current, onExport, onSaved }: SaveMenuOptions): SaveMenu {
  const opener = create('button', {
    class: 'button opener',
    text: 'Save photos',
    attributes: { type: 'button', 'aria-expanded': 'false', 'aria-controls': 'save-panel' },
  });
  const which = create('select', { attributes: { id: 'save-which' } });
  const facts = create('p', { class: 'hint' });
  const zip = createButton('Download as ZIP', () => void save(saveZip), 'button main');
  const folders = createButton('Save into folders…', () => void save(saveFolders));
  const names = createButton('Copy list of names', () => void copyNames());
  const bar = create('progress', { attributes: { max: '1', 'aria-label': 'Saving' }, hidden: true });
  const cancel = createButton('Cancel', () => stopping?.abort(), 'button quiet');
  const status = create('p', { class: 'hint', attributes: { role: 'status' } });
  const ways = create('div', { class: 'ways' }, zip, folders, names);
  const panel = create(
    'div',
    {
      class: 'panel',
      hidden: true,
      attributes: { id: 'save-panel', role: 'group', 'aria-label': 'Save photos' },
    },
    create('label', { text: 'Photos of', attributes: { for: which.id } }),
    which,
    facts,
    ways,
    bar,
    cancel,
    status,
  );
  if (onExport) {
    const exports = create(
      'div',
      { class: 'row exports' },
      create('span', { class: 'hint', text: 'Only the answers:' }),
      createButton('JSON', () => exportAs('json'), 'button quiet'),
      createButton('CSV', () => exportAs('csv'), 'button quiet'),
    );
    for (const [index, format] of ['JSON', 'CSV'].entries()) {
      exports.children[index + 1]?.setAttribute('aria-label', `Save the answers as ${format}`);
    }
    panel.append(exports);
    const exportAs = (format: 'json' | 'csv') =>
      onExport(format).then(onSaved, (fault: unknown) => setText(status, faultText(fault)));
  }
  const element = create('div', { class: 'save-menu' }, opener, panel);
  folders.hidden = !window.showDirectoryPicker;
  cancel.hidden = true;

  let stopping: AbortController | undefined;
  let offered: readonly SavedGroup[] = [];
  const chosen = () => offered.filter((_, index) => which.value === 'all' || which.value === String(index));

  const describe = () => {
    const photos = chosen().flatMap((group) => group.photos);
    const size = photos.reduce((sum, { file }) => sum + file.size, 0);
    const isTooMany = photos.length > MAX_ZIP_ENTRIES;
    setText(
      facts,
      isTooMany
        ? `A ZIP holds at most ${number(MAX_ZIP_ENTRIES)} photos.`
        : `${count(photos.length, 'photo')}, ${bytes(size)}${which.value === 'all' ? '. Each group is a folder.' : ''}`,
    );
    for (const button of [zip, folders, names]) button.disabled = photos.length === 0;
    zip.disabled ||= isTooMany;
  };
  const offer = () => {
    offered = groups().filter(({ photos }) => photos.length > 0);
    const now = offered.findIndex(({ name }) => name === current?.());
    const option = (value: string, name: string, photos: number) =>
      create('option', { text: `${name} (${number(photos)})`, attributes: { value } });
    const all = offered.reduce((sum, { photos }) => sum + photos.length, 0);
    which.replaceChildren(
      option('all', 'All groups', all),
      ...offered.map(({ name, photos }, index) => option(String(index), name, photos.length)),
    );
    which.value = now === -1 ? 'all' : String(now);
    setText(status, '');
    describe();
  };

  const show = (isOpen: boolean) => {
    if (isOpen && !stopping) offer();
    panel.hidden = !isOpen;
    opener.setAttribute('aria-expanded', String(isOpen));
    if (!isOpen) return;
    // Ahead of the click that needs it; that one says if it fails.
    loadSaving().catch(() => undefined);
    which.focus();
  };
  which.addEventListener('change', describe);
  opener.addEventListener('click', () => show(panel.hidden !== false));
  element.addEventListener('keydown', (event) => {
    if (event.key !== 'Escape' || panel.hidden) return;
    event.stopPropagation();
    show(false);
    opener.focus();
  });
  // A click on something else, or Tab out of the panel. Saving goes on.
  element.addEventListener('focusout', ({ relatedTarget }) => {
    if (relatedTarget instanceof Node && !element.contains(relatedTarget)) show(false);
  });
  document.addEventListener('pointerdown', ({ target }) => {
    if (!panel.hidden && target instanceof Node && !element.contains(target)) show(false);
  });

  /** One at a time, with its progress. */
  const save = async (
    way: (saved: readonly SavedGroup[], events: SavingEvents) => Promise<Saved | undefined>,
  ) => {
    const saved = chosen();
    const total = saved.reduce((sum, { photos }) => sum + photos.length, 0);
    stopping = new AbortController();
    const { signal } = stopping;
    ways.hidden = true;
    which.disabled = true;
    try {
      const outcome = await way(saved, {
        signal,
        onFile(done) {
          bar.hidden = cancel.hidden = false;
          bar.value = done / total;
          setText(status, `${number(done)} of ${count(total, 'photo')}`);
        },
      });
      if (outcome) {
        setText(status, savedText(outcome));
        onSaved();
      }
    } catch (fault) {
      setText(status, signal.aborted ? 'Stopped.' : faultText(fault));
    } finally {
      stopping = undefined;
      ways.hidden = false;
      which.disabled = false;
      bar.hidden = cancel.hidden = true;
      if (!panel.hidden && document.activeElement === document.body) zip.focus();
    }
  };

  const copyNames = async () => {
    const text = namesText(chosen());
    try {
      await navigator.clipboard.writeText(text);
      setText(status, 'The list is copied.');
    } catch {
      // Browsers offer the clipboard only over HTTPS and on this machine.
      saveBlob('names.txt', new Blob([text], { type: 'text/plain' }));
      setText(status, 'The list is saved as names.txt.');
    }
    onSaved();
  };

  return { element };
}

/** @returns undefined: the visitor closed the browser's dialog */
async function saveZip(groups: readonly SavedGroup[], events: SavingEvents): Promise<Saved | undefined> {
  const files = plannedFiles(groups);
  const [only, ...others] = groups;
  const name = `${only && others.length === 0 ? validName(only.name, 200) : 'photos'}.zip`;
  const size = files.reduce((sum, { file }) => sum + file.size, 0);
  if (window.showSaveFilePicker && size >= MIN_BYTES_TO_STREAM) {
    const accept = { 'application/zip': ['.zip'] };
    const target = await orClosed(window.showSaveFilePicker({ suggestedName: name, types: [{ accept }] }));
    return target && (await (await loadSaving()).writeZip(files, target, events));
  }
  const { zipBlob } = await loadSaving();
  const { blob, ...outcome } = await zipBlob(files, events);
  saveBlob(name, blob);
  return outcome;
}

/** @returns undefined: the visitor closed the browser's dialog */
async function saveFolders(groups: readonly SavedGroup[], events: SavingEvents): Promise<Saved | undefined> {
  const picked = window.showDirectoryPicker?.({ id: 'photos', mode: 'readwrite' });
  const directory = picked && (await orClosed(picked));
  return directory && (await (await loadSaving()).writeFolders(plannedFiles(groups), directory, events));
}

async function orClosed<Handle>(picked: Promise<Handle>): Promise<Handle | undefined> {
  try {
    return await picked;
  } catch (fault) {
    if (fault instanceof DOMException && fault.name === 'AbortError') return undefined;
    throw fault;
  }
}

function savedText({ saved, unreadable }: Saved): string {
  const left =
    unreadable.length === 0
      ? ''
      : ` ${count(unreadable.length, 'photo')} could not be read and ${unreadable.length === 1 ? 'is' : 'are'} left out: ${unreadable.slice(0, 5).join(', ')}${unreadable.length > 5 ? ', …' : ''}`;
  return `${count(saved, 'photo')} saved.${left}`;
}

function faultText(fault: unknown): string {
  const name = fault instanceof DOMException ? fault.name : '';
  // How browsers report a part of the page that cannot be loaded.
  if (fault instanceof TypeError) return 'The service cannot be reached. Try again when it is back.';
  if (name === 'QuotaExceededError') return 'The disk is full.';
  if (name === 'NotAllowedError') return 'The browser may not write there.';
  return 'A photo could not be saved: it changed meanwhile, or the folder cannot be written.';
}
