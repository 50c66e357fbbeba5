import { isInQuotes, parseLabels } from '../intake/labels.ts';
import { create, find, setText } from './dom.ts';
import { count } from './numbers.ts';

/** What the page knows about the words of the field. */
export interface ChipState {
  /** The chip cannot be used. */
  readonly isFaulty: boolean;
  /** Its photos are as well in another category. */
  readonly isAlike: boolean;
}

interface CategoryField {
  /** As written, distinct, in order; the last one may still be in the making. */
  readonly texts: readonly string[];
  /** Replaces all categories. */
  set(texts: readonly string[]): void;
  /** Adds categories; those that are there already are passed over. @returns how many are new */
  add(texts: readonly string[]): number;
  mark(state: (text: string) => ChipState): void;
  focus(): void;
}

interface CategoryFieldOptions {
  readonly onChange: () => void;
  /** Called when a text cannot be read, with the reason as a sentence; empty: it can be read. */
  readonly onFault: (sentence: string) => void;
  /** For screen readers. */
  readonly say: (text: string) => void;
}

/**
 * Categories as chips, with a field for one more. Enter or a comma adds a category, Backspace in the empty field takes
 * the last one away, and a list can be pasted. The chips are one stop of the Tab key: arrows move between them, Enter
 * edits one, Delete removes it.
 */
