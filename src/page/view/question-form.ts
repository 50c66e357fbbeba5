import type { Synonyms } from '../../classify/synonyms.ts';
import type { Fit } from '../../contract/options.ts';
import { categoryOf, parseDocument } from '../intake/labels.ts';
import type { Category, Question } from '../results/photo.ts';
import type { VideoOptions } from '../service/requests.ts';
import { createCategoryField } from './category-field.ts';
import { find, setText } from './dom.ts';

/** What a person has set; it is kept over a reload. */
export interface Settings {
  /** Categories as written. */
  readonly texts: readonly string[];
  readonly template: string;
  readonly fit: Fit;
  /** Whether a photo may be in several groups. */
  readonly several: boolean;
  /** 0 to 100. */
  readonly strictness: number;
}

/** What the page knows about the categories, for marks and sentences at the field. */
export interface QuestionState {
  /** Why a category is refused, as a sentence. */
  readonly faultOf: (category: Category) => string | undefined;
  /** Why the template is refused. */
  readonly templateFault: string | undefined;
  /** Categories that mean almost the same to the model. */
  readonly synonyms: readonly Synonyms[];
  /** Whether words are being asked for. */
  readonly areAsked: boolean;
  /** What a change of the photos' part sends again; empty: nothing. */
  readonly sentAgain: string;
}

interface QuestionForm {
  readonly settings: Settings;
  readonly question: Question;
  readonly video: VideoOptions;
  restore(settings: Partial<Settings>): void;
  /** Puts other categories in the place of some. */
  replaceCategories(old: readonly string[], texts: readonly string[]): void;
  /** Reads a categories document into the field. */
  readDocument(file: File): Promise<void>;
  focusCategories(): void;
  show(state: QuestionState): void;
}

interface QuestionFormOptions {
  readonly onChange: () => void;
  readonly onSubmit: () => void;
  readonly onStop: () => void;
  readonly say: (text: string) => void;
}

