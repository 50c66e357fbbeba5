import type { Concept } from './concepts.ts';

/** What is known of a spot of the picture: mean sRGB values and their chroma (largest minus smallest), each 0 to 1. */
export type SpotValue = 'red' | 'green' | 'blue' | 'chroma';

/** A plane through the colour solid. On its one side a spot counts as 1, on the other as 0. */
export interface Plane {
  /** Σ coefficient · value − threshold is positive on the side that counts. */
  readonly coefficients: Readonly<Record<SpotValue, number>>;
  readonly threshold: number;
  /** The count rises from 0 to 1 over this distance, half of it on either side of the plane. */
  readonly softness: number;
}

/** Luma of BT.601. */
const LUMA = { red: 0.299, green: 0.587, blue: 0.114 } as const;

/** A plane at `luma · Y + chroma · C = threshold`, Y being the luma and C the chroma. */
function plane(weights: { luma?: number; chroma?: number }, threshold: number, softness: number): Plane {
  const { luma = 0, chroma = 0 } = weights;
  return {
    coefficients: { red: luma * LUMA.red, green: luma * LUMA.green, blue: luma * LUMA.blue, chroma },
    threshold,
    softness,
  };
}

/** The pure colour of a hue in degrees (0 red, 120 green, 240 blue), as HSV has it. */
function pureColour(degrees: number): Record<'red' | 'green' | 'blue', number> {
  const channel = (peak: number) => {
    const distance = Math.abs(((degrees - peak + 540) % 360) - 180);
    return Math.min(1, Math.max(0, 2 - distance / 60));
  };
  return { red: channel(0), green: channel(120), blue: channel(240) };
}

/**
 * The plane through the greys and the pure colour of a hue. Hues less than 180° further round count as 1.
 * Its value is chroma · sin(angle between the hues), nearly.
 */
function hue(degrees: number): Plane {
  const { red, green, blue } = pureColour(degrees);
  // The hue circle's two coordinates: along red, and across it from blue to green.
  const along = red - (green + blue) / 2;
  const across = (green - blue) * (Math.sqrt(3) / 2);
  const length = Math.sqrt(along ** 2 + across ** 2);
  const [cosine, sine] = [along / length, across / length];
  const half = Math.sqrt(3) / 2;
  return {
    coefficients: { red: -sine, green: cosine * half + sine / 2, blue: sine / 2 - cosine * half, chroma: 0 },
    threshold: 0,
    softness: 0.05,
  };
}

/**
 * Every boundary between colour names that the demo model knows, in gamma-encoded sRGB. The thresholds are
 * judgement: they were laid between colours that are named without doubt (the named colours of CSS, paint,
 * wood, skin, sky, foliage).
 */
export const planes = {
  // Has a colour at all. Light surfaces need more of it: white paper has a tint.
  coloured: plane({ chroma: 1, luma: -0.08 }, 0.065, 0.05),
  // Among greys.
  overBlack: plane({ luma: 1 }, 0.17, 0.1),
  overGrey: plane({ luma: 1 }, 0.87, 0.08),
  // White that leans to yellow is beige.
  creamy: { coefficients: { red: 0.5, green: 0.5, blue: -1, chroma: 0 }, threshold: 0.08, softness: 0.04 },
  // Round the hue circle: each is where the named colour begins.
  orangeHue: hue(14),
  yellowHue: hue(41.5),
  // Browns and beiges end here; darker ones beyond are olive, which counts as green.
  oliveHue: hue(52),
  greenHue: hue(68),
  cyanHue: hue(163),
  blueHue: hue(189),
  purpleHue: hue(256),
  pinkHue: hue(307),
  redHue: hue(343),
  // Red with white in it is pink.
  pale: plane({ luma: 1, chroma: -0.5 }, 0.3, 0.08),
  // Red with grey in it is brown, where it is no lighter than brown.
  dull: plane({ luma: 1, chroma: -0.7 }, -0.05, 0.06),
  overBrown: plane({ luma: 1, chroma: 0.4 }, 0.56, 0.06),
  // Magenta is pink where it is light enough, else purple.
  lightMagenta: plane({ luma: 1, chroma: 0.2 }, 0.38, 0.08),
  // Orange and yellow are strong: what is weaker is brown or beige.
  strong: plane({ luma: 1, chroma: 1 }, 1.15, 0.1),
  saturated: plane({ chroma: 1 }, 0.49, 0.08),
  // Parts beige from brown.
  light: plane({ luma: 1 }, 0.66, 0.1),
  // Brightness as people judge it: strong colours look lighter than their luma.
  overDark: plane({ luma: 1, chroma: 0.4 }, 0.43, 0.26),
  bright: plane({ luma: 1, chroma: 0.4 }, 0.68, 0.28),
} as const satisfies Record<string, Plane>;

