import { photosCsv, photosJson } from '../results/export.ts';
import {
  answerTo,
  bestPhotos,
  type Grouping,
  groupByCategory,
  type Photo,
  type Question,
} from '../results/photo.ts';
import { arrange, create, createButton, find, saveText, setText } from './dom.ts';
import { count, number, percent, withoutMatch } from './numbers.ts';
import { createPhotoDialog } from './photo-dialog.ts';
import { createPhotoGroup, type GroupContent, type PhotoGroupView, type TileContent } from './photo-group.ts';
import { createResultControls, type ShownOptions } from './result-controls.ts';
import { createThumbnails } from './thumbnails.ts';

/** Shows links to the groups, with the number of photos in each. */
function createGroupLinks(
  nav: HTMLElement,
): (groups: readonly Pick<GroupContent, 'key' | 'heading' | 'photos'>[]) => void {
  let shown = '';
  return (groups) => {
    nav.hidden = groups.length < 2;
    const wanted = JSON.stringify(groups.map(({ key, heading, photos }) => [key, heading, photos.length]));
    if (wanted === shown) return;
    shown = wanted;
    const links = groups.map(({ key, heading, photos }) =>
      create(
        'a',
        {
          attributes: { href: `#group-${key}`, 'aria-label': `${heading}, ${count(photos.length, 'photo')}` },
        },
        create('span', { text: heading }),
        create('span', { class: 'count', text: ` ${number(photos.length)}` }),
      ),
    );
    nav.replaceChildren(...links);
  };
}

interface ShownPhotos {
  readonly photos: readonly Photo[];
  /** undefined: before the first run. */
  readonly question: Question | undefined;
  readonly model: string | undefined;
}

const scoreNote =
  'The score says how clearly a category wins over the others in the same photo. All categories of a photo share 100 %.';
const bestNote =
  'Photos are ranked by similarity, which compares a photo with this category only. The score says how clearly this category wins over the others in the same photo.';

/** About this many tiles are shown at first, in all groups together. */
const FIRST_TILES = 600;
const MIN_FIRST = 4;
const MAX_FIRST = 24;

/** The photos on the page, in groups. */
export function createPhotoResults(tryBrokenAgain: () => void) {
  const section = find('photo-results', HTMLElement);
  const list = find('photo-groups', HTMLElement);
  const showLinks = createGroupLinks(find('photo-jumps', HTMLElement));
  const unused = find('photo-unused', HTMLElement);
  const viewChoice = find('photo-view', HTMLFieldSetElement);
  const byBest = find('view-best', HTMLInputElement);
  const dialog = createPhotoDialog(find('photo-dialog', HTMLDialogElement));
  const thumbnails = createThumbnails();
  const tryAgain = createButton('Try these again', tryBrokenAgain);
  let views = new Map<string, PhotoGroupView>();
  let shown: ShownPhotos = { photos: [], question: undefined, model: undefined };

  const controls = createResultControls({
    name: 'photos',
    topK: 3,
    onChange: () => draw(),
    onSave: (format) => {
      const { question } = shown;
      if (!question) return;
      const { rules, topK } = controls;
      const results = { ...shown, question, rules, topK };
      saveText('photos', format, format === 'json' ? photosJson(results) : photosCsv(results));
    },
  });
  find('photo-controls', HTMLElement).append(controls.element);
  viewChoice.addEventListener('change', () => draw());

  const draw = () => {
    const { photos, question } = shown;
    section.hidden = photos.length === 0;
    viewChoice.hidden = controls.element.hidden = !question;
    if (byBest.checked) controls.describe(['photo per category', 'photos per category'], bestNote);
    else controls.describe(['category per photo', 'categories per photo'], scoreNote);
    const grouping = groupByCategory(photos, question ?? nothingAsked, controls.rules);
    const { broken, waiting } = grouping;
    const categories =
      byBest.checked && question
        ? bestGroups(photos, question, controls)
        : categoryGroups(grouping, question ?? nothingAsked, controls);
    const contents = [
      ...(broken.length > 0 ? [brokenGroup(broken)] : []),
      ...categories,
      ...(waiting.length > 0 ? [waitingGroup(waiting, question)] : []),
    ];

    const before = views;
    views = new Map();
    for (const content of contents) {
      const view =
        before.get(content.key) ??
        createPhotoGroup(content.key, thumbnails, (photo, among) =>
          dialog.open(photo, among, shown.question),
        );
      view.show(content);
      views.set(content.key, view);
    }
    for (const [key, view] of before) if (!views.has(key)) view.release();
    list.classList.toggle('best', byBest.checked);
    list.style.setProperty('--best', String(controls.topK));
    arrange(
      list,
      [...views.values()].map(({ element }) => element),
    );
    const brokenView = views.get('broken');
    if (brokenView && tryAgain.parentElement !== brokenView.element) brokenView.element.append(tryAgain);
    showLinks(contents);
    const empty = byBest.checked || waiting.length > 0 ? [] : grouping.empty;
    unused.hidden = empty.length === 0;
    const names = empty.map((label) => question?.labels[label] ?? '');
    setText(unused, names.length > 0 ? withoutMatch(names) : '');
  };

  return {
    render(next: ShownPhotos) {
      shown = next;
      draw();
      if (next.photos.length === 0) thumbnails.forget();
    },
  };
}

