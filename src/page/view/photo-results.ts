import type { Rules } from '../../contract/options.ts';
import {
  type Asked,
  answerTo,
  type Grouping,
  groupByCategory,
  mayChange,
  movedTo,
  nearestPhotos,
  type Photo,
  strengthOf,
} from '../results/photo.ts';
import { arrange, create, createButton, find, setText } from './dom.ts';
import { count, listNames } from './numbers.ts';
import { createPhotoDialog } from './photo-dialog.ts';
import {
  createPhotoGroup,
  type GroupContent,
  type PhotoGroupView,
  photoOf,
  type TileContent,
} from './photo-group.ts';
import { createPhotoTabs, type Tab } from './photo-tabs.ts';
import { createThumbnails } from './thumbnails.ts';

interface ShownPhotos {
  readonly photos: readonly Photo[];
  /** undefined: without words, or while the first ones are asked for. */
  readonly asked: Asked | undefined;
  readonly rules: Rules;
}

interface PhotoResultsOptions {
  /** Moves a photo by hand; undefined: back to where the rules put it. */
  readonly onMove: (photo: Photo, target: string | null | undefined) => void;
  readonly onRemove: (photo: Photo) => void;
  /** Sends photos again that could not be used. */
  readonly onTryAgain: (photos: readonly Photo[]) => void;
  /** For screen readers. */
  readonly say: (text: string) => void;
}

interface PhotoResults {
  /** The groups, as they are saved. */
  readonly groups: readonly { readonly name: string; readonly photos: readonly Photo[] }[];
  /** How many files could not be used. */
  readonly broken: number;
  /** The name of the group that is shown alone. */
  readonly current: string | undefined;
  render(shown: ShownPhotos): void;
}

const UNSURE = 'Unsure';
const BROKEN = 'Could not be used';

/** About this many tiles are shown at first, in all groups together. */
const FIRST_TILES = 600;
const MIN_FIRST = 6;
const MAX_FIRST = 18;
/** A group that is shown alone. */
const FIRST_ALONE = 192;
const NEAREST = 12;

const unsureHint =
  'No word fits these clearly better than “object” or “things” would. Move the slider to loose, or add a word for them.';

