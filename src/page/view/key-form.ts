import { find, setText } from './dom.ts';

interface KeyForm {
  /** Says that a key is needed. A second call changes nothing while the form is open. */
  need(): void;
  /** Leads to the form. */
  focus(): void;
  /** Says what is wrong with the key that was sent. */
  complain(sentence: string): void;
}

/** Asks for the API key, and does not store it. */
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
  const ask = (text: string, isFault: boolean) => {
    setText(reason, text);
    reason.classList.toggle('fault', isFault);
    form.hidden = false;
    if (isFault) field.setAttribute('aria-invalid', 'true');
    else field.removeAttribute('aria-invalid');
    field.focus();
  };
  return {
    need() {
      if (form.hidden !== false) ask('This service needs an API key.', false);
    },
    focus: () => field.focus(),
    complain: (sentence) => ask(sentence, true),
  };
}
