import { create, createButton } from '../view/dom.ts';

/** Lists of categories to begin with. Colours are what the demo model knows. */
const lists = {
  'What it shows': ['people', 'pets', 'food', 'landscape', 'documents', 'screenshots'],
  Holiday: ['beach', 'mountains', 'city', 'museum', 'meal', 'friends'],
  'To throw away?': ['a blurry photo', 'a screenshot', 'a receipt', 'a meme', 'a good photo'],
  Colours: [
    'something red',
    'something green',
    'something blue',
    'something orange',
    'something purple',
    'something white',
  ],
} as const;

interface ExamplesOptions {
  /** Called with six photos. */
  readonly onPhotos: (files: readonly File[]) => void;
  readonly onLabels: (labels: readonly string[]) => void;
}

interface Examples {
  readonly element: HTMLElement;
  /** @param isDemo whether the demo model answers: it knows only colours */
  setDemo(isDemo: boolean): void;
}

/** Photos and categories for a first try. */
export function createExamples({ onPhotos, onLabels }: ExamplesOptions): Examples {
  let isDemo = false;
  const tryIt = createButton('Try it with 6 example photos', async () => {
    tryIt.disabled = true;
    try {
      onLabels(isDemo ? lists.Colours : lists['What it shows']);
      const { drawExamples } = await import('./example-pictures.ts');
      onPhotos(await drawExamples());
    } finally {
      tryIt.disabled = false;
    }
  });
  const chips = Object.entries(lists).map(([name, labels]) => {
    const chip = createButton('', () => onLabels(labels), 'button quiet example');
    chip.append(
      create('strong', { text: name }),
      ` ${labels.join(' · ').replaceAll(/something |an? /g, '')}`,
    );
    return create('li', {}, chip);
  });
  const element = create(
    'div',
    { class: 'examples' },
    tryIt,
    create('p', { class: 'hint', text: 'Categories to begin with:', attributes: { id: 'examples-lists' } }),
    create('ul', { attributes: { 'aria-labelledby': 'examples-lists' } }, ...chips),
  );
  return {
    element,
    setDemo(next) {
      if (next === isDemo) return;
      isDemo = next;
      // What this model knows comes first.
      const list = chips[0]?.parentElement;
      if (isDemo) list?.prepend(...chips.slice(-1));
      else list?.append(...chips.slice(-1));
    },
  };
}
