import { type SceneColour, sceneColours } from '../../fixtures/videos.ts';
import type { VideoForm } from '../../fixtures/videos-encode.ts';
import { randomNumbers } from '../random-numbers.ts';

/** What happens: a patch of one colour that covers most of the picture, or a few per cent of it, and so on. */
export const eventKinds = ['flat', 'small', 'textured', 'moving', 'growing', 'fading'] as const;
export type EventKind = (typeof eventKinds)[number];

/** A colour that is shown for some seconds only. */
export interface PlantedEvent {
  readonly kind: EventKind;
  readonly colour: SceneColour;
  /** In seconds. */
  readonly start: number;
  readonly seconds: number;
  /** The middle of the patch, in fractions of the square that the model sees. */
  readonly x: number;
  readonly y: number;
  /** From 0 to 1, within the range of the kind. */
  readonly size: number;
}

/** Photographs: still, with the noise of a sensor, or panned over; or a desktop of flat rectangles. */
export type Background = 'still' | 'noise' | 'moving' | 'screen';
export type Gop = 1 | 12 | 50 | 250 | 'endless';
export type ClipSet = 'planted' | 'short events' | 'long clips';

/** All that a clip is made from. */
export interface ClipRecipe {
  readonly set: ClipSet;
  readonly number: number;
  readonly width: number;
  readonly height: number;
  readonly seconds: number;
  /** Frames a second. `variable`: from 4 to 30, with pauses. */
  readonly rate: number | 'variable';
  readonly background: Background;
  readonly encoder: VideoForm['encoder'];
  readonly container: VideoForm['container'];
  readonly gop: Gop;
  /** Of x264 and x265. */
  readonly crf: number;
  readonly events: readonly PlantedEvent[];
}

/** Categories of every request: the model scores those without an event, too. */
export const categories: readonly string[] = [...Object.keys(sceneColours), 'dark', 'bright'].map(categoryOf);

export function categoryOf(colour: string): string {
  return `something ${colour}`;
}

export function describeClip(recipe: ClipRecipe): string {
  const { set, number, width, height, seconds, rate, background, encoder, container, gop, events } = recipe;
  const frames = rate === 'variable' ? 'VFR' : `${rate}/s`;
  const kinds = [...new Set(events.map(({ kind }) => kind))].join('+');
  return `${set} ${number}: ${width}×${height} ${seconds.toFixed(0)} s ${frames} ${background} ${encoder} ${container} GOP ${gop} ${kinds}`;
}

interface SetForm {
  readonly set: ClipSet;
  readonly clips: number;
  /** Lengths of clips and of events, least and most, in seconds. */
  readonly clipSeconds: readonly [number, number];
  readonly eventSeconds: readonly [number, number];
  readonly secondsPerEvent: number;
}

const setForms: readonly SetForm[] = [
  { set: 'planted', clips: 110, clipSeconds: [10, 120], eventSeconds: [0.5, 6], secondsPerEvent: 9 },
  { set: 'short events', clips: 16, clipSeconds: [10, 60], eventSeconds: [0.2, 0.5], secondsPerEvent: 9 },
  { set: 'long clips', clips: 4, clipSeconds: [300, 600], eventSeconds: [0.5, 6], secondsPerEvent: 60 },
];

const FEWEST_EVENTS = 2;
const MOST_EVENTS = 6;
/** Colours that no photograph of the backgrounds is full of. */
const eventColours = Object.keys(sceneColours).filter((colour) => colour !== 'grey') as SceneColour[];

const sizes = { small: [320, 180], medium: [640, 360], large: [1920, 1080] } as const;
const backgrounds: readonly Background[] = ['still', 'noise', 'moving', 'screen'];
const gops: readonly Gop[] = [1, 12, 50, 250, 250, 'endless'];
const rates: readonly ClipRecipe['rate'][] = [8, 10, 12, 15, 15, 25, 'variable', 'variable'];
const codings: readonly (readonly [encoder: ClipRecipe['encoder'], container: ClipRecipe['container']])[] = [
  ['libx264', 'mp4'],
  ['libx264', 'mp4'],
  ['libx264', 'mp4'],
  ['libx264', 'matroska'],
  ['libx265', 'mp4'],
  ['libx265', 'matroska'],
  ['libvpx-vp9', 'webm'],
  ['libsvtav1', 'mp4'],
  ['libsvtav1', 'webm'],
  ['mpeg4', 'mp4'],
];

/** The same clips at every call. */
export function clipRecipes(): readonly ClipRecipe[] {
  return setForms.flatMap(recipesOf);
}

function recipesOf(form: SetForm): ClipRecipe[] {
  const next = randomNumbers(form.set.length);
  const uniform = () => Math.min(1 - 1e-9, (next() + 1) / 2);
  const between = ([least, most]: readonly [number, number]) => least + (most - least) * uniform();
  const oneOf = <Item>(items: readonly Item[]) => items[Math.floor(uniform() * items.length)] as Item;
  let planted = 0;
  return Array.from({ length: form.clips }, (_, order): ClipRecipe => {
    const [least, most] = form.clipSeconds;
    const length = Math.round(least * (most / least) ** uniform());
    const size = sizeOf(form.set, order);
    const seconds = size === 'large' ? Math.min(length, 20) : length;
    const count = Math.min(MOST_EVENTS, Math.max(FEWEST_EVENTS, Math.round(seconds / form.secondsPerEvent)));
    const slot = seconds / count;
    const colours = shuffled(eventColours, next);
    const events = Array.from({ length: count }, (__, at): PlantedEvent => {
      const eventSeconds = Math.min(between(form.eventSeconds), 0.8 * slot);
      return {
        kind: eventKinds[planted++ % eventKinds.length] as EventKind,
        colour: colours[at] as SceneColour,
        start: toMilliseconds(at * slot + (slot - eventSeconds) * uniform()),
        seconds: toMilliseconds(eventSeconds),
        x: between([0.3, 0.7]),
        y: between([0.3, 0.7]),
        size: uniform(),
      };
    });
    const [encoder, container] = oneOf(codings);
    const [width, height] = sizes[size];
    return {
      set: form.set,
      number: order + 1,
      width,
      height,
      seconds,
      rate: form.set === 'planted' ? oneOf(rates) : 15,
      background: oneOf(backgrounds),
      encoder,
      container,
      gop: oneOf(gops),
      crf: 23,
      events,
    };
  });
}

/** A few large ones: painting and encoding them takes most of the time. */
function sizeOf(set: ClipSet, order: number): keyof typeof sizes {
  if (set !== 'planted') return 'small';
  if (order % 30 === 29) return 'large';
  return order % 7 === 6 ? 'medium' : 'small';
}

function shuffled<Item>(items: readonly Item[], next: () => number): Item[] {
  return items
    .map((item) => ({ item, at: next() }))
    .sort((a, b) => a.at - b.at)
    .map(({ item }) => item);
}

function toMilliseconds(seconds: number): number {
  return Math.round(seconds * 1000) / 1000;
}

/**
 * The first clips of up to half a minute, with all kinds of events.
 * @param leastEvents that they have together
 */
export function quickRecipes(leastEvents: number): readonly ClipRecipe[] {
  const chosen: ClipRecipe[] = [];
  let events = 0;
  for (const recipe of clipRecipes()) {
    if (events >= leastEvents || recipe.set !== 'planted') break;
    if (recipe.seconds > 30 || recipe.width > 640) continue;
    chosen.push(recipe);
    events += recipe.events.length;
  }
  return chosen;
}
