import type { Checkpoint } from '../checkpoint/checkpoint.ts';
import { familyNamed } from '../family.ts';

/** RGB, 0 to 1 each; values beyond are clamped. */
type Colour = readonly [red: number, green: number, blue: number];

/** Returns numbers from 0 to 1, one a call. */
type Numbers = () => number;

/** Half of all colours are strong, half are dull. */
function anyColour(next: Numbers): Colour {
  const [red, green, blue] = [next(), next(), next()];
  if (next() < 0.5) return [red, green, blue];
  const grey = (red + green + blue) / 3;
  return mix([red, green, blue], [grey, grey, grey], 0.7);
}

/** Value noise in four octaves, each of half the size and strength. @param cells of the largest octave, a side */
function fractal(next: Numbers, cells: number): (x: number, y: number) => number {
  const SIZE = 64;
  const lattice = Float32Array.from({ length: SIZE * SIZE }, next);
  // Called for most pixels of most pictures: calls and arrays in it would take more time than the noise.
  return (x, y) => {
    let [sum, strength, frequency] = [0, 8 / 15, cells];
    for (let octave = 0; octave < 4; octave++) {
      const column = Math.floor(x * frequency);
      const row = Math.floor(y * frequency);
      const right = smooth(x * frequency - column);
      const down = smooth(y * frequency - row);
      const [left, beside] = [column & (SIZE - 1), (column + 1) & (SIZE - 1)];
      const [upper, lower] = [(row & (SIZE - 1)) * SIZE, ((row + 1) & (SIZE - 1)) * SIZE];
      const top = lattice[upper + left]! * (1 - right) + lattice[upper + beside]! * right;
      const bottom = lattice[lower + left]! * (1 - right) + lattice[lower + beside]! * right;
      sum += strength * (top * (1 - down) + bottom * down);
      strength /= 2;
      frequency *= 2;
    }
    return sum;
  };
}

function smooth(part: number): number {
  return part * part * (3 - 2 * part);
}

function mix(from: Colour, to: Colour, share: number): Colour {
  const part = Math.min(1, Math.max(0, share));
  return add(scale(from, 1 - part), scale(to, part));
}

function scale([red, green, blue]: Colour, factor: number): Colour {
  return [red * factor, green * factor, blue * factor];
}

function add(one: Colour, other: Colour): Colour {
  return [one[0] + other[0], one[1] + other[1], one[2] + other[2]];
}

