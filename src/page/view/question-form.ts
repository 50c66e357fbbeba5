import { labelsText, type ParsedLabels, parseLabels } from '../intake/labels.ts';
import { find, setText } from './dom.ts';
import { count } from './numbers.ts';

/** The field that a sentence is about. */
type Field = 'labels' | 'template' | 'files';

/** The fields for files, categories and template. */
interface QuestionForm {
  readonly labels: ParsedLabels;
  readonly template: string;
  /** Whether to look at all of a long video. */
  readonly thorough: boolean;
  /** Reads a categories document into the field. */
  readDocument(file: File): Promise<void>;
  /** Shows a fault beside a field, and focuses it. */
  complain(field: Field, sentence: string): void;
  show(state: FormState): void;
}

interface FormState {
  /** What the button will do. */
  readonly plan: string;
  /** Shows the stop button instead. */
  readonly isRunning: boolean;
  /** Shows the options of videos. */
  readonly hasVideo: boolean;
}

export function createQuestionForm({
  onChange,
  onSubmit,
  onStop,
}: Readonly<Record<'onChange' | 'onSubmit' | 'onStop', () => void>>): QuestionForm {
  const form = find('question', HTMLFormElement);
  const labelsField = find('labels', HTMLTextAreaElement);
  const labelsCount = find('labels-count', HTMLElement);
  const template = find('template', HTMLInputElement);
  const thorough = find('thorough', HTMLInputElement);
  const videoOptions = find('video-options', HTMLElement);
  const classify = find('classify', HTMLButtonElement);
  const stop = find('stop', HTMLButtonElement);
  const plan = find('plan', HTMLElement);
  const documentInput = find('labels-input', HTMLInputElement);
  const faults = {
    labels: { field: labelsField, text: find('labels-fault', HTMLElement) },
    template: { field: template, text: find('template-fault', HTMLElement) },
    files: { field: find('choose-files', HTMLButtonElement), text: find('files-fault', HTMLElement) },
  } as const;

  const setFault = (name: Field, sentence: string) => {
    const { field, text } = faults[name];
    setText(text, sentence);
    text.hidden = sentence === '';
    if (sentence === '') field.removeAttribute('aria-invalid');
    else if (name !== 'files') field.setAttribute('aria-invalid', 'true');
  };
  let labels = parseLabels('');
  const readLabels = () => {
    labels = parseLabels(labelsField.value);
    setFault('labels', labels.fault ?? '');
    setText(
      labelsCount,
      labels.labels.length > 0 ? count(labels.labels.length, 'category', 'categories') : '',
    );
    onChange();
  };

  const readDocument = async (file: File) => {
    const text = decode(new Uint8Array(await file.arrayBuffer()));
    const parsed = parseLabels(text);
    // A text that cannot be read is shown unchanged, so that it can be corrected.
    labelsField.value = parsed.fault ? text : labelsText(parsed.labels);
    readLabels();
  };

  labelsField.addEventListener('input', readLabels);
  template.addEventListener('input', () => {
    setFault('template', '');
    onChange();
  });
  thorough.addEventListener('change', onChange);
  find('choose-labels', HTMLButtonElement).addEventListener('click', () => documentInput.click());
  documentInput.addEventListener('change', () => {
    const [file] = documentInput.files ?? [];
    documentInput.value = '';
    if (file) void readDocument(file);
  });
  form.addEventListener('submit', (event) => {
    event.preventDefault();
    setFault('files', '');
    onSubmit();
  });
  labelsField.addEventListener('keydown', (event) => {
    if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) form.requestSubmit();
  });
  stop.addEventListener('click', onStop);

  return {
    get labels() {
      return labels;
    },
    get template() {
      return template.value.trim();
    },
    get thorough() {
      return thorough.checked;
    },
    readDocument,
    complain(name, sentence) {
      setFault(name, sentence);
      if (name === 'template') find('options', HTMLDetailsElement).open = true;
      faults[name].field.focus();
    },
    show({ plan: planText, isRunning, hasVideo }) {
      const hadFocus = document.activeElement === (isRunning ? classify : stop);
      classify.hidden = isRunning;
      stop.hidden = !isRunning;
      if (hadFocus) (isRunning ? stop : classify).focus();
      setText(plan, planText);
      videoOptions.hidden = !hasVideo;
    },
  };
}

/** UTF-8, or UTF-16 with a byte order mark, as spreadsheets save "Unicode text". */
function decode(bytes: Uint8Array): string {
  const [first, second] = bytes;
  const isUtf16 = (first === 0xff && second === 0xfe) || (first === 0xfe && second === 0xff);
  return new TextDecoder(isUtf16 ? (first === 0xff ? 'utf-16le' : 'utf-16be') : 'utf-8').decode(bytes);
}
