import type { Rules } from '../../contract/options.ts';
import { create, createButton, setText } from './dom.ts';

/** The settings of the controls. The page applies them to its answers, without a new request. */
export interface ShownOptions {
  readonly rules: Rules & { readonly threshold: number };
  readonly topK: number;
}

interface ResultControls extends ShownOptions {
  readonly element: HTMLElement;
  /**
   * Sets the words of the current view.
   * @param units after the number of best results, singular and plural: `photos per category`
   * @param note what the numbers mean
   */
  describe(units: readonly [singular: string, plural: string], note: string): void;
}

interface ResultControlsOptions {
  /** `photos` or `video`; the ids begin with it. */
  readonly name: string;
  readonly topK: number;
  readonly onChange: () => void;
  readonly onSave: (format: 'json' | 'csv') => void;
}

const MAX_SHOWN = 10;

export function createResultControls(options: ResultControlsOptions): ResultControls {
  const { name, topK, onChange, onSave } = options;
  const range = create('input', {
    attributes: {
      id: `${name}-threshold`,
      type: 'range',
      min: '0',
      max: '100',
      step: '1',
      value: '0',
      title: 'Hides matches below this score.',
    },
  });
  const shownThreshold = create('output', { text: '0 %', attributes: { for: `${name}-threshold` } });
  const best = create('input', {
    attributes: {
      id: `${name}-top-k`,
      type: 'number',
      min: '1',
      max: String(MAX_SHOWN),
      value: String(topK),
      inputmode: 'numeric',
      'aria-describedby': `${name}-unit`,
    },
  });
  const unit = create('span', { attributes: { id: `${name}-unit` } });
  const note = create('p', { class: 'hint' });
  range.addEventListener('input', () => {
    shownThreshold.textContent = `${range.value} %`;
    range.setAttribute('aria-valuetext', `${range.value} percent`);
    onChange();
  });
  best.addEventListener('input', onChange);
  const element = create(
    'div',
    { class: 'controls' },
    create(
      'div',
      { class: 'control' },
      create('label', { text: 'Minimum score', attributes: { for: range.id } }),
      range,
      shownThreshold,
    ),
    create(
      'div',
      { class: 'control' },
      create('label', { text: 'Show top', attributes: { for: best.id } }),
      best,
      unit,
    ),
    create(
      'details',
      {},
      create('summary', { class: 'help', text: '?', attributes: { 'aria-label': 'What the numbers mean' } }),
      note,
    ),
    create(
      'div',
      { class: 'control saves' },
      createButton('Save as JSON', () => onSave('json')),
      createButton('Save as CSV', () => onSave('csv')),
    ),
  );
  return {
    element,
    describe([singular, plural], explanation) {
      setText(unit, this.topK === 1 ? singular : plural);
      setText(note, `${explanation} Matches below the minimum score are hidden.`);
    },
    get rules() {
      return { threshold: range.valueAsNumber / 100 };
    },
    get topK() {
      const wanted = Math.round(best.valueAsNumber);
      return Number.isNaN(wanted) ? topK : Math.min(MAX_SHOWN, Math.max(1, wanted));
    },
  };
}