/** The photos on the page, in groups. */
export function createPhotoResults({ onMove, onRemove, onTryAgain, say }: PhotoResultsOptions): PhotoResults {
  const section = find('photo-results', HTMLElement);
  const bar = find('results-bar', HTMLElement);
  const list = find('photo-groups', HTMLElement);
  const thumbnails = createThumbnails();
  const brokenLine = createButton('', () => tabs.select('broken'), 'link');
  const brokenNote = create('p', { class: 'hint broken-note' }, create('span'), brokenLine);
  const emptyNote = create('p', { class: 'hint' });
  const tryAgain = createButton('Try again', () =>
    onTryAgain(shown.photos.filter(({ fault }) => fault && mayChange(fault))),
  );
  let views = new Map<string, PhotoGroupView>();
  let shown: ShownPhotos = { photos: [], asked: undefined, rules: {} };
  let grouping: Grouping = { groups: [], unsure: [], broken: [], waiting: [] };
  let dragged: Photo | null = null;
  /** The tile that the Tab key leads to. */
  let current: HTMLElement | undefined;
  /** The photo that gets the focus when the tiles are drawn. */
  let toFocus: Photo | undefined;

  const nameOf = (label: number) => shown.asked?.categories[label]?.name ?? '';

  const tabs = createPhotoTabs(find('photo-tabs', HTMLElement), list, {
    onSelect: () => {
      draw();
      if (list.getBoundingClientRect().top < 0) section.scrollIntoView();
    },
    dragged: () => dragged,
    onDrop: (photo, target) => move(photo, target),
  });

  const move = (photo: Photo, target: string | null | undefined) => {
    toFocus = neighbourOf(photo);
    onMove(photo, target);
    const name = photo.path.slice(photo.path.lastIndexOf('/') + 1);
    say(
      target === undefined
        ? `${name} is sorted by its words again.`
        : `${name} moved to ${target ?? UNSURE}.`,
    );
  };
  const remove = (photo: Photo) => {
    toFocus = neighbourOf(photo);
    onRemove(photo);
    say(`${photo.path} removed.`);
  };
  const neighbourOf = (photo: Photo): Photo | undefined => {
    const buttons = tileButtons();
    const place = buttons.findIndex((button) => photoOf.get(button) === photo);
    const neighbour = buttons[place + 1] ?? buttons[place - 1];
    return neighbour && photoOf.get(neighbour);
  };
  const dialog = createPhotoDialog(find('photo-dialog', HTMLDialogElement), {
    onMove: move,
    onRemove: remove,
    onClose: () => draw(),
    unsure: UNSURE,
  });

  const tileButtons = () => [...list.querySelectorAll<HTMLElement>('.photo')];
  const setCurrent = (button: HTMLElement | undefined) => {
    if (current && current !== button) current.tabIndex = -1;
    current = button;
    if (button) button.tabIndex = 0;
  };
  list.addEventListener('focusin', ({ target }) => {
    if (target instanceof HTMLElement && photoOf.has(target)) setCurrent(target);
  });
  list.addEventListener('keydown', (event) => {
    const button = document.activeElement;
    const photo = button && photoOf.get(button);
    if (!photo || !(button instanceof HTMLElement) || event.ctrlKey || event.metaKey || event.altKey) return;
    const { key } = event;
    if (key === 'Delete') remove(photo);
    else if (key === 'm' || key === 'M') dialog.open(photo, [photo], { ...shown, isMoving: true });
    else {
      const next = nextTile(tileButtons(), button, key);
      if (!next) return;
      next.focus();
      next.scrollIntoView({ block: 'nearest' });
    }
    event.preventDefault();
  });

  const strength = (photo: Photo, label: number) => {
    const score = (shown.asked && answerTo(photo, shown.asked)?.scores[label]) ?? 0;
    return strengthOf({ score }, shown.rules);
  };
  const categoryTile =
    (label: number) =>
    (photo: Photo): TileContent => {
      const isMoved = shown.asked !== undefined && movedTo(photo, shown.asked)?.[0] === label;
      const share = strength(photo, label);
      return {
        answer: `${nameOf(label)}, ${isMoved ? 'moved here by hand' : strengthWord(share)}`,
        ...(!isMoved && { strength: share }),
        warning: photo.embedding?.warning,
        isMoved,
      };
    };
  const guessTile = (photo: Photo): TileContent => {
    const answer = shown.asked && answerTo(photo, shown.asked);
    if (!answer) return {};
    const name = nameOf(answer.best);
    return { answer: 'unsure', guess: `${name}?`, warning: photo.embedding?.warning };
  };

  const categoryGroup = (label: number, isAlone: boolean): GroupContent => ({
    key: `label-${label}`,
    heading: nameOf(label),
    photos: grouping.groups[label]!,
    first: isAlone ? FIRST_ALONE : firstTiles(grouping.groups.length),
    ...(!isAlone && { onShowAll: () => tabs.select(`label-${label}`) }),
    tile: categoryTile(label),
  });
  const nearestGroup = (label: number, asked: Asked): GroupContent => {
    const group = grouping.groups[label]!;
    const photos = nearestPhotos(shown.photos, asked, { label, group, count: NEAREST });
    const hint =
      group.length === 0
        ? 'No photo is strong enough for this group. These come closest.'
        : 'These come closest, but are not in the group.';
    return {
      key: `near-${label}`,
      heading: 'Nearly',
      hint,
      photos,
      first: NEAREST,
      tile: (photo) => {
        const labels = grouping.groups.flatMap((one, other) => (one.includes(photo) ? [nameOf(other)] : []));
        const where = labels.length > 0 ? labels.join(', ') : UNSURE.toLowerCase();
        return { answer: 'not in this group', guess: where, warning: photo.embedding?.warning };
      },
    };
  };
  const unsureGroup = (isAlone: boolean): GroupContent => ({
    key: 'unsure',
    heading: UNSURE,
    hint: unsureHint,
    photos: grouping.unsure,
    first: isAlone ? FIRST_ALONE : firstTiles(grouping.groups.length),
    ...(!isAlone && { onShowAll: () => tabs.select('unsure') }),
    tile: guessTile,
  });
  const brokenGroup = (): GroupContent => ({
    key: 'broken',
    heading: BROKEN,
    photos: grouping.broken,
    first: FIRST_ALONE,
    tile: ({ fault }) => ({ fault: fault?.sentence }),
  });
  const waitingGroup = (): GroupContent => ({
    key: 'waiting',
    heading: shown.asked ? 'Not sorted yet' : 'Your photos',
    ...(!shown.asked && { hint: 'Write the words to sort them by into the line above.' }),
    photos: grouping.waiting,
    first: shown.asked ? MAX_FIRST : FIRST_ALONE,
    tile: () => ({}),
  });

  const contentsOf = (key: string): GroupContent[] => {
    const { asked } = shown;
    const label = key.startsWith('label-') ? Number(key.slice('label-'.length)) : undefined;
    if (label !== undefined && asked) {
      const nearest = nearestGroup(label, asked);
      return [categoryGroup(label, true), ...(nearest.photos.length > 0 ? [nearest] : [])];
    }
    if (key === 'unsure') return [unsureGroup(true)];
    if (key === 'broken') return [brokenGroup()];
    return [
      ...grouping.groups.flatMap((photos, place) => (photos.length > 0 ? [categoryGroup(place, false)] : [])),
      ...(grouping.unsure.length > 0 ? [unsureGroup(false)] : []),
      ...(grouping.waiting.length > 0 ? [waitingGroup()] : []),
    ];
  };

  const showTabs = () => {
    const { photos, asked } = shown;
    const { groups, unsure, broken } = grouping;
    const all: Tab[] = [
      { key: 'all', name: 'All', photos: photos.length },
      ...(asked?.categories ?? []).map(({ name }, label) => ({
        key: `label-${label}`,
        name,
        photos: groups[label]!.length,
        target: name,
      })),
      ...(asked ? [{ key: 'unsure', name: UNSURE, photos: unsure.length, target: null }] : []),
      ...(broken.length > 0 ? [{ key: 'broken', name: BROKEN, photos: broken.length }] : []),
    ];
    tabs.show(all);
  };

  const showNotes = () => {
    const { groups, broken, waiting } = grouping;
    const isAll = tabs.key === 'all';
    const empty =
      waiting.length > 0
        ? []
        : groups.flatMap((photos, label) => (photos.length === 0 ? [nameOf(label)] : []));
    setText(emptyNote, empty.length > 0 ? `Nothing found for ${listNames(empty)}.` : '');
    setText(
      brokenNote.firstElementChild!,
      `${broken.length} of ${count(shown.photos.length, 'file')} could not be used. `,
    );
    setText(brokenLine, 'Show');
    brokenLine.setAttribute('aria-label', 'Show the files that could not be used');
    return [
      ...(isAll && empty.length > 0 ? [emptyNote] : []),
      ...(isAll && broken.length > 0 ? [brokenNote] : []),
      ...(tabs.key === 'broken' && broken.some(({ fault }) => fault && mayChange(fault)) ? [tryAgain] : []),
    ];
  };

  /** Puts small groups side by side. A group with a hint needs a row of its own. */
  const place = () => {
    const columns = getComputedStyle(list).gridTemplateColumns.split(' ').length;
    for (const { element } of views.values()) {
      const tiles = element.querySelectorAll('.tile').length;
      const hasHint = element.querySelector('.hint:not([hidden])') !== null;
      element.style.gridColumn = tiles >= columns || hasHint ? '1 / -1' : `span ${Math.max(1, tiles)}`;
    }
  };
  new ResizeObserver(place).observe(list);

  const draw = () => {
    const { photos } = shown;
    section.hidden = bar.hidden = photos.length === 0;
    showTabs();
    const before = views;
    views = new Map();
    for (const content of contentsOf(tabs.key)) {
      const view =
        before.get(content.key) ??
        createPhotoGroup(content.key, thumbnails, {
          open: (photo, among) => dialog.open(photo, among, shown),
          remove,
          drag(photo) {
            dragged = photo;
            document.body.classList.toggle('dragging', photo !== null);
          },
        });
      view.show(content);
      views.set(content.key, view);
    }
    for (const [key, view] of before) if (!views.has(key)) view.release();
    arrange(list, [...[...views.values()].map(({ element }) => element), ...showNotes()]);
    place();
    if (!current?.isConnected) setCurrent(tileButtons()[0]);
    if (toFocus && !dialog.isOpen) {
      const target = tileButtons().find((button) => photoOf.get(button) === toFocus);
      toFocus = undefined;
      // The tile that had the focus has gone.
      if (document.activeElement === document.body) target?.focus();
    }
  };

  list.setAttribute('role', 'tabpanel');

  return {
    get groups() {
      const { groups, unsure, waiting } = grouping;
      return [
        ...groups.map((photos, label) => ({ name: nameOf(label), photos })),
        { name: UNSURE, photos: unsure },
        { name: 'Not sorted', photos: waiting },
      ];
    },
    get broken() {
      return grouping.broken.length;
    },
    get current() {
      if (tabs.key === 'unsure') return UNSURE;
      return tabs.key.startsWith('label-') ? nameOf(Number(tabs.key.slice('label-'.length))) : undefined;
    },
    render(next) {
      shown = next;
      grouping = groupByCategory(next.photos, next.asked, next.rules);
      draw();
      dialog.update(shown);
      if (next.photos.length === 0) thumbnails.forget();
    },
  };
}

