const types = { json: 'application/json', csv: 'text/csv' } as const;

/** Saves a text as a download. */
export function saveText(name: string, format: keyof typeof types, text: string): void {
  saveBlob(`${name}.${format}`, new Blob([text], { type: types[format] }));
}

/** Saves bytes as a download. */
export function saveBlob(name: string, blob: Blob): void {
  const url = URL.createObjectURL(blob);
  const link = document.createElement('a');
  link.href = url;
  link.download = name;
  link.click();
  // By then the browser has begun to read, and needs the address no more.
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}

const PACE_MS = 150;

/** Calls `draw` soon after each request, but at most every 150 ms. */
export function throttled(draw: () => void): () => void {
  let isPlanned = false;
  let drawnAt = Number.NEGATIVE_INFINITY;
  return () => {
    if (isPlanned) return;
    isPlanned = true;
    const wait = Math.max(0, drawnAt + PACE_MS - performance.now());
    setTimeout(() => {
      isPlanned = false;
      draw();
      drawnAt = performance.now();
    }, wait);
  };
}

/** Text is set as text, never as HTML: names of files and categories may contain anything. */
type Properties = {
  readonly class?: string;
  readonly text?: string;
  readonly hidden?: boolean;
  readonly attributes?: Readonly<Record<string, string>>;
};

export function create<Tag extends keyof HTMLElementTagNameMap>(
  tag: Tag,
  { class: className, text, hidden, attributes = {} }: Properties = {},
  ...children: readonly Node[]
): HTMLElementTagNameMap[Tag] {
  const element = document.createElement(tag);
  if (className !== undefined) element.className = className;
  if (text !== undefined) element.textContent = text;
  if (hidden !== undefined) element.hidden = hidden;
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

/** A button that does not submit the form around it. */
export function createButton(text: string, onClick: () => void, className = 'button'): HTMLButtonElement {
  const button = create('button', { class: className, text, attributes: { type: 'button' } });
  button.addEventListener('click', onClick);
  return button;
}

/** Finds an element of the page's HTML. @throws Error if it is missing or of another type */
export function find<Type extends Element>(id: string, type: abstract new () => Type): Type {
  const element = document.getElementById(id);
  if (!(element instanceof type)) throw new Error(`the page has no ${type.name} with the id ${id}`);
  return element;
}

/** Sets a text only if it differs, so that screen readers do not announce it again. */
export function setText(element: Element, text: string): void {
  if (element.textContent !== text) element.textContent = text;
}

/** Makes `children` the children of `parent`, and moves as few as possible. */
export function arrange(parent: Element, children: readonly Element[]): void {
  const wanted = new Set(children);
  for (const child of [...parent.children]) if (!wanted.has(child)) child.remove();
  for (const [index, child] of children.entries()) {
    const present = parent.children[index];
    if (present !== child) parent.insertBefore(child, present ?? null);
  }
}

/** Closes an open menu when something else is clicked, or at Escape. */
export function useMenus(): void {
  const open = () => document.querySelectorAll<HTMLDetailsElement>('details.menu[open]');
  addEventListener('pointerdown', ({ target }) => {
    for (const menu of open()) if (target instanceof Node && !menu.contains(target)) menu.open = false;
  });
  addEventListener('keydown', ({ key }) => {
    if (key !== 'Escape') return;
    for (const menu of open()) {
      menu.open = false;
      menu.querySelector('summary')?.focus();
    }
  });
  addEventListener('focusin', ({ target }) => {
    for (const menu of open()) if (target instanceof Node && !menu.contains(target)) menu.open = false;
  });
  // A menu of commands closes when one is chosen.
  for (const button of document.querySelectorAll('details.menu .panel > button')) {
    button.addEventListener('click', () => {
      for (const menu of open()) menu.open = false;
    });
  }
}