export function createQuestionForm({ onChange, onSubmit, onStop, say }: QuestionFormOptions): QuestionForm {
  const form = find('question', HTMLFormElement);
  const words = find('words', HTMLElement);
  const labelsFault = find('labels-fault', HTMLElement);
  const labelsNote = find('labels-note', HTMLElement);
  const sentence = find('sentence', HTMLSelectElement);
  const template = find('template', HTMLInputElement);
  const templateFault = find('template-fault', HTMLElement);
  const fit = find('fit', HTMLSelectElement);
  const fitHint = find('fit-hint', HTMLElement);
  const several = find('several', HTMLInputElement);
  const strictness = find('strictness', HTMLInputElement);
  const thorough = find('thorough', HTMLInputElement);
  const others = find('others', HTMLInputElement);
  const documentInput = find('labels-input', HTMLInputElement);
  /** A text that cannot be read. */
  let unreadable = '';

  const field = createCategoryField({
    onChange,
    onFault(text) {
      unreadable = text;
      onChange();
    },
    say,
  });

  const showTemplate = () => {
    template.hidden = sentence.value !== 'own';
  };
  const showStrictness = () => {
    const value = strictness.valueAsNumber;
    const word =
      value === 0 ? 'every photo gets a group' : value < 40 ? 'loose' : value > 60 ? 'strict' : 'middle';
    strictness.setAttribute('aria-valuetext', word);
  };

  const readDocument = async (file: File) => {
    const text = decode(new Uint8Array(await file.arrayBuffer()));
    const { labels, fault } = parseDocument(text);
    unreadable = fault === undefined ? '' : `${file.name}: ${fault}`;
    if (fault === undefined) {
      field.add(labels);
      say(`${labels.join(', ')} added.`);
    } else onChange();
  };

  sentence.addEventListener('change', () => {
    showTemplate();
    if (!template.hidden) template.focus();
    onChange();
  });
  strictness.addEventListener('input', showStrictness);
  for (const one of [template, fit, several, strictness, thorough, others])
    one.addEventListener('input', onChange);
  find('choose-labels', HTMLButtonElement).addEventListener('click', () => documentInput.click());
  documentInput.addEventListener('change', () => {
    const [file] = documentInput.files ?? [];
    documentInput.value = '';
    if (file) void readDocument(file);
  });
  form.addEventListener('submit', (event) => {
    event.preventDefault();
    onSubmit();
  });
  find('stop', HTMLButtonElement).addEventListener('click', onStop);
  showTemplate();
  showStrictness();

  const settings = (): Settings => ({
    texts: field.texts,
    template: sentence.value === 'own' ? template.value.trim() : sentence.value,
    fit: fit.value as Fit,
    several: several.checked,
    strictness: strictness.valueAsNumber,
  });

  return {
    get settings() {
      return settings();
    },
    get question() {
      const { texts, template: wanted } = settings();
      const byName = new Map<string, Category>();
      for (const category of texts.map(categoryOf)) {
        const same = byName.get(category.name);
        const phrases = [...new Set([...(same?.phrases ?? []), ...category.phrases])];
        byName.set(category.name, { name: category.name, phrases });
      }
      return { categories: [...byName.values()], template: wanted };
    },
    get video() {
      return { thorough: thorough.checked, others: others.checked, fit: fit.value as Fit };
    },
    restore(saved) {
      const { texts = [], template: wanted = '' } = saved;
      const isListed = [...sentence.options].some(({ value }) => value === wanted && value !== 'own');
      sentence.value = isListed ? wanted : 'own';
      template.value = isListed ? '' : wanted;
      fit.value = saved.fit ?? 'crop';
      several.checked = saved.several ?? false;
      strictness.valueAsNumber = saved.strictness ?? 50;
      showTemplate();
      showStrictness();
      field.set(texts);
    },
    replaceCategories: (old, texts) =>
      field.set([...settings().texts.filter((text) => !old.includes(text)), ...texts]),
    readDocument,
    focusCategories: () => field.focus(),
    show({ faultOf, templateFault: refused, synonyms, areAsked, sentAgain }) {
      const faults = new Map(
        settings().texts.flatMap((text) => {
          const fault = faultOf(categoryOf(text));
          return fault === undefined ? [] : [[text, fault] as const];
        }),
      );
      const alike = new Set(synonyms.flatMap(({ categories }) => categories));
      field.mark((text) => ({
        isFaulty: faults.has(text),
        isAlike: alike.has(categoryOf(text).name),
      }));
      const [fault = unreadable] = faults.values();
      setText(labelsFault, fault);
      labelsFault.hidden = fault === '';
      const note = fault === '' ? noteText(settings().texts.length, synonyms) : '';
      setText(labelsNote, note);
      labelsNote.hidden = note === '';
      setText(templateFault, refused ?? '');
      templateFault.hidden = refused === undefined;
      if (refused === undefined) template.removeAttribute('aria-invalid');
      else template.setAttribute('aria-invalid', 'true');
      if (refused !== undefined && templateFault.closest('details')?.open === false) {
        find('options', HTMLDetailsElement).open = true;
      }
      words.classList.toggle('asking', areAsked);
      setText(fitHint, sentAgain === '' ? '' : `A change sends ${sentAgain} again.`);
    },
  };
}

function noteText(categories: number, [pair]: readonly Synonyms[]): string {
  if (pair) {
    const [first, second] = pair.categories;
    return `“${first}” and “${second}” mean almost the same to the model. Leave one out, or write “${first} | ${second}”.`;
  }
  if (categories === 1) {
    return 'With one word, a photo fits or it does not. A second word for the rest makes the groups clearer.';
  }
  return '';
}

/** UTF-8, or UTF-16 with a byte order mark, as spreadsheets save "Unicode text". */
function decode(bytes: Uint8Array): string {
  const [first, second] = bytes;
  const isUtf16 = (first === 0xff && second === 0xfe) || (first === 0xfe && second === 0xff);
  return new TextDecoder(isUtf16 ? (first === 0xff ? 'utf-16le' : 'utf-16be') : 'utf-8').decode(bytes);
}
