import { create, createButton, setText } from './dom.ts';

/** What can be set of results that are there, without asking the service again. */
export interface ShownOptions {
  /** Least score that counts, 0 to 1. */
  readonly threshold: number;
  readonly topK: number;
}

export interface ResultControls extends ShownOptions {
  readonly element: HTMLElement;
  /** @param unit of what the best are shown: `per category` */
  setUnit(unit: string): void;
}

export interface ResultControlsOptions {
  /** Of what this is about; begins the ids. */
  readonly name: string;
  readonly topK: number;
  readonly onChange: () => void;
  readonly onSave: (format: 'json' | 'csv') => void;
}

const MAX_SHOWN = 10;

export function createResultControls(options: ResultControlsOptions): ResultControls {
  const { name, topK, onChange, onSave } = options;
  const range = create('input', {
    attributes: { id: `${name}-threshold`, type: 'range', min: '0', max: '100', step: '1', value: '0' },
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
      create('label', { text: 'Least score', attributes: { for: range.id } }),
      range,
      shownThreshold,
    ),
    create(
      'div',
      { class: 'control' },
      create('label', { text: 'Show the best', attributes: { for: best.id } }),
      best,
      unit,
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
    setUnit: (text) => setText(unit, text),
    get threshold() {
      return range.valueAsNumber / 100;
    },
    get topK() {
      const wanted = Math.round(best.valueAsNumber);
      return Number.isNaN(wanted) ? topK : Math.min(MAX_SHOWN, Math.max(1, wanted));
    },
  };
}