/** Few tiles of each of many groups. */
function firstTiles(groups: number): number {
  return Math.min(MAX_FIRST, Math.max(MIN_FIRST, Math.floor(FIRST_TILES / Math.max(1, groups))));
}

function strengthWord(strength: number): string {
  if (strength >= 2 / 3) return 'strong';
  return strength >= 1 / 3 ? 'fair' : 'weak';
}

/** The tile that a key leads to. Up and down lead to the nearest tile of the next row, also in another group. */
function nextTile(tiles: readonly HTMLElement[], from: HTMLElement, key: string): HTMLElement | undefined {
  const place = tiles.indexOf(from);
  if (key === 'ArrowLeft') return tiles[place - 1];
  if (key === 'ArrowRight') return tiles[place + 1];
  if (key === 'Home') return tiles[0];
  if (key === 'End') return tiles.at(-1);
  if (key !== 'ArrowUp' && key !== 'ArrowDown') return undefined;
  const ahead = key === 'ArrowDown' ? tiles.slice(place + 1) : tiles.slice(0, place).reverse();
  const { left, top } = from.getBoundingClientRect();
  let row: number | undefined;
  let nearest: HTMLElement | undefined;
  let distance = Number.POSITIVE_INFINITY;
  for (const tile of ahead) {
    const box = tile.getBoundingClientRect();
    // Headings of two lines move the tiles of their group a little.
    if (Math.abs(box.top - top) < box.height / 2) continue;
    row ??= box.top;
    if (Math.abs(box.top - row) >= box.height / 2) break;
    if (Math.abs(box.left - left) < distance) {
      nearest = tile;
      distance = Math.abs(box.left - left);
    }
  }
  return nearest;
}
