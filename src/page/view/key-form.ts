import { find, setText } from './dom.ts';

/** Asks for the API key, and does not store it. */
export function createKeyForm(onKey: (key: string) => void) {
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
    /** @param text why the key is needed */
    ask(text: string) {
      setText(reason, text);
      form.hidden = false;
      field.focus();
    },
  };
}
