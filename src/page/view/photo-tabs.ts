import type { Photo } from '../results/photo.ts';
import { create, setText } from './dom.ts';
import { number } from './numbers.ts';

/** A group of photos that can be shown alone. */
export interface Tab {
  /** Unique within the page: `all`, `label-0`, `unsure`, `broken`. */
  readonly key: string;
  readonly name: string;
  readonly photos: number;
  /** Where a photo goes that is dropped here; undefined: nothing can be dropped. */
  readonly target?: string | null;
}

interface PhotoTabs {
  /** Of the tab that is shown. */
  readonly key: string;
  show(tabs: readonly Tab[]): void;
  select(key: string): void;
}

/**
 * The groups as tabs, with their numbers of photos. A photo's tile can be dragged onto a tab.
 * @param panel what the tabs control
 * @param dragged the photo that is being dragged
 */
export function createPhotoTabs(
  list: HTMLElement,
  panel: HTMLElement,
  {
    onSelect,
    dragged,
    onDrop,
  }: {
    readonly onSelect: () => void;
    readonly dragged: () => Photo | null;
    readonly onDrop: (photo: Photo, target: string | null) => void;
  },
): PhotoTabs {
  let selected: Pick<Tab, 'key' | 'name'> = { key: 'all', name: '' };
  let tabs: readonly Tab[] = [];
  const buttons = new Map<string, HTMLButtonElement>();

  const select = (key: string, isFocused = false) => {
    const tab = tabs.find((one) => one.key === key);
    if (!tab) return;
    selected = tab;
    mark();
    if (isFocused) buttons.get(key)?.focus();
    buttons.get(key)?.scrollIntoView({ block: 'nearest', inline: 'nearest' });
    onSelect();
  };

  const mark = () => {
    for (const [key, button] of buttons) {
      const isSelected = key === selected.key;
      button.setAttribute('aria-selected', String(isSelected));
      button.tabIndex = isSelected ? 0 : -1;
    }
    panel.setAttribute('aria-labelledby', `tab-${selected.key}`);
  };

  const createTab = (key: string) => {
    const button = create(
      'button',
      {
        class: 'tab',
        attributes: { type: 'button', role: 'tab', id: `tab-${key}`, 'aria-controls': panel.id },
      },
      create('span', { class: 'tab-name' }),
      create('span', { class: 'count' }),
      create('span', { class: 'visually-hidden' }),
    );
    button.addEventListener('click', () => select(key));
    const target = () => tabs.find((one) => one.key === key)?.target;
    button.addEventListener('dragover', (event) => {
      if (!dragged() || target() === undefined) return;
      event.preventDefault();
      button.classList.add('over');
    });
    button.addEventListener('dragleave', () => button.classList.remove('over'));
    button.addEventListener('drop', (event) => {
      button.classList.remove('over');
      const photo = dragged();
      const name = target();
      if (!photo || name === undefined) return;
      event.preventDefault();
      onDrop(photo, name);
    });
    return button;
  };

  list.addEventListener('keydown', (event) => {
    const place = tabs.findIndex(({ key }) => key === selected.key);
    const next = { ArrowLeft: place - 1, ArrowRight: place + 1, Home: 0, End: tabs.length - 1 }[event.key];
    const tab = next === undefined ? undefined : tabs.at(next % tabs.length);
    if (!tab) return;
    event.preventDefault();
    select(tab.key, true);
  });

  return {
    get key() {
      return selected.key;
    },
    show(next) {
      // The tab of a word that is being changed stays.
      const hasOneName = next.some(({ name, key }) => key === selected.key && name === selected.name);
      const namesake = next.find(({ name, key }) => name === selected.name && key.startsWith('label-'));
      const hasSameLength = next.length === tabs.length;
      if (!hasOneName && selected.key.startsWith('label-')) {
        const kept = namesake ?? (hasSameLength ? next.find(({ key }) => key === selected.key) : undefined);
        selected = kept ?? { key: 'all', name: '' };
      } else if (!next.some(({ key }) => key === selected.key)) selected = { key: 'all', name: '' };
      tabs = next;
      const wanted = new Set(next.map(({ key }) => key));
      for (const [key, button] of buttons) {
        if (wanted.has(key)) continue;
        button.remove();
        buttons.delete(key);
      }
      for (const [index, { key, name, photos }] of next.entries()) {
        const button = buttons.get(key) ?? createTab(key);
        buttons.set(key, button);
        if (list.children[index] !== button) list.insertBefore(button, list.children[index] ?? null);
        setText(button.children[0]!, name);
        setText(button.children[1]!, ` ${number(photos)}`);
        button.classList.toggle('none', photos === 0);
        setText(button.children[2]!, photos === 1 ? ' photo' : ' photos');
      }
      mark();
    },
    select,
  };
}