const nothingAsked: Question = { labels: [], template: '' };

function categoryGroups(
  { groups, undecided }: Grouping,
  question: Question,
  { rules, topK }: ShownOptions,
): GroupContent[] {
  const first = firstTiles(groups.length);
  const tile = (photo: Photo): TileContent => ({
    warning: answerTo(photo, question)?.warning,
    lines: (answerTo(photo, question)?.best ?? []).slice(0, topK).map((label) => {
      const score = photo.answer?.scores[label] ?? 0;
      return { text: question.labels[label] ?? '', value: percent(score), share: score };
    }),
  });
  const contents = groups.map(({ label, photos }) => ({
    key: `label-${label}`,
    heading: question.labels[label] ?? '',
    photos,
    first,
    tile,
  }));
  if (undecided.length === 0) return contents;
  const hint = `No category reaches ${percent(rules.threshold)}.`;
  return [
    ...contents,
    { key: 'undecided', heading: 'None of these', hint, photos: undecided, first: MAX_FIRST, tile },
  ];
}

function bestGroups(
  photos: readonly Photo[],
  question: Question,
  { rules, topK }: ShownOptions,
): GroupContent[] {
  return bestPhotos(photos, question, topK, rules).map((best, label) => ({
    key: `best-${label}`,
    heading: question.labels[label] ?? '',
    ...(best.length === 0 &&
      rules.threshold > 0 && { hint: `No photo reaches ${percent(rules.threshold)} for this category.` }),
    photos: best,
    first: topK,
    tile: ({ answer }) => {
      const similarity = answer?.similarities[label] ?? 0;
      const score = answer?.scores[label] ?? 0;
      return {
        warning: answer?.warning,
        lines: [
          { text: 'Similarity', value: similarity.toFixed(3), share: 0 },
          { text: 'Score', value: percent(score), share: score },
        ],
      };
    },
  }));
}

function brokenGroup(photos: readonly Photo[]): GroupContent {
  return {
    key: 'broken',
    heading: 'Could not be used',
    photos,
    first: MAX_FIRST,
    tile: ({ fault }) => ({ lines: [], fault: fault?.sentence }),
  };
}

function waitingGroup(photos: readonly Photo[], question: Question | undefined): GroupContent {
  return {
    key: 'waiting',
    heading: question ? 'Not classified yet' : 'Your photos',
    photos,
    first: MAX_FIRST,
    tile: () => ({ lines: [] }),
  };
}

function firstTiles(groups: number): number {
  return Math.min(MAX_FIRST, Math.max(MIN_FIRST, Math.floor(FIRST_TILES / Math.max(1, groups))));
}
