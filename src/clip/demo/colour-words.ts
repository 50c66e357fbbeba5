import type { Concept, Mixture } from './concepts.ts';

/** What a token of CLIP's vocabulary means to the demo model. */
export interface ColourWord {
  /** The token's text as the vocabulary has it: `</w>` ends a word. */
  readonly token: string;
  /** Its id in CLIP's vocabulary. */
  readonly id: number;
  readonly meaning: Mixture<Concept>;
}

/** Beside a colour, brightness only shades the meaning: "dark red" is a red first. */
const SHADE = 0.4;

const red = { red: 1 };
const green = { green: 1 };
const blue = { blue: 1 };
const purple = { purple: 1 };
const brown = { brown: 1 };
const beige = { beige: 1 };
const grey = { grey: 1 };
const dark = { dark: SHADE };
const bright = { bright: SHADE };
// Where nobody offers grey, a dark grey is rather black, a light one rather white.
const black = { black: 1, dark: 0.3 };
const white = { white: 1, bright: 0.3 };

const meanings: readonly (readonly [token: string, id: number, meaning: Mixture<Concept>])[] = [
  ['red</w>', 736, red],
  ['reds</w>', 11221, red],
  ['reddish</w>', 43383, red],
  ['scarlet</w>', 20389, red],
  ['crimson</w>', 19437, red],
  ['maroon</w>', 20501, { ...red, ...dark }],
  ['burgundy</w>', 23650, { ...red, ...dark }],
  ['orange</w>', 4287, { orange: 1 }],
  ['tangerine</w>', 42045, { orange: 1 }],
  ['amber</w>', 9986, { orange: 1, yellow: 0.6 }],
  ['yellow</w>', 4481, { yellow: 1 }],
  ['gold</w>', 2209, { yellow: 1, orange: 0.3 }],
  ['golden</w>', 3878, { yellow: 1, orange: 0.3 }],
  ['mustard</w>', 15794, { yellow: 1, brown: 0.3 }],
  ['green</w>', 1901, green],
  ['greens</w>', 10235, green],
  ['lime</w>', 11193, { ...green, ...bright }],
  ['olive</w>', 9898, { ...green, ...dark, yellow: 0.3 }],
  ['emerald</w>', 16980, green],
  ['turquoise</w>', 19899, { cyan: 1 }],
  ['aqua</w>', 18613, { cyan: 1 }],
  ['teal</w>', 22821, { cyan: 1, ...dark }],
  ['blue</w>', 1746, blue],
  ['blues</w>', 5159, blue],
  ['azure</w>', 18514, blue],
  ['cobalt</w>', 30896, blue],
  ['navy</w>', 5598, { ...blue, ...dark }],
  ['indigo</w>', 21002, { ...purple, blue: 0.6, ...dark }],
  ['purple</w>', 5496, purple],
  ['violet</w>', 16118, purple],
  ['lavender</w>', 16033, { ...purple, ...bright }],
  ['lilac</w>', 33647, { ...purple, ...bright }],
  ['magenta</w>', 38091, { ...purple, pink: 1 }],
  ['pink</w>', 3360, { pink: 1 }],
  ['brown</w>', 2866, brown],
  ['browns</w>', 14051, brown],
  ['chestnut</w>', 21834, brown],
  ['tan</w>', 5039, { ...beige, brown: 0.5 }],
  ['beige</w>', 26677, beige],
  ['khaki</w>', 41646, beige],
  ['cream</w>', 3867, { ...beige, white: 0.6 }],
  ['ivory</w>', 16776, { white: 1, beige: 0.6 }],
  ['black</w>', 1449, black],
  ['blacks</w>', 16351, black],
  ['ebony</w>', 30651, black],
  ['grey</w>', 5046, grey],
  ['greys</w>', 44311, grey],
  ['gray</w>', 7048, grey],
  ['grays</w>', 46848, grey],
  ['silver</w>', 3467, { ...grey, ...bright }],
  ['charcoal</w>', 19268, { ...grey, ...dark }],
  ['white</w>', 1579, white],
  ['whites</w>', 18835, white],
  ['dark</w>', 3144, dark],
  ['darker</w>', 18737, dark],
  ['darkest</w>', 25898, dark],
  ['darkness</w>', 10521, dark],
  ['dim</w>', 17523, dark],
  ['gloomy</w>', 32199, dark],
  ['bright</w>', 4852, bright],
  ['brighter</w>', 18507, bright],
  ['brightest</w>', 26159, bright],
  ['brightly</w>', 36298, bright],
  ['brightness</w>', 42280, bright],
  ['light</w>', 1395, bright],
  ['lighter</w>', 14102, bright],
  ['pale</w>', 12518, bright],
  ['luminous</w>', 37913, bright],
  // Beginnings of words that no common word of another meaning has: "greenish", "yellowish", "fuchsia".
  ['orange', 13957, { orange: 1 }],
  ['yellow', 12059, { yellow: 1 }],
  ['green', 2762, green],
  ['blue', 3829, blue],
  ['pink', 11151, { pink: 1 }],
  ['brown', 6315, brown],
  ['fuch', 42617, { pink: 1, purple: 0.6 }],
];

/** Every token that means something. All others, the words around a colour, mean nothing. */
export const colourWords: readonly ColourWord[] = meanings.map(([token, id, meaning]) => ({
  token,
  id,
  meaning,
}));

/**
 * "cyan" is two tokens, and either of them occurs without the other: only both in one text mean the colour.
 */
export const cyanTokens = {
  beginning: { token: 'cy', id: 1470 },
  end: { token: 'an</w>', id: 550 },
} as const;