/** A small generator of good quality (Tommy Ettinger's mulberry32). */
function mulberry32(seed: number): Numbers {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let bits = Math.imul(state ^ (state >>> 15), 1 | state);
    bits = (bits + Math.imul(bits ^ (bits >>> 7), 61 | bits)) ^ bits;
    return ((bits ^ (bits >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** The colour at a place of the picture; x to the right, y down, 0 to 1 each. */
type Paint = (x: number, y: number) => Colour;

/**
 * Pictures of many kinds, drawn by code and always the same: elements of real pictures (light that fades, edges,
 * textures, objects before a background, landscapes of clouds and hills) and extremes (noise, one colour, black, white,
 * stripes of one pixel).
 * @param side in pixels
 */
export function* probePictures(side: number): Generator<ProbePicture> {
  for (const [kind, painter] of painters.entries()) {
    for (let variant = 0; variant < VARIANTS; variant++) {
      const paint = painter(mulberry32(kind * VARIANTS + variant), side);
      yield { name: `${painter.name} ${variant + 1}`, pixels: render(paint, side) };
    }
  }
  yield { name: 'black', pixels: new Uint8Array(side * side * 3) };
  yield { name: 'white', pixels: new Uint8Array(side * side * 3).fill(255) };
}

/** Other pictures of the same kinds, the first of each kind before the second. @param side in pixels */
function* calibrationPictures(side: number): Generator<ProbePicture> {
  for (let variant = 0; variant < CALIBRATION_VARIANTS; variant++) {
    for (const [kind, painter] of painters.entries()) {
      const seed = (VARIANTS + variant) * painters.length + kind;
      const paint = painter(mulberry32(seed), side);
      yield { name: `${painter.name} ${VARIANTS + variant + 1}`, pixels: render(paint, side) };
    }
  }
}

interface ProbePicture {
  /** Its kind and a number. */
  readonly name: string;
  /** [side, side, 3] uint8, RGB, row-major */
  readonly pixels: Uint8Array;
}

/** Pictures of each kind. */
const VARIANTS = 6;
const CALIBRATION_VARIANTS = 2;

const painters: readonly ((next: Numbers, side: number) => Paint)[] = [
  flat,
  linearGradient,
  radialGradient,
  stripes,
  chequers,
  grating,
  discs,
  boxes,
  lights,
  noise,
  clouds,
  marble,
  landscape,
  seaAndSun,
  portrait,
  writing,
];

export const probePictureCount = painters.length * VARIANTS + 2;

function render(paint: Paint, side: number): Uint8Array {
  const pixels = new Uint8ClampedArray(side * side * 3);
  for (let row = 0; row < side; row++) {
    for (let column = 0; column < side; column++) {
      const colour = paint((column + 0.5) / side, (row + 0.5) / side);
      const offset = (row * side + column) * 3;
      for (let channel = 0; channel < 3; channel++) {
        pixels[offset + channel] = colour[channel]! * 255;
      }
    }
  }
  return new Uint8Array(pixels.buffer);
}

function flat(next: Numbers): Paint {
  const colour = anyColour(next);
  return () => colour;
}

function linearGradient(next: Numbers): Paint {
  const [from, to] = [anyColour(next), anyColour(next)];
  const angle = next() * Math.PI;
  const [dx, dy] = [Math.cos(angle), Math.sin(angle)];
  return (x, y) => mix(from, to, 0.5 + (x - 0.5) * dx + (y - 0.5) * dy);
}

function radialGradient(next: Numbers): Paint {
  const [from, to] = [anyColour(next), anyColour(next)];
  const [cx, cy, radius] = [next(), next(), 0.3 + next()];
  return (x, y) => mix(from, to, Math.hypot(x - cx, y - cy) / radius);
}

/** Down to one pixel wide. */
function stripes(next: Numbers, side: number): Paint {
  const [one, other] = [anyColour(next), anyColour(next)];
  const width = Math.max(1, Math.round(side * next() ** 4 * 0.3)) / side;
  const upright = next() < 0.5;
  return (x, y) => (Math.floor((upright ? x : y) / width) % 2 === 0 ? one : other);
}

function chequers(next: Numbers, side: number): Paint {
  const [one, other] = [anyColour(next), anyColour(next)];
  const width = Math.max(1, Math.round(side * next() ** 3 * 0.3)) / side;
  return (x, y) => ((Math.floor(x / width) + Math.floor(y / width)) % 2 === 0 ? one : other);
}

/** Two crossed waves, as in cloth. */
function grating(next: Numbers): Paint {
  const [one, other] = [anyColour(next), anyColour(next)];
  const wave = () => {
    const [angle, frequency] = [next() * Math.PI, 4 + 60 * next() ** 2];
    return (x: number, y: number) => Math.sin(2 * frequency * (x * Math.cos(angle) + y * Math.sin(angle)));
  };
  const [first, second] = [wave(), wave()];
  return (x, y) => mix(one, other, 0.5 + first(x, y) / 4 + second(x, y) / 4);
}

function discs(next: Numbers): Paint {
  const ground = clouds(next);
  const things = Array.from({ length: 1 + Math.floor(next() * 6) }, () => ({
    x: next(),
    y: next(),
    radius: 0.05 + next() * 0.25,
    colour: anyColour(next),
  }));
  return (x, y) => {
    const hit = things.findLast((thing) => Math.hypot(x - thing.x, y - thing.y) < thing.radius);
    // Lit from above left.
    return hit ? scale(hit.colour, 1.1 - (x - hit.x + y - hit.y) / (3 * hit.radius)) : ground(x, y);
  };
}

function boxes(next: Numbers): Paint {
  const ground = linearGradient(next);
  const things = Array.from({ length: 2 + Math.floor(next() * 12) }, () => {
    const [left, top] = [next(), next()];
    return { left, top, right: left + next() * 0.5, bottom: top + next() * 0.5, colour: anyColour(next) };
  });
  return (x, y) => {
    const hit = things.findLast(
      (thing) => x > thing.left && x < thing.right && y > thing.top && y < thing.bottom,
    );
    return hit?.colour ?? ground(x, y);
  };
}

/** Lights out of focus. */
function lights(next: Numbers): Paint {
  const ground = scale(anyColour(next), 0.3);
  const spots = Array.from({ length: 12 }, () => ({
    x: next(),
    y: next(),
    spread: 0.03 + 0.12 * next(),
    colour: anyColour(next),
  }));
  return (x, y) =>
    spots.reduce(
      (sum, light) =>
        add(
          sum,
          scale(light.colour, Math.exp(-(((x - light.x) ** 2 + (y - light.y) ** 2) / light.spread ** 2))),
        ),
      ground,
    );
}

function noise(next: Numbers): Paint {
  const [ground, amplitude] = [anyColour(next), next()];
  const isGrey = next() < 0.5;
  return () => {
    const grain = next() - 0.5;
    return add(
      ground,
      scale(isGrey ? [grain, grain, grain] : [grain, next() - 0.5, next() - 0.5], amplitude),
    );
  };
}

/** Noise of all sizes, the largest strongest, as in most photos. */
function clouds(next: Numbers): Paint {
  const [one, other] = [anyColour(next), anyColour(next)];
  const height = fractal(next, 3);
  return (x, y) => mix(one, other, height(x, y));
}

function marble(next: Numbers): Paint {
  const [one, other] = [anyColour(next), anyColour(next)];
  const [bend, veins] = [fractal(next, 2), 5 + 20 * next()];
  return (x, y) => mix(one, other, 0.5 + 0.5 * Math.sin(veins * (x + bend(x, y))));
}

/** Sky, then hills before hills, each with its texture. */
function landscape(next: Numbers): Paint {
  const sky = linearGradient(next);
  const grain = fractal(next, 24);
  const hills = Array.from({ length: 3 }, (_, index) => ({
    line: lineOf(fractal(next, 2 + 2 * index)),
    level: 0.3 + 0.2 * index,
    colour: scale(anyColour(next), 0.7),
  }));
  return (x, y) => {
    const hill = hills.findLast(({ line, level }) => y > level + 0.3 * (line(x) - 0.5));
    return hill ? scale(hill.colour, 0.6 + 0.8 * grain(x, y)) : sky(x, y);
  };
}

/** A horizontal line of the noise. Each row of a picture asks for the same places. */
function lineOf(noise: (x: number, y: number) => number): (x: number) => number {
  const known = new Map<number, number>();
  return (x) => {
    const height = known.get(x) ?? noise(x, 0.5);
    known.set(x, height);
    return height;
  };
}

function seaAndSun(next: Numbers): Paint {
  const [high, low, water] = [anyColour(next), anyColour(next), scale(anyColour(next), 0.6)];
  const [sunX, sunY, horizon] = [next(), 0.1 + 0.3 * next(), 0.4 + 0.3 * next()];
  const ripple = fractal(next, 30);
  return (x, y) => {
    if (y > horizon) return scale(water, 0.5 + ripple(x, y * 4));
    const glow = Math.exp(-((x - sunX) ** 2 + (y - sunY) ** 2) * 40);
    return add(mix(high, low, y / horizon), [glow, glow * 0.9, glow * 0.6]);
  };
}

/** A bright round shape before a dark soft one. */
function portrait(next: Numbers): Paint {
  const [ground, grain] = [clouds(next), fractal(next, 12)];
  const skin = mix([0.95, 0.8, 0.7], [0.35, 0.22, 0.15], next());
  const coat = anyColour(next);
  return (x, y) => {
    if (Math.hypot((x - 0.5) / 0.18, (y - 0.38) / 0.24) < 1) return scale(skin, 0.8 + 0.4 * grain(x, y));
    if (Math.hypot((x - 0.5) / 0.45, (y - 1.05) / 0.42) < 1) return scale(coat, 0.7 + 0.6 * grain(x, y));
    return scale(ground(x, y), 0.6);
  };
}

/** Dark lines of writing on paper. */
function writing(next: Numbers): Paint {
  const paper = mix([1, 1, 1], anyColour(next), 0.2);
  const ink = scale(anyColour(next), 0.4);
  const [lines, letters] = [4 + Math.floor(next() * 10), fractal(next, 40)];
  return (x, y) => {
    const inLine = (y * lines) % 1;
    const isInk = inLine > 0.25 && inLine < 0.75 && letters(x, Math.floor(y * lines) + inLine / 3) > 0.55;
    return isInk ? ink : paper;
  };
}

const things =
  `person woman man child baby crowd dog puppy cat kitten bird parrot fish shark horse cow sheep pig
elephant lion bear zebra giraffe monkey snake frog butterfly spider bee tree flower rose grass leaf forest mountain
hill river lake waterfall beach sea wave desert sky cloud rain snow storm rainbow sunset night city street house
church castle bridge tower ruin kitchen bedroom bathroom office classroom shop restaurant stadium farm garden car
bus truck train tram bicycle motorcycle boat ship airplane helicopter rocket traffic-light apple banana orange
strawberry tomato potato carrot bread cheese pizza burger sushi salad soup cake chocolate coffee tea beer wine
table chair sofa lamp clock book newspaper letter phone laptop keyboard camera television guitar piano drum ball
shoe shirt dress hat glasses watch ring umbrella bag knife spoon bottle cup plate`
    .split(/\s+/)
    .map((thing) => thing.replace('-', ' '));

const looks = [
  'red',
  'dark blue',
  'tiny',
  'huge',
  'old',
  'broken',
  'wet',
  'empty',
  'blurry',
  'black and white',
];

const templates = ['{}', 'a photo of a {}', 'a drawing of a {}', '{} in the distance'] as const;

const sentences = `
people dancing at a wedding
two dogs playing with a ball on wet grass
a bowl of fresh fruit on a wooden table, seen from above
an aerial view of a city at night
a close-up of an eye
handwritten notes on paper
a screenshot of a computer program
a receipt from a supermarket
a diagram
a map of Europe
x-ray of a hand
the view through a rainy window
children in school uniforms crossing a street in front of a yellow bus while a policeman stops the traffic
not a cat
nothing
something soft
happiness
danger
1984
3 apples
50% off!
C++ source code
ein Hund im Schnee
une tasse de café
東京の夜景
собака
🐶
`
  .trim()
  .split('\n');

const otherSentences = `
a crowd watching fireworks above a harbour
an old map with a compass rose
the inside of an empty refrigerator
three cups of tea on a tray
a man in a suit who waits for the last train while it snows on the platform and a dog sleeps beside his suitcase
not a person
everything
sadness
2024
10 %
SELECT * FROM photos;
eine Katze auf dem Dach
un marché aux fleurs
山の上の神社
поезд
🌋
`
  .trim()
  .split('\n');

const TEXTS = 1000;
const CALIBRATION_TEXTS = 200;
/** How many probes are things in looks of their own. */
const LOOKING = TEXTS - things.length - sentences.length;

/** Each thing in looks of its own, until there are enough. */
function looking(count: number): readonly string[] {
  return Array.from({ length: count }, (_, index) => {
    const round = Math.floor(index / things.length);
    const thing = index % things.length;
    const look = looks[(thing + round) % looks.length]!;
    return templates[round % templates.length]!.replace('{}', `${look} ${things[thing]}`);
  });
}

/** Labels like those of people: single words, phrases, sentences, other languages. All differ. */
const probeTexts: readonly string[] = [
  ...things.map((thing, index) => templates[index % templates.length]!.replace('{}', thing)),
  ...looking(LOOKING),
  ...sentences,
];

/** Labels of the same kinds, none of which is a probe. Their number of tokens is as different. */
const calibrationTexts: readonly string[] = [
  ...otherSentences,
  ...looking(LOOKING + CALIBRATION_TEXTS - otherSentences.length).slice(LOOKING),
];

/** A label and its tokens. */
interface ProbeText {
  readonly text: string;
  /** Start and end included. */
  readonly ids: Int32Array;
}

/** The inputs that both precisions encode. */
export interface Probes {
  /** Side of the pictures, in pixels. */
  readonly side: number;
  /** Positions of a picture in the vision tower: its patches and the class token. */
  readonly positions: number;
  readonly pictures: readonly ProbePicture[];
  readonly texts: readonly ProbeText[];
}

type ModelSize = Pick<Checkpoint, 'family' | 'architecture'>;

/** The probes for one model: pictures of its size, and texts that are not too long for it. */
export function probesFor(model: ModelSize): Probes {
  return suited(model, probePictures, probeTexts);
}

/**
 * What shows how loud a model's activations become. No probe is among it: otherwise the probes would be rounded better
 * than others' pictures, and their comparison would flatter int8.
 */
export function calibrationFor(model: ModelSize): Probes {
  return suited(model, calibrationPictures, calibrationTexts);
}

function suited(
  { family: name, architecture: { vision, text } }: ModelSize,
  pictures: (side: number) => Iterable<ProbePicture>,
  texts: readonly string[],
): Probes {
  const tokenize = familyNamed(name).createTokenizer(Number.POSITIVE_INFINITY);
  const side = vision.imageResolution;
  return {
    side,
    positions: (side / vision.patchSize) ** 2 + 1,
    pictures: [...pictures(side)],
    texts: texts
      .map((label) => ({ text: label, ids: tokenize(label) }))
      .filter(({ ids }) => ids.length <= text.contextLength),
  };
}