export type PlaneName = keyof typeof planes;

/** A side of a plane. */
export type Condition = PlaneName | `not ${PlaneName}`;

/** A convex piece of the colour solid: a spot belongs to a concept where all conditions hold. */
export interface Region {
  readonly concept: Concept;
  readonly all: readonly Condition[];
}

/** The pieces of colours fill the colour solid without overlap, so that a spot's colours sum to about 1. */
export const regions: readonly Region[] = [
  { concept: 'black', all: ['not coloured', 'not overBlack'] },
  { concept: 'grey', all: ['not coloured', 'overBlack', 'not overGrey'] },
  { concept: 'white', all: ['not coloured', 'overGrey', 'not creamy'] },
  { concept: 'beige', all: ['not coloured', 'overGrey', 'creamy'] },
  // 343° to 14°
  { concept: 'red', all: ['coloured', 'redHue', 'not orangeHue', 'not pale', 'not dull'] },
  { concept: 'red', all: ['coloured', 'redHue', 'not orangeHue', 'not pale', 'dull', 'overBrown'] },
  { concept: 'brown', all: ['coloured', 'redHue', 'not orangeHue', 'not pale', 'dull', 'not overBrown'] },
  { concept: 'pink', all: ['coloured', 'redHue', 'not orangeHue', 'pale'] },
  // 14° to 68°
  { concept: 'orange', all: ['coloured', 'orangeHue', 'not yellowHue', 'strong', 'saturated'] },
  { concept: 'yellow', all: ['coloured', 'yellowHue', 'not greenHue', 'strong'] },
  { concept: 'yellow', all: ['coloured', 'oliveHue', 'not greenHue', 'not strong', 'light'] },
  { concept: 'green', all: ['coloured', 'oliveHue', 'not greenHue', 'not strong', 'not light'] },
  { concept: 'beige', all: ['coloured', 'orangeHue', 'not oliveHue', 'not strong', 'light'] },
  { concept: 'beige', all: ['coloured', 'orangeHue', 'not yellowHue', 'strong', 'not saturated'] },
  { concept: 'brown', all: ['coloured', 'orangeHue', 'not oliveHue', 'not strong', 'not light'] },
  // 68° to 343°
  { concept: 'green', all: ['coloured', 'greenHue', 'not cyanHue'] },
  { concept: 'cyan', all: ['coloured', 'cyanHue', 'not blueHue'] },
  { concept: 'blue', all: ['coloured', 'blueHue', 'not purpleHue'] },
  { concept: 'purple', all: ['coloured', 'purpleHue', 'not pinkHue'] },
  { concept: 'purple', all: ['coloured', 'pinkHue', 'not redHue', 'not lightMagenta'] },
  { concept: 'pink', all: ['coloured', 'pinkHue', 'not redHue', 'lightMagenta'] },
  // Beside its colour.
  { concept: 'dark', all: ['not overDark'] },
  { concept: 'bright', all: ['bright'] },
];