export function createCategoryField({ onChange, onFault, say }: CategoryFieldOptions): CategoryField {
  const box = find('word-box', HTMLElement);
  const list = find('chips', HTMLUListElement);
  const input = find('labels', HTMLInputElement);
  const more = find('chips-more', HTMLButtonElement);
  let texts: string[] = [];
  /** The chip that is being edited. */
  let edited: { readonly place: number; readonly before: string } | undefined;
  let state: (text: string) => ChipState = () => ({ isFaulty: false, isAlike: false });

  const chipButtons = () => [...list.querySelectorAll<HTMLButtonElement>('.chip-text')];

  const draw = () => {
    list.replaceChildren(
      ...texts.map((text, place) => (edited?.place === place ? editor(text) : chip(text))),
    );
    list.hidden = texts.length === 0;
    const [first] = chipButtons();
    if (first) first.tabIndex = 0;
    mark();
  };

  const chip = (text: string): HTMLLIElement => {
    const label = create('button', {
      class: 'chip-text',
      text,
      attributes: { type: 'button', tabindex: '-1', 'aria-describedby': 'chips-keys' },
    });
    const remove = create('button', {
      class: 'chip-remove',
      text: '×',
      attributes: { type: 'button', tabindex: '-1', 'aria-label': `Remove ${text}` },
    });
    const place = () => [...list.children].indexOf(item);
    label.addEventListener('click', () => edit(place()));
    remove.addEventListener('click', () => removeAt(place()));
    const item = create('li', { class: 'chip' }, label, remove);
    return item;
  };

  /** The field in the place of a chip. What is typed counts at once. */
  const editor = (text: string): HTMLLIElement => {
    const place = edited!.place;
    const box = create('input', {
      class: 'chip-editor',
      attributes: {
        type: 'text',
        'aria-label': 'Edit the category',
        spellcheck: 'false',
        autocomplete: 'off',
      },
    });
    box.value = text;
    const end = (value: string) => {
      if (!edited) return;
      edited = undefined;
      const others = texts.filter((_, other) => other !== place);
      const kept = value.trim();
      if (kept === '' || others.includes(kept)) texts = others;
      else texts[place] = kept;
      draw();
      onChange();
    };
    box.addEventListener('input', () => {
      texts[place] = box.value;
      onChange();
    });
    box.addEventListener('keydown', (event) => {
      if (event.key !== 'Enter' && event.key !== 'Escape') return;
      event.preventDefault();
      event.stopPropagation();
      end(event.key === 'Enter' ? box.value : (edited?.before ?? text));
      focusChip(Math.min(place, texts.length - 1));
    });
    box.addEventListener('blur', () => end(box.value));
    return create('li', { class: 'chip' }, box);
  };

  const edit = (place: number) => {
    edited = { place, before: texts[place]! };
    draw();
    const box = list.querySelector('input');
    box?.focus();
    box?.select();
  };

  const focusChip = (place: number) => {
    const buttons = chipButtons();
    const chosen = buttons[place];
    for (const button of buttons) button.tabIndex = button === chosen ? 0 : -1;
    (chosen ?? input).focus();
  };

  const removeAt = (place: number) => {
    const [removed] = texts.splice(place, 1);
    draw();
    focusChip(Math.min(place, texts.length - 1));
    say(`${removed} removed. ${count(texts.length, 'category', 'categories')} left.`);
    onChange();
  };

  const add = (more: readonly string[]) => {
    const before = texts.length;
    texts = [...new Set([...texts, ...more])];
    draw();
    onChange();
    return texts.length - before;
  };

  /** Makes chips of a text, by default of what is written. @returns whether it could be read */
  const commit = (text = input.value): boolean => {
    const { labels, fault } = parseLabels(text);
    onFault(fault ?? '');
    if (fault !== undefined) {
      input.setAttribute('aria-invalid', 'true');
      return false;
    }
    input.value = '';
    if (labels.length === 0) return true;
    const added = add(labels);
    const [first] = labels;
    say(added === 0 ? `${first} is there already.` : `${labels.join(', ')} added.`);
    list.scrollTo(list.scrollWidth, list.scrollHeight);
    return true;
  };

  input.addEventListener('input', () => {
    if (input.getAttribute('aria-invalid')) {
      input.removeAttribute('aria-invalid');
      onFault('');
    }
    onChange();
  });
  input.addEventListener('keydown', (event) => {
    const isComma = event.key === ',' && !isInQuotes(input.value.slice(0, input.selectionStart ?? undefined));
    if ((event.key === 'Enter' && !event.isComposing) || isComma) {
      if (isComma && input.value.trim() === '') event.preventDefault();
      if (input.value.trim() === '') return;
      event.preventDefault();
      commit();
    } else if (event.key === 'Backspace' && input.value === '' && texts.length > 0) {
      event.preventDefault();
      removeAt(texts.length - 1);
      input.focus();
    } else if (event.key === 'ArrowLeft' && input.selectionStart === 0 && input.selectionEnd === 0) {
      if (texts.length > 0) event.preventDefault();
      if (texts.length > 0) focusChip(texts.length - 1);
    }
  });
  input.addEventListener('paste', (event) => {
    const pasted = event.clipboardData?.getData('text/plain') ?? '';
    const { labels, fault } = parseLabels(pasted);
    if (fault !== undefined || labels.length < 2) return;
    event.preventDefault();
    // The field itself would drop the ends of lines.
    commit(`${input.value}${pasted}`);
  });
  // What is written counts, also if nothing was pressed after it.
  input.addEventListener('change', () => commit());
  list.addEventListener('keydown', (event) => {
    const buttons = chipButtons();
    const place = buttons.indexOf(document.activeElement as HTMLButtonElement);
    if (place === -1) return;
    const target = { ArrowLeft: place - 1, ArrowRight: place + 1, Home: 0, End: buttons.length - 1 }[
      event.key
    ];
    if (target !== undefined) {
      event.preventDefault();
      if (target >= buttons.length) input.focus();
      else focusChip(Math.max(0, target));
    } else if (event.key === 'Delete' || event.key === 'Backspace') {
      event.preventDefault();
      removeAt(place);
    }
  });
  box.addEventListener('click', ({ target }) => {
    if (target === box || target === list) input.focus();
  });
  // Otherwise the button would be hidden before it is released.
  more.addEventListener('mousedown', (event) => event.preventDefault());
  more.addEventListener('click', () => focusChip(0));
  box.addEventListener('focusout', ({ relatedTarget }) => {
    if (!(relatedTarget instanceof Node) || !box.contains(relatedTarget)) list.scrollTo(0, 0);
  });

  const mark = () => {
    for (const [place, item] of [...list.children].entries()) {
      const { isFaulty, isAlike } = state(texts[place] ?? '');
      item.classList.toggle('faulty', isFaulty);
      item.classList.toggle('alike', isAlike);
    }
  };

  /** Folded, the field has one line: a button says how many chips do not fit into it. */
  const fold = () => {
    const { bottom, right } = list.getBoundingClientRect();
    const boxes = [...list.children].map((item) => item.getBoundingClientRect());
    const hidden = boxes.filter(({ top }) => top >= bottom).length;
    more.hidden = hidden === 0;
    // Moved without a change of the layout, which might let one more chip fit, and then none.
    const lastRight = Math.max(0, ...boxes.slice(0, boxes.length - hidden).map((box) => box.right));
    box.style.setProperty('--gap', `${hidden === 0 ? 0 : Math.max(0, right - lastRight)}px`);
    input.placeholder = texts.length === 0 ? 'dog, birthday cake, sunset at sea' : 'Add a word';
    setText(more, `+${hidden}`);
    more.setAttribute('aria-label', `Show ${count(hidden, 'more category', 'more categories')}`);
  };
  new ResizeObserver(fold).observe(list);
  new MutationObserver(fold).observe(list, { childList: true });

  return {
    get texts() {
      const writing = input.value.trim();
      const pending = writing === '' ? [] : parseLabels(writing).labels;
      return [...new Set([...texts, ...pending].map((text) => text.trim()).filter((text) => text !== ''))];
    },
    set(next) {
      input.value = '';
      texts = [...new Set(next)];
      draw();
      onChange();
    },
    add,
    mark(next) {
      state = next;
      mark();
    },
    focus: () => input.focus(),
  };
}
