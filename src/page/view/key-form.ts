import { find, setText } from './dom.ts';

/** Asks for the service's key when it wants one. The key lives as long as the page does. */
export interface KeyForm {
  /** @param reason the service's own words */
  ask(reason: string): void;
}

export function createKeyForm(onKey: (key: string) => void): KeyForm {
  const form = find('key-form', HTMLFormElement);
  const field = find('key', HTMLInputElement);
  const reason = find('key-reason', HTMLElement);
  form.addEventListener('submit', (event) => {
    event.preventDefault();
    if (field.value === '') return;
    form.hidden = true;
    onKey(field.value);
    field.value = '';
  });
  return {
    ask(text) {
      setText(reason, text);
      form.hidden = false;
      field.focus();
    },
  };
}
